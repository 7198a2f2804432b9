package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
)

// account is what all Sessions of one account share: the stored grant as last seen, and the one refresh under way.
type account struct {
	client *Client
	name   string
	key    string

	grant  atomic.Pointer[session.Grant] // nil: not loaded, or gone. Only what is known to be stored.
	flight atomic.Pointer[flight]
	pause  atomic.Pointer[pause] // after a refresh that failed: no early one

	mu     sync.Mutex
	slots  map[string]*slot
	newest uint64 // up to here it is known what is stored; what is older is not believed any more
}

// slot holds the token for one resource or set of scopes; the first slot is the sign-in's own.
type slot struct {
	resource string
	scopes   []string
	current  atomic.Pointer[held]
}

// held is a token with the moments that matter to it. A monotonic clock stops while a computer sleeps, and the token's life does not; a
// wall clock may be set back. So both are asked.
type held struct {
	token      *oauth2.Token
	generation uint64
	key        oauth.DPoPKey // zero: a bearer token
	refresh    moment        // from here on it is refreshed early
	expiry     moment        // from here on it is not handed out
	settled    time.Duration
	since      time.Time // when this process got it
	issued     time.Time // when whichever process got it

	sure atomic.Int64 // until here from since, it is handed out without another thought
	look atomic.Int64 // from here on from since, the record is looked at
}

// moment is a point in time by two clocks; what comes first counts.
type moment struct {
	wall int64         // Unix nanoseconds
	left time.Duration // from held.since
}

// passed reports whether either clock has come to m.
func (m moment) passed(wall int64, age time.Duration) bool { return wall >= m.wall || age >= m.left }

// fresh reports whether the token is handed out without another thought. It is the warm path: two loads and a look at the monotonic clock.
func (h *held) fresh() bool { return int64(time.Since(h.since)) < h.sure.Load() }

// valid reports whether the token may be handed out.
func (h *held) valid(now time.Time) bool { return !h.expiry.passed(now.UnixNano(), now.Sub(h.since)) }

// early reports whether it is time to refresh while the token is still good.
func (h *held) early(now time.Time) bool { return h.refresh.passed(now.UnixNano(), now.Sub(h.since)) }

// goOn lets the warm path hand the token out for a while, before the wall clock is asked again: after a sleep, it is what tells the token's age.
func (h *held) goOn(now time.Time) {
	age := now.Sub(h.since)
	h.sure.Store(int64(min(age+askEvery, h.refresh.left, time.Duration(h.look.Load()))))
}

// askEvery is how long the monotonic clock alone is believed. A token may be that much older than it should be when it is handed out, and
// only in the moment after a sleep; the way to the API takes as long.
const askEvery = 100 * time.Millisecond

// lookEvery is how often a process that is in use looks at the record, though its token is good for long: a sibling that died in a refresh may
// have used up the refresh token of everyone. It is well within the shortest grace that is served (30 seconds).
const lookEvery = 5 * time.Second

// flight is one refresh, shared by everybody who wants one.
type flight struct {
	slot    *slot
	early   bool
	done    chan struct{}
	err     error         // after done
	stalled chan struct{} // closed when the new tokens cannot be stored at present
	stall   error         // after stalled
	once    sync.Once
}

func (a *account) slot(resource string, scopes []string) *slot {
	name := resource + "\x00" + strings.Join(scopes, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.slots[name]
	if s == nil {
		s = &slot{resource: resource, scopes: slices.Clone(scopes)}
		if a.slots == nil {
			a.slots = map[string]*slot{}
		}
		a.slots[name] = s
		if g := a.grant.Load(); g != nil {
			a.fill(s, g, time.Now())
		}
	}
	return s
}

// publish makes what was seen in the store what every Session of the account sees, unless something newer is known: a read that was overtaken by a
// sign-in or a logout must not bring back what was before.
func (a *account) publish(seen session.Seen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen.Newest >= a.newest {
		a.set(seen.Grant, seen.Newest)
	}
}

// stored publishes a grant that was just stored or read under the lock.
func (a *account) stored(g *session.Grant) { a.publish(session.Seen{Grant: g, Newest: g.Generation}) }

// drop forgets the session after a logout: every generation so far is at or below the tombstone.
func (a *account) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(nil, a.newest+1)
}

func (a *account) set(g *session.Grant, newest uint64) {
	a.newest = newest
	a.grant.Store(g)
	now := time.Now()
	for _, s := range a.slots {
		a.fill(s, g, now)
	}
}

func (a *account) fill(s *slot, g *session.Grant, now time.Time) {
	if g == nil || g.Pending() {
		s.current.Store(nil)
		return
	}
	t := g.Token(s.resource, s.scopes)
	key, err := proofKey(g)
	if t == nil || t.AccessToken.IsZero() || err != nil {
		s.current.Store(nil)
		return
	}
	if h := s.current.Load(); h != nil && h.is(t) {
		return // a refresh for another slot brought this one nothing new
	}
	h := a.client.hold(t, g.Generation, now)
	h.key = key
	s.current.Store(h)
}

// is reports whether h is t, of the same issue.
func (h *held) is(t *session.Token) bool {
	return h.issued.Equal(t.Obtained) && h.token.AccessToken == t.AccessToken.Reveal()
}

// hold computes when t is refreshed. Early enough that nobody waits, late enough that it is worth it, and with jitter, so that processes do not
// come all at once.
func (c *Client) hold(t *session.Token, generation uint64, now time.Time) *held {
	life := max(t.Expiry.Sub(t.Obtained), 0)
	before := c.cfg.RefreshBefore
	if before == 0 {
		before = min(max(life/10, min(30*time.Second, life/2)), 5*time.Minute)
	}
	before -= time.Duration(rand.Int64N(int64(before/5) + 1))
	skew := min(life/20, 5*time.Second) // for the way to the API
	until := func(margin time.Duration) moment {
		end := t.Expiry.Add(-margin)
		return moment{end.UnixNano(), min(end.Sub(now), life-margin)}
	}
	h := &held{
		token: &oauth2.Token{
			AccessToken: t.AccessToken.Reveal(), TokenType: t.Type, Expiry: t.Expiry, ExpiresIn: int64(life / time.Second),
		},
		generation: generation,
		refresh:    until(max(before, skew)),
		expiry:     until(skew),
		settled:    min(settleAfter, life/2),
		since:      now,
		issued:     t.Obtained,
	}
	if t.Obtained.After(now.Add(maxSkew)) {
		h.refresh, h.expiry = moment{}, moment{} // this machine's clock was set back: nobody knows how old the token is
	}
	h.look.Store(int64(lookEvery))
	h.goOn(now)
	return h
}

// maxSkew is how far in the future a token may have been obtained: machines that share a store differ.
const maxSkew = time.Minute

// settleAfter is how long a process holds a session before it refreshes early. One that exits a second later would leave a rotation half done.
const settleAfter = 10 * time.Second

// load reads the stored session. If a refresh was left half done by a process that died, it is finished now: the grace that a provider gives is short.
func (a *account) load(ctx context.Context) error {
	seen, err := a.client.keeper.Look(ctx, a.key)
	if err != nil {
		return a.client.failure(err)
	}
	a.publish(seen)
	if seen.Grant == nil {
		return &loginRequired{why: "no session is stored" + forAccount(a.name), cause: session.ErrAbsent}
	}
	if seen.Open && !seen.Dead && !a.paused(time.Now()) {
		f := a.refresh(a.slot("", nil), true, 0)
		select {
		case <-f.done:
		case <-f.stalled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func forAccount(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" for account %q", name)
}

// token is the slow path of Session.current: h is nil, or to be thought about.
func (a *account) token(ctx context.Context, s *slot, h *held) (*held, error) {
	now := time.Now()
	if h != nil && h.valid(now) { // nobody waits
		switch {
		case !h.early(now), a.paused(now): // a sibling may do better meanwhile, or sign out
			a.look(h, now)
			h.goOn(now)
		case a.flight.Load() == nil && now.Sub(h.since) >= h.settled:
			a.refresh(s, true, h.generation)
		}
		return h, nil
	}
	h, err := a.await(ctx, s, 0)
	if h == nil && err == nil {
		err = errors.New("the session's tokens expire as fast as they are issued; check this machine's clock")
	}
	return h, err
}

// look reads the record in the background, if it is time, and what it tells of: a refresh that a dead sibling left half done is finished, a newer
// token is adopted, a logout is noticed. One goroutine does so at a time, and nobody waits for it.
func (a *account) look(h *held, now time.Time) {
	age, due := int64(now.Sub(h.since)), h.look.Load()
	if age < due || !h.look.CompareAndSwap(due, age+int64(lookEvery)) || a.client.begin() != nil {
		return
	}
	go func() {
		defer a.client.done()
		g := a.grant.Load()
		if g == nil {
			return
		}
		stale, open, err := a.client.keeper.Stale(a.client.life, a.key, g)
		switch {
		case err == nil && stale:
			err = a.load(a.client.life)
		case err == nil && open && !a.paused(time.Now()):
			a.refresh(a.slot("", nil), true, 0)
		}
		if err != nil {
			a.client.log.Info("a look at the session's record", "account", a.name, "err", err)
		}
	}()
}

// await returns a valid token of a generation above after. nil, nil: refreshes succeed and bring none.
func (a *account) await(ctx context.Context, s *slot, after uint64) (*held, error) {
	for own := 0; own < 3; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := a.refresh(s, false, after)
		select {
		case <-f.done:
		case <-f.stalled:
			return nil, fmt.Errorf("the refreshed session cannot be stored, and is not used before it is: %w", f.stall)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if h := s.current.Load(); h != nil && h.generation > after && h.valid(time.Now()) {
			return h, nil
		}
		if f.slot == s && !f.early { // else it was for another slot, or an early one that gave way
			if f.err != nil {
				return nil, f.err
			}
			own++
		}
	}
	return nil, nil
}

// refresh joins the refresh under way, or starts one in the background. after is the generation that is not good enough any more.
func (a *account) refresh(s *slot, early bool, after uint64) *flight {
	f := &flight{slot: s, early: early, done: make(chan struct{}), stalled: make(chan struct{})}
	for {
		if a.flight.CompareAndSwap(nil, f) {
			break
		}
		if now := a.flight.Load(); now != nil {
			return now
		}
	}
	end := func(err error) *flight {
		f.err = err
		a.flight.Store(nil)
		close(f.done)
		return f
	}
	if err := a.client.begin(); err != nil {
		return end(err)
	}
	go func() {
		defer a.client.done()
		err := a.run(f, early, after)
		if early || err == nil { // what somebody asks for may fail for a reason of its own, such as a resource that the provider does not know
			a.pauseAfter(err)
		}
		end(a.client.failure(err))
	}()
	return f
}

// pause is a time without early refreshes. It grows while they fail.
type pause struct {
	since    time.Time
	length   time.Duration
	failures int
}

func (a *account) paused(now time.Time) bool {
	p := a.pause.Load()
	return p != nil && now.Sub(p.since) < p.length
}

// pauseAfter says how soon an early refresh is tried again. While a sibling holds the lock it is looked at every few seconds, and the first tries are
// well within the grace that providers give.
func (a *account) pauseAfter(err error) {
	if err == nil {
		a.pause.Store(nil)
		return
	}
	next := &pause{since: time.Now(), length: 2 * time.Second}
	var asked *session.PauseError
	switch {
	case errors.As(err, &asked):
		next.length = asked.After
	case !errors.Is(err, session.ErrBusy):
		if p := a.pause.Load(); p != nil {
			next.failures = p.failures
		}
		next.length = min(lookEvery<<next.failures, maxPause)
		next.failures = min(next.failures+1, 8)
	}
	a.pause.Store(next)
}

// maxPause bounds the pause between early refreshes in a long outage.
const maxPause = 2 * time.Minute

func (a *account) run(f *flight, early bool, after uint64) error {
	c := a.client
	serves := func(g *session.Grant) bool {
		t := g.Token(f.slot.resource, f.slot.scopes)
		if _, err := proofKey(g); err != nil || t == nil || t.AccessToken.IsZero() {
			return false
		}
		if h := f.slot.current.Load(); h != nil && h.generation <= after && h.is(t) {
			return false // the generation is newer, this token is not
		}
		now := time.Now()
		h := c.hold(t, g.Generation, now)
		return g.Generation > after && h.valid(now) && (!early || !h.early(now))
	}
	g, err := c.keeper.Refresh(c.life, session.Attempt{
		Key: a.key, Early: early, Known: a.grant.Load(), Serves: serves,
		Send: func(ctx context.Context, g *session.Grant) (*session.Grant, error) {
			return c.sendRefresh(ctx, g, f.slot)
		},
		Stalled: func(err error) {
			f.once.Do(func() {
				f.stall = c.failure(err)
				close(f.stalled)
			})
		},
	})
	if errors.Is(err, session.ErrAbsent) {
		if seen, serr := c.keeper.Look(c.life, a.key); serr == nil {
			a.publish(seen)
		}
	}
	if err != nil {
		c.log.Info("the session was not refreshed", "account", a.name, "err", err)
		return err
	}
	a.stored(g)
	return nil
}

// failure turns what the keeper reports into what a program decides on.
func (c *Client) failure(err error) error {
	var pause *session.PauseError
	switch {
	case errors.Is(err, session.ErrAbsent):
		return &loginRequired{why: "the session is gone: it was signed out, or never stored", cause: err}
	case errors.Is(err, session.ErrDead):
		return &loginRequired{why: "the provider has ended the session", cause: err}
	case errors.Is(err, session.ErrNoRefreshToken):
		return &loginRequired{why: "the access token has expired, and the provider gave no refresh token (the scope offline_access, or a login with prompt=consent, may bring one)", cause: err}
	case errors.Is(err, session.ErrRejected) && !errors.Is(err, ErrInvalidResponse):
		return invalid("%w", err)
	case errors.As(err, &pause):
		return &Error{Endpoint: "token", Status: pause.Status, RetryAfter: pause.After}
	}
	return err
}
