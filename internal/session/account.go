package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Accounts are the sessions of one client in memory. It is safe for concurrent use.
// Its fields are set before the first use.
type Accounts struct {
	// Keeper runs the protocol over the store.
	Keeper *Keeper
	// Send sends g's refresh token for s: see Attempt.Send.
	Send func(ctx context.Context, g *Grant, s *Slot) (*Grant, error)
	// RefreshBefore is how long before expiry a token is refreshed early; 0: by the
	// token's life.
	RefreshBefore time.Duration
	// Life bounds the work in the background. It ends a while after the client was
	// closed. Starting ends when it is closed: a refresh that has not been sent is
	// given up then.
	Life, Starting context.Context
	// Begin counts work in the background, and Done ends it. An error means that
	// the client is closed.
	Begin func() error
	Done  func()
	// Logger gets what happens, without secrets.
	Logger *slog.Logger

	dismissed atomic.Pointer[backoff] // no prompt of the keychain for a while

	mu     sync.Mutex
	byName map[string]*Account
}

// Account returns the account of that name, which is stored under key. It is the
// same each time.
func (as *Accounts) Account(name, key string) *Account {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byName[name]
	if a == nil {
		a = &Account{accounts: as, Name: name, Key: key}
		if as.byName == nil {
			as.byName = map[string]*Account{}
		}
		as.byName[name] = a
	}
	return a
}

// Account is the session of one account as this process knows it: the stored grant
// as last seen, its tokens in memory, and the one refresh under way. Everybody who
// uses the account shares it.
type Account struct {
	Name string
	Key  string

	accounts  *Accounts
	grant     atomic.Pointer[Grant]   // only what is known to be stored; nil: not loaded, or gone
	ended     atomic.Bool             // the whole session is known to have ended
	noIDToken atomic.Uint64           // the generation that has no ID token to hand out
	doubted   atomic.Bool             // the provider has refused to renew it
	flight    atomic.Pointer[flight]  // the refresh under way
	pause     atomic.Pointer[backoff] // no early refresh for a while
	failing   atomic.Pointer[backoff] // after a refresh that failed: none at all for a while
	changed   chan struct{}           // closed at the next change of what is known; guarded by mu

	mu    sync.Mutex
	slots map[string]*Slot
	// newest is the generation up to which it is known what is stored. What is
	// older is not believed any more.
	newest uint64
}

func slotName(resource string, scopes []string) string {
	return resource + "\x00" + strings.Join(scopes, " ")
}

// ErrOtherUser means that the account now belongs to another user than the slot.
var ErrOtherUser = errors.New("the account now belongs to another user")

// Grant returns the stored grant as last seen; nil: not loaded, or gone.
func (a *Account) Grant() *Grant { return a.grant.Load() }

// GrantOf returns the stored grant as last seen, for s. ErrAbsent, or ErrOtherUser.
func (a *Account) GrantOf(s *Slot) (*Grant, error) {
	g := a.grant.Load()
	switch {
	case s.foreign.Load():
		return nil, ErrOtherUser
	case g == nil:
		return nil, ErrAbsent
	}
	return g, nil
}

// Ended reports whether the whole session is known to have ended: a token that has
// not expired yet is not handed out any more.
func (a *Account) Ended() bool { return a.ended.Load() }

// Doubted reports whether the provider has refused to renew the session, without
// saying that it has ended.
func (a *Account) Doubted() bool { return a.doubted.Load() }

// IDTokenEnded notes that the ID token has expired and the provider renews none: a
// login is needed for another.
func (a *Account) IDTokenEnded() {
	if g := a.grant.Load(); g != nil {
		a.noIDToken.Store(g.Generation)
	}
}

// NeedsIDToken reports whether IDTokenEnded was said of what is still stored.
func (a *Account) NeedsIDToken() bool {
	g := a.grant.Load()
	return g != nil && a.noIDToken.Load() == g.Generation
}

// Changed returns a channel that is closed when what is known of the session
// changes.
func (a *Account) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// publish shows what was seen in the store to everyone, unless something newer is
// known: a read that was overtaken by a login or a logout must not bring back what
// was before.
func (a *Account) publish(seen Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen.Newest >= a.newest {
		a.ended.Store(seen.Dead)
		a.doubted.Store(seen.Doubted)
		a.set(seen.Grant, seen.Newest)
	}
}

// Stored publishes a grant that was just stored, or read under the lock.
func (a *Account) Stored(g *Grant) { a.publish(Snapshot{Grant: g, Newest: g.Generation}) }

// Drop forgets the session after a logout. Every generation so far is at or below
// the tombstone.
func (a *Account) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended.Store(false)
	a.set(nil, a.newest+1)
}

func (a *Account) set(g *Grant, newest uint64) {
	a.newest = newest
	a.grant.Store(g)
	now := time.Now()
	for _, s := range a.slots {
		a.fill(s, g, now)
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// loadWait bounds how long Load waits for a refresh that a dead process left.
const loadWait = 2 * time.Second

// Load reads the stored session. ErrAbsent: there is none. If a process died in a
// refresh, that refresh is finished now: the grace that providers give is short.
// Load waits for it for two seconds, and it goes on in the background. How it ends
// is the next Token's business.
func (a *Account) Load(ctx context.Context) error {
	seen, err := a.read(ctx)
	if err != nil {
		return err
	}
	if seen.Open && !seen.Dead && !a.paused(time.Now()) {
		f := a.refresh(a.Slot("", nil), true, 0)
		select {
		case <-f.done:
		case <-f.stalled:
		case <-time.After(loadWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Reload reads the stored session and refreshes nothing.
func (a *Account) Reload(ctx context.Context) error {
	_, err := a.read(ctx)
	return err
}

// read reads the stored session and publishes it.
func (a *Account) read(ctx context.Context) (Snapshot, error) {
	seen, err := a.accounts.Keeper.Read(ctx, a.Key)
	if err != nil {
		return seen, err
	}
	a.publish(seen)
	return seen, seen.Absent
}

// Token returns a valid token for s: from memory, from the store, or refreshed.
func (a *Account) Token(ctx context.Context, s *Slot) (*CachedToken, error) {
	t := s.token.Load()
	if t != nil && t.Fresh() {
		return t, nil
	}
	now := time.Now()
	if t != nil && t.Valid(now) { // nobody waits
		switch {
		case !t.early(now), a.paused(now): // a sibling may do better meanwhile, or sign out
			a.recheck(t, now)
			t.extend(now)
		case a.flight.Load() == nil && now.Sub(t.receivedAt) >= t.settle:
			a.refresh(s, true, t.Generation)
		}
		return t, nil
	}
	if s.foreign.Load() {
		return nil, ErrOtherUser
	}
	t, err := a.await(ctx, s, 0)
	if t == nil && err == nil {
		err = errors.New("the provider issues tokens that have expired already; check this machine's clock")
	}
	return t, err
}

// Refresh returns when there is a token for s of a generation above after.
func (a *Account) Refresh(ctx context.Context, s *Slot, after uint64) error {
	t, err := a.await(ctx, s, after)
	if t == nil && err == nil {
		err = errors.New("the session could not be refreshed; try again")
	}
	return err
}

// await returns a valid token of a generation above after. nil, nil: refreshes
// succeed and bring none.
func (a *Account) await(ctx context.Context, s *Slot, after uint64) (*CachedToken, error) {
	for own := 0; own < 2; {
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
		if t := s.token.Load(); t != nil && t.Generation > after && t.Valid(time.Now()) {
			return t, nil
		}
		if s.foreign.Load() {
			return nil, ErrOtherUser
		}
		if f.slot == s && !f.early { // otherwise it was another slot's, or an early one that gave way
			if f.err != nil {
				return nil, f.err
			}
			own++
		}
	}
	return nil, nil
}

// flight is one refresh, shared by everybody who wants one.
type flight struct {
	slot    *Slot
	early   bool
	after   uint64 // the generation that is not good enough any more
	done    chan struct{}
	err     error         // after done
	stalled chan struct{} // closed if the new tokens cannot be stored at present
	stall   error         // after stalled
	once    sync.Once
}

// refresh joins the refresh under way, or starts one in the background. It outlives
// its callers: once the refresh token was sent, the answer must not be lost.
func (a *Account) refresh(s *Slot, early bool, after uint64) *flight {
	f := &flight{slot: s, early: early, after: after, done: make(chan struct{}), stalled: make(chan struct{})}
	for !a.flight.CompareAndSwap(nil, f) {
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
	if err := a.failed(s, time.Now()); err != nil && !early {
		return end(err) // as it was a moment ago: no storm of requests
	}
	if err := a.accounts.Begin(); err != nil {
		return end(err)
	}
	go func() {
		defer a.accounts.Done()
		err := a.run(f)
		// What a caller asks for may fail for a reason of its own, such as a
		// resource that the provider does not know.
		if early || err == nil {
			a.pauseAfter(err)
		}
		a.failAfter(s, err)
		end(err)
	}()
	return f
}

// run is one refresh by the protocol, and publishes what it brought.
func (a *Account) run(f *flight) error {
	keeper, life := a.accounts.Keeper, a.accounts.Life
	known := a.grant.Load()
	attempt := Attempt{
		Key: a.Key, Early: f.early, Known: known, Starting: a.accounts.Starting,
		Serves: func(g *Grant) bool { return a.serves(f, g) },
		Send: func(ctx context.Context, g *Grant) (*Grant, error) {
			return a.accounts.Send(ctx, g, f.slot)
		},
		Stalled: func(err error) {
			f.once.Do(func() {
				f.stall = err
				close(f.stalled)
			})
		},
	}
	if !f.slot.Main() {
		main := a.Slot("", nil)
		attempt.SendWhole = func(ctx context.Context, g *Grant) (*Grant, error) {
			return a.accounts.Send(ctx, g, main)
		}
	}
	g, err := keeper.Refresh(life, attempt)
	var narrow *NarrowError
	switch {
	case errors.Is(err, ErrAbsent), errors.Is(err, ErrDead), errors.Is(err, ErrMismatch),
		errors.Is(err, ErrDoubted), errors.As(err, &narrow):
		if seen, serr := keeper.Read(life, a.Key); serr == nil {
			a.publish(seen)
		}
	}
	if err != nil {
		a.accounts.Logger.Info("the session was not refreshed", "account", a.Name, "err", err)
		return err
	}
	a.Stored(g)
	return nil
}

// serves reports whether the stored grant g holds what f is for.
func (a *Account) serves(f *flight, g *Grant) bool {
	t := g.Token(f.slot.Resource, f.slot.Scopes)
	if _, err := g.ProofKey(); err != nil || t == nil || t.AccessToken.IsZero() {
		return false
	}
	if c := f.slot.token.Load(); c != nil && c.Generation <= f.after && c.is(t) {
		return false // the generation is newer, this token is not
	}
	now := time.Now()
	c := newCached(t, g.Generation, now, a.accounts.RefreshBefore)
	return g.Generation > f.after && c.Valid(now) && (!f.early || !c.early(now))
}
