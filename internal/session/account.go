package session

import (
	"context"
	"errors"
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
	// Obtain gets tokens for s without a user, and returns g with them. Nothing is
	// stored then, and Keeper and Send are not used. Its errors are *SendError. nil:
	// the sessions are stored.
	Obtain func(ctx context.Context, g *Grant, s *Slot) (*Grant, error)
	// Discard is for the token of an Obtain that Forget overtook: nobody will use it.
	// It must return soon. It is set if Obtain is.
	Discard func(g *Grant)
	// Settled is called after a refresh that succeeded, with the grant that is stored
	// now. It must return soon. nil: it is not called.
	Settled func(g *Grant)
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

	accounts    *Accounts
	grant       atomic.Pointer[Grant]   // only what is known to be stored; nil: not loaded, or gone
	ended       atomic.Bool             // the whole session is known to have ended
	loginNeeded atomic.Pointer[Grant]   // the grant of which a caller was told that it needs a login
	doubted     atomic.Bool             // the provider has refused to renew it
	flight      atomic.Pointer[flight]  // the refresh under way
	pause       atomic.Pointer[backoff] // no early refresh for a while
	failing     atomic.Pointer[backoff] // after a refresh that failed: none at all for a while
	turn        atomic.Pointer[func()]  // ends this process's turn, or wait for it (queue.go); nil: none
	changed     chan struct{}           // closed at the next change of what is known; guarded by mu

	mu    sync.Mutex
	slots map[string]*Slot
	// rejected is the first grant whose new ID token was rejected; nil: none was.
	rejected *Grant
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
	a.mu.Lock() // a grant and whose it is change together
	defer a.mu.Unlock()
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

// FirstRejection reports whether g's refresh for the login's own token was the first
// whose new ID token was rejected, with the ID token that g kept. After one rejection
// a later refresh may bring a good one; after a second one a login is needed. A
// refresh for a narrower token in between does not count.
func (a *Account) FirstRejection(g *Grant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rejected == nil || a.rejected.IDToken.Reveal() != g.IDToken.Reveal() {
		a.rejected = g
	}
	return a.rejected.Tokens[0].Obtained.Equal(g.Tokens[0].Obtained)
}

// NeedLogin notes that a caller was told that a login is needed, though an access
// token may be valid: nothing can renew the session, or its ID token.
func (a *Account) NeedLogin() { a.loginNeeded.Store(a.grant.Load()) }

// NeedsLogin reports whether NeedLogin was said of what is still stored. A refresh
// that brings no ID token does not change that. Neither does another process's login
// whose ID token has expired meanwhile, which expired reports.
func (a *Account) NeedsLogin(expired func(*Grant) bool) bool {
	g, told := a.grant.Load(), a.loginNeeded.Load()
	switch {
	case g == nil || told == nil:
		return false
	case g.IDToken.IsZero():
		return g.Generation == told.Generation
	}
	return g.IDToken.Equal(told.IDToken) || expired(g)
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
	if a.show(seen) { // once, and not on every call
		a.accounts.Logger.Warn("the provider has ended the session", "event", "session_ended", "account", a.Name)
	}
}

// show is publish without its log, which may call back. ended means that the session
// was not known to have ended.
func (a *Account) show(seen Snapshot) (ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen.Newest < a.newest {
		return false
	}
	ended = seen.Dead && !a.ended.Load()
	a.ended.Store(seen.Dead)
	a.doubted.Store(seen.Doubted)
	a.set(seen.Grant, seen.Newest)
	return ended
}

// Stored publishes a grant that was just stored, or read under the lock.
func (a *Account) Stored(g *Grant) { a.publish(Snapshot{Grant: g, Newest: g.Generation}) }

// SignedIn publishes the grant of a login that was just stored. How refreshes of what
// was before it failed says nothing about it.
func (a *Account) SignedIn(g *Grant) {
	a.Stored(g)
	a.loginNeeded.Store(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetFailures()
}

// Drop forgets the session after a logout, which tombstone is of. It is called under
// the refresh lock, so that nothing newer is stored. What was read before and is
// published later is at or below the tombstone, and what a login stores is above it.
func (a *Account) Drop(tombstone uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended.Store(false)
	a.doubted.Store(false)
	a.forgetFailures()
	a.set(nil, tombstone)
}

// forgetFailures ends every pause: what failed was the session of before. a.mu is
// held.
func (a *Account) forgetFailures() {
	a.pause.Store(nil)
	a.failing.Store(nil)
	for _, s := range a.slots {
		s.failing.Store(nil)
	}
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
// is the next Token's business. If the tokens have expired, one process reads the
// store first, and the others may wait for its refresh (queue.go).
func (a *Account) Load(ctx context.Context) error {
	a.queue(ctx)
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

// Look reads the journal, and the stored session only if the journal says that it has
// changed: a keychain may prompt the user at every read.
func (a *Account) Look(ctx context.Context) error {
	g := a.grant.Load()
	if g == nil || a.accounts.Obtain != nil {
		return nil
	}
	stale, _, err := a.accounts.Keeper.Stale(ctx, a.Key, g)
	if err != nil || !stale {
		return err
	}
	return a.Reload(ctx)
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
