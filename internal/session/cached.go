package session

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

const (
	// wallEvery is how long the monotonic clock alone is believed. A token may be
	// that much older than it should be when it is handed out, and only in the
	// moment after a sleep; the way to the API takes as long.
	wallEvery = 100 * time.Millisecond
	// recheckEvery is how often a process that is in use reads the journal, though
	// its token is good for long: a sibling that died in a refresh may have used up
	// the refresh token of everyone. It is well within the shortest grace that
	// providers give, 30 seconds.
	recheckEvery = 5 * time.Second
	// minHold is how long a process holds a session before it refreshes early.
	// One that exits a second later would leave a rotation half done.
	minHold = 10 * time.Second
	// maxSkew is how far in the future a token may have been obtained: machines
	// that share a store differ.
	maxSkew = time.Minute
)

// Slot holds the token for one resource or set of scopes in memory. The main slot,
// without either, holds the login's own.
type Slot struct {
	Resource string
	Scopes   []string

	token   atomic.Pointer[CachedToken]
	failing atomic.Pointer[backoff] // after a refresh that failed for this slot alone
	user    user                    // the user of its tokens; zero: not known yet; guarded by Account.mu
	foreign atomic.Bool             // the account now belongs to another user
}

// Main reports whether s holds the login's own token.
func (s *Slot) Main() bool { return s.Resource == "" && len(s.Scopes) == 0 }

// Cached returns the token in memory, valid or not; nil: none.
func (s *Slot) Cached() *CachedToken { return s.token.Load() }

// CachedToken is a token in memory, with the moments that matter to it. A monotonic
// clock stops while a computer sleeps, and the token's life does not; a wall clock
// may be set back. So both are read.
type CachedToken struct {
	// Token is shared by all callers and has no refresh token.
	Token *oauth2.Token
	// Generation is the stored grant's.
	Generation uint64
	// Key is the key that the token is bound to (RFC 9449); zero: a bearer token.
	Key oauth.DPoPKey

	receivedAt time.Time     // when this process got it
	issuedAt   time.Time     // when whichever process got it
	refreshAt  moment        // from here on it is refreshed early
	expiresAt  moment        // from here on it is not handed out
	holdFor    time.Duration // how long this process holds it before an early refresh

	validUntil atomic.Int64 // nanoseconds from receivedAt: until then nothing is checked
	recheckAt  atomic.Int64 // nanoseconds from receivedAt: from then on the journal is read
}

// moment is a point in time by two clocks. What comes first counts.
type moment struct {
	wall int64         // Unix nanoseconds
	left time.Duration // from receivedAt
}

// passed reports whether either clock has come to m.
func (m moment) passed(wall int64, age time.Duration) bool { return wall >= m.wall || age >= m.left }

// Fresh reports whether the token is returned without checking the wall clock. It
// is the warm path: two loads and a read of the monotonic clock.
func (t *CachedToken) Fresh() bool { return int64(time.Since(t.receivedAt)) < t.validUntil.Load() }

// Valid reports whether the token may be handed out.
func (t *CachedToken) Valid(now time.Time) bool {
	return !t.expiresAt.passed(now.UnixNano(), now.Sub(t.receivedAt))
}

// early reports whether it is time to refresh while the token is still good.
func (t *CachedToken) early(now time.Time) bool {
	return t.refreshAt.passed(now.UnixNano(), now.Sub(t.receivedAt))
}

// extend lets the warm path return the token for a while before the wall clock is
// read again: after a sleep, the wall clock is what tells the token's age.
func (t *CachedToken) extend(now time.Time) {
	age := now.Sub(t.receivedAt)
	t.validUntil.Store(int64(min(age+wallEvery, t.refreshAt.left, time.Duration(t.recheckAt.Load()))))
}

// is reports whether t holds stored, of the same issue.
func (t *CachedToken) is(stored *Token) bool {
	return t.issuedAt.Equal(stored.Obtained) && t.Token.AccessToken == stored.AccessToken.Reveal()
}

// newCached computes when t is refreshed: early enough that nobody waits, late
// enough that it is worth it, and with jitter, so that processes do not come all at
// once. before is how long before expiry, at most half the token's life: otherwise a
// token with a short life would be refreshed over and over. 0: a tenth of its life,
// at most 5 minutes, and at least 30 seconds or half its life.
func newCached(t *Token, generation uint64, now time.Time, before time.Duration) *CachedToken {
	life, travel := t.life(), t.travel()
	if before == 0 {
		before = min(max(life/10, min(30*time.Second, life/2)), 5*time.Minute)
	}
	before = min(before, life/2)
	before -= time.Duration(rand.Int64N(int64(before/5) + 1))
	until := func(margin time.Duration) moment {
		end := t.Expiry.Add(-margin)
		return moment{end.UnixNano(), min(end.Sub(now), life-margin)}
	}
	token := &oauth2.Token{
		AccessToken: t.AccessToken.Reveal(), TokenType: t.Type, Expiry: t.Expiry,
		ExpiresIn: int64(life / time.Second),
	}
	if extra := t.extra(); extra != nil {
		token = token.WithExtra(extra)
	}
	c := &CachedToken{
		Token:      token,
		Generation: generation,
		receivedAt: now,
		issuedAt:   t.Obtained,
		refreshAt:  until(max(before, travel)),
		expiresAt:  until(travel),
		holdFor:    min(minHold, life/2),
	}
	if t.Obtained.After(now.Add(maxSkew)) {
		// This machine's clock was set back: nobody knows how old the token is.
		c.refreshAt, c.expiresAt = moment{}, moment{}
	}
	c.recheckAt.Store(int64(recheckEvery))
	c.extend(now)
	return c
}

// bind reports whether s holds the tokens of g's user. An issuer that is learned
// from a resource may change: that is a new login, and no other user.
func (s *Slot) bind(g *Grant) bool {
	now := g.user()
	if now == (user{}) {
		return true
	}
	if s.user == (user{}) || s.user.issuer != now.issuer {
		s.user = now
	}
	return s.user == now
}

// fill puts g's token for s into memory. a.mu is held.
func (a *Account) fill(s *Slot, g *Grant, now time.Time) {
	mine := s.bind(g)
	s.foreign.Store(!mine)
	if g == nil || !mine || a.ended.Load() || g.Pending() {
		s.token.Store(nil)
		return
	}
	t := g.Token(s.Resource, s.Scopes)
	key, err := g.ProofKey()
	if t == nil || t.AccessToken.IsZero() || err != nil {
		s.token.Store(nil)
		return
	}
	if c := s.token.Load(); c != nil && c.is(t) && c.Valid(now) {
		return // a refresh for another slot brought this one nothing new
	}
	// One that is not valid is judged anew: the clock may be right again.
	c := newCached(t, g.Generation, now, a.accounts.RefreshBefore)
	c.Key = key
	s.token.Store(c)
}

// Slot returns the account's slot for resource and scopes. It is the same each time,
// until another user takes the account.
func (a *Account) Slot(resource string, scopes []string) *Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.slot(a.grant.Load().user(), resource, scopes)
}

// SlotOf returns the main slot of g's user, whoever the account belongs to by now.
func (a *Account) SlotOf(g *Grant) *Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.slot(g.user(), "", nil)
}

// SlotLike returns the slot for resource and scopes of the user that like belongs
// to.
func (a *Account) SlotLike(like *Slot, resource string, scopes []string) *Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.slot(like.user, resource, scopes)
}

func (a *Account) slot(u user, resource string, scopes []string) *Slot {
	name := slotName(resource, scopes) + "\x00" + u.issuer + "\x00" + u.subject
	s := a.slots[name]
	if s == nil {
		s = &Slot{Resource: resource, Scopes: slices.Clone(scopes), user: u}
		if a.slots == nil {
			a.slots = map[string]*Slot{}
		}
		a.slots[name] = s
		if g := a.grant.Load(); g != nil {
			a.fill(s, g, time.Now())
		}
	}
	return s
}
