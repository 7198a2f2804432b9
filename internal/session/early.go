package session

import (
	"errors"
	"time"
)

// maxBackoff bounds the pause between early refreshes in a long outage.
const maxBackoff = 2 * time.Minute

// backoff is a time without early refreshes. It grows while they fail.
type backoff struct {
	since    time.Time
	length   time.Duration
	failures int
}

func (a *Account) paused(now time.Time) bool {
	p := a.pause.Load()
	return p != nil && now.Sub(p.since) < p.length
}

// pauseAfter says how soon an early refresh is tried again. While a sibling holds
// the lock it is tried every few seconds. The first tries are well within the grace
// that providers give.
func (a *Account) pauseAfter(err error) {
	if err == nil {
		a.pause.Store(nil)
		return
	}
	next := &backoff{since: time.Now(), length: 2 * time.Second}
	var asked *PauseError
	switch {
	case errors.As(err, &asked):
		next.length = asked.After
	case !errors.Is(err, ErrBusy):
		if p := a.pause.Load(); p != nil {
			next.failures = p.failures
		}
		next.length = min(recheckEvery<<next.failures, maxBackoff)
		next.failures = min(next.failures+1, 8)
	}
	a.pause.Store(next)
}

// recheck rereads the journal in the background if it is due. It finishes a refresh
// that a crashed process began, adopts a newer token, or notices a logout. One
// goroutine does so at a time, and nobody waits for it.
func (a *Account) recheck(t *CachedToken, now time.Time) {
	age, due := int64(now.Sub(t.receivedAt)), t.recheckAt.Load()
	if age < due || !t.recheckAt.CompareAndSwap(due, age+int64(recheckEvery)) || a.accounts.Begin() != nil {
		return
	}
	go func() {
		defer a.accounts.Done()
		g := a.grant.Load()
		if g == nil {
			return
		}
		life := a.accounts.Life
		stale, open, err := a.accounts.Keeper.Stale(life, a.Key, g)
		switch {
		case err == nil && stale:
			err = a.Load(life)
		case err == nil && open && !a.paused(time.Now()):
			a.refresh(a.Slot("", nil), true, 0)
		}
		if err != nil {
			a.accounts.Logger.Info("the session's journal was read again", "account", a.Name, "err", err)
		}
	}()
}
