package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

var (
	// ErrAbsent means that there is no session: none was stored, it was signed
	// out, or it cannot be read any more.
	ErrAbsent = errors.New("no session is stored")
	// ErrSignedOut means that there is no session because of a logout, here or in
	// another process. It also matches ErrAbsent.
	ErrSignedOut error = signedOut{}
	// ErrDead means that the provider refused the session's refresh token for good.
	ErrDead = errors.New("the provider has ended the session")
	// ErrNoRefreshToken means that the access token has expired and nothing can
	// renew it.
	ErrNoRefreshToken = errors.New("the session has no refresh token")
	// ErrDoubted means that the provider refused the session's refresh token more
	// than once, without saying that it is no longer valid. A later attempt may
	// succeed.
	ErrDoubted = errors.New("the provider has refused to renew the session")
	// ErrRejected means that the refreshed ID token failed a check that says nothing
	// about the user. The earlier ID token is kept, and the new tokens are used.
	ErrRejected = errors.New("the refreshed ID token failed its checks")
	// ErrMismatch means that the refreshed ID token is not about the session's user,
	// or is not the issuer's. It ends the session.
	ErrMismatch = errors.New("the refreshed ID token is not about the session's user")
	// ErrUnsigned means that none of the provider's keys verifies the refreshed ID
	// token: it is forged, or the provider withdrew its key, or does not publish it
	// yet. It ends the session if another refresh, a minute later, brings no better one.
	ErrUnsigned = errors.New("no key of the provider's verifies the refreshed ID token; try again in a minute")
	// errWouldPrompt means that an early refresh was left undone because the store
	// would have prompted the user.
	errWouldPrompt = errors.New("the store would prompt the user, and nobody waits for the refresh")
	// ErrBusy means that another process held the session's lock to the deadline.
	ErrBusy error = lockHeld{}
)

// These errors are types, and not made with fmt.Errorf, which would run in every
// program before main.

type signedOut struct{}

func (signedOut) Error() string { return ErrAbsent.Error() + ": it was signed out" }

func (signedOut) Unwrap() error { return ErrAbsent }

type lockHeld struct{}

func (lockHeld) Error() string {
	return "another process is refreshing the session and does not finish; try again: " +
		tokenstore.ErrBusy.Error()
}

func (lockHeld) Unwrap() error { return tokenstore.ErrBusy }

// Keeper runs the protocol over a store. It holds no session itself. It is safe
// for concurrent use.
type Keeper struct {
	// Store keeps the values. A store that cannot lock is for one process.
	Store tokenstore.Store
	// Verify checks g.NewIDToken against g.IDToken. An error that matches
	// ErrRejected or ErrMismatch is final; another may pass later.
	Verify func(ctx context.Context, g *Grant) error
	// Revoke tells the provider once that g has ended. It is bounded.
	Revoke func(ctx context.Context, g *Grant) error
	// Clock is kept in the journal, so that a fresh process knows it. nil: it is not.
	Clock *oauth.Clock
	// Logger gets what happens, without secrets. nil: silence.
	Logger *slog.Logger
	// LockWait bounds the wait for the refresh lock. It is longer than two calls of
	// the token endpoint and the store's bounds, so that a waiter does not give up
	// on a holder that works.
	LockWait time.Duration
	// Queue means that the store's lock and journal are quick to look at, as files
	// of this machine are, so that processes that start at once take turns (queue.go).
	Queue bool

	mu    sync.Mutex
	locks map[string]chan struct{} // for a store that cannot lock: one process, this one
}

// Snapshot is what the store shows without the lock.
type Snapshot struct {
	Grant *Grant // nil: there is none
	Dead  bool   // the whole session is known to have ended
	// Doubted means that the provider refused the refresh token more than once.
	Doubted bool
	// ForgottenClient is the client ID that the provider said it does not know; "":
	// none.
	ForgottenClient string
	// Leaving means that a logout has begun and not ended.
	Leaving bool
	// Open means that a refresh that sent this refresh token has not ended. A
	// sibling is at work, or it died.
	Open bool
	// Newest is the generation up to which this is known: Grant's. If there is
	// none, it is the newest that was ever allotted.
	Newest uint64
	// Absent is why there is no Grant; nil: there is one.
	Absent error
}

// Read reads journal and value without a lock (step 2). An error means that the
// store could not be read, never that there is no session.
func (k *Keeper) Read(ctx context.Context, key string) (Snapshot, error) {
	j, g, err := k.read(ctx, key)
	if err != nil {
		return Snapshot{}, err
	}
	if g == nil {
		return Snapshot{Newest: max(j.Newest, j.Tombstone), Leaving: j.leaving(), Absent: j.absent()}, nil
	}
	s := Snapshot{Grant: g, Dead: j.dead(g), Open: j.names(g), Newest: g.Generation}
	if d := j.doubt(g); d != nil {
		s.Doubted, s.ForgottenClient = d.confirmed(), d.ClientID
	}
	return s, nil
}

// Stale reports what the journal tells that g does not. stale: there is a newer
// generation, or a logout, or the session has ended. open: a refresh that sent g's
// token has not ended. A refresh that sent another token belongs to a grant newer
// than g, so g is stale. A store that keeps the journal beside the value reads no
// secret for this, so it may be called every few seconds.
func (k *Keeper) Stale(ctx context.Context, key string, g *Grant) (stale, open bool, err error) {
	j, err := k.readJournal(ctx, key)
	if err != nil {
		return false, false, err
	}
	open = j.names(g)
	newer := j.Newest > g.Generation && (j.Open == nil || j.Open.Hash != "" && !open)
	return newer || j.Tombstone >= g.Generation || j.dead(g), open, nil
}

// read returns the journal, and the grant if there is one.
func (k *Keeper) read(ctx context.Context, key string) (j Journal, g *Grant, err error) {
	// The value is read first, so that a logout between the two reads is seen. A
	// login between them is seen by reading once more.
	for range 3 {
		data, gerr := k.Store.Get(ctx, key)
		if j, err = k.readJournal(ctx, key); err != nil {
			return j, nil, err
		}
		g, err = k.existing(key, j, data, gerr)
		if g != nil || err != nil || j.Row == nil || j.Open != nil {
			break
		}
	}
	return j, g, err
}

// existing decodes what a Get returned. It returns nil for a value that does not
// count: absent, corrupt, another key's, or at or below the tombstone.
func (k *Keeper) existing(key string, j Journal, data []byte, err error) (*Grant, error) {
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, nil
	}
	var g *Grant
	if err == nil {
		g, err = decode(data)
	}
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, tokenstore.ErrDamaged):
		// This must become "sign in again", never a program that cannot start.
		k.log().Warn("the stored session cannot be read", "key", key, "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	case Key(g.Realm, g.Party, g.Account) != key, g.Generation <= j.Tombstone:
		return nil, nil
	case g.Generation < j.Stored:
		// Its refresh token is spent, and sending it would end the newer session.
		k.log().Warn("the stored session is an older copy, as from a backup", "key", key)
		return nil, nil
	}
	return j.judged(g), nil
}

// Probe reports whether a session could be stored now. A store that cannot be
// probed passes.
func (k *Keeper) Probe(ctx context.Context) error {
	p, ok := k.Store.(tokenstore.Prober)
	if !ok {
		return nil
	}
	if err := p.Probe(ctx); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// prompts reports whether the store would prompt the user now, for a Get and for a
// Put. It prompts nobody.
func (k *Keeper) prompts(ctx context.Context) (get, put bool, err error) {
	p, ok := k.Store.(tokenstore.Prompter)
	if !ok {
		return false, false, nil
	}
	get, put, err = p.Prompts(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, false, nil
	}
	return get, put, err
}

func (k *Keeper) log() *slog.Logger {
	if k.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Logger
}
