// Tells the time by an authorization server's clock (RFC 9110 §6.6.1), for what
// that server checks: DPoP proofs and client assertions. The clocks of virtual
// machines and of laptops that slept are often minutes off.

package oauth

import (
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// MaxClockOffset is how far this machine's clock may be off. Beyond it, the
	// clock must be set.
	MaxClockOffset = 10 * time.Minute
	// A server that refuses a proof or an assertion is believed about a few
	// seconds. Otherwise its answer may have been slow.
	refusedOffset  = 5 * time.Second
	answeredOffset = time.Minute
)

// slowAnswer is how long an exchange may take, by the clock on the wall, if its
// Date is to count. A machine that slept meanwhile reads an old one.
const slowAnswer = 5 * time.Second

// Clock knows how far the server's clock is ahead of this machine's, as the Date
// of its answers shows. The zero Clock is this machine's, and a nil *Clock is
// too. It is safe for concurrent use.
//
// A server can move the clock by at most [MaxClockOffset]. Proofs and assertions
// made ahead of time are of use only to a thief, and they name their target and
// are used once.
type Clock struct {
	ahead   atomic.Int64
	learned atomic.Bool // by this process
}

// Now returns the time by the server's clock.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Ahead()) }

// Ahead returns how far the server's clock is ahead.
func (c *Clock) Ahead() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.ahead.Load())
}

// Adopt takes the offset that another process found, unless this one has found
// one itself.
func (c *Clock) Adopt(ahead time.Duration) {
	if c != nil && ahead.Abs() <= MaxClockOffset && !c.learned.Load() {
		c.ahead.Store(int64(ahead))
	}
}

// Reset makes c this machine's clock again, and reports whether it was another. It
// is for an API that refuses a proof for its time: this machine's clock may have
// been set meanwhile.
func (c *Clock) Reset() (changed bool) {
	c.learned.Store(true)
	return c.ahead.Swap(0) != 0
}

// aheadOf returns how far the Date of an answer is ahead of this machine's clock.
func aheadOf(h http.Header) (ahead time.Duration, ok bool) {
	date, err := http.ParseTime(h.Get("Date"))
	return time.Until(date), err == nil
}

// learn reads the Date of an answer that has just come to a request sent at began.
// It reports whether the clock has changed, so that a refused request may succeed.
func (c *Clock) learn(h http.Header, began time.Time, refused bool) (changed bool) {
	ahead, dated := aheadOf(h)
	took := time.Now().Round(0).Sub(began.Round(0)) // on the wall: timers stand still in sleep
	if c == nil || !dated || took.Abs() > slowAnswer {
		return false
	}
	enough := answeredOffset
	if refused {
		enough = refusedOffset
	}
	if ahead.Abs() > MaxClockOffset || (ahead-c.Ahead()).Abs() <= enough {
		return false
	}
	c.ahead.Store(int64(ahead))
	c.learned.Store(true)
	return true
}
