package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is a token endpoint that rotates and detects reuse: a consumed token ends the family.
type provider struct {
	mu      sync.Mutex
	current string
	n       int
	sent    []string
	dead    bool
	answer  func(n int, token string) error // before the token is processed: nil goes on
	lose    func(n int) error               // after it is: the answer is lost
	idToken func(n int) string
}

func (p *provider) send(_ context.Context, g *Grant) (*Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := g.RefreshToken.Reveal()
	p.sent = append(p.sent, token)
	if p.answer != nil {
		if err := p.answer(len(p.sent), token); err != nil {
			return nil, err
		}
	}
	if p.dead || token != p.current {
		p.dead = true
		return nil, &SendError{Failure: Dead, Err: errors.New("invalid_grant")}
	}
	p.n++
	p.current = fmt.Sprintf("r%d", p.n)
	next := *g
	next.RefreshToken = wire.NewSecret(p.current)
	next.Tokens = []Token{token2(fmt.Sprintf("a%d", p.n), time.Hour)}
	if p.idToken != nil {
		next.NewIDToken = wire.NewSecret(p.idToken(p.n))
	}
	if p.lose != nil {
		if err := p.lose(len(p.sent)); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

func token2(access string, life time.Duration) Token {
	now := time.UnixMilli(time.Now().UnixMilli())
	return Token{AccessToken: wire.NewSecret(access), Type: "Bearer", Obtained: now, Expiry: now.Add(life)}
}

const issuer, client = "https://op.example", "cli"

var key = Key(issuer, client, "")

func signedIn(p *provider) *Grant {
	p.current = "r0"
	return &Grant{Realm: issuer, Party: client, Issuer: issuer, ClientID: client, Subject: "alice", RefreshToken: wire.NewSecret("r0"), Tokens: []Token{token2("a0", time.Hour)}, IDToken: wire.NewSecret("id0")}
}

func anyone(*Grant) error { return nil }

func newKeeper(store tokenstore.Store) *Keeper {
	return &Keeper{
		Store:    store,
		Verify:   func(context.Context, *Grant) error { return nil },
		Revoke:   func(context.Context, *Grant) error { return nil },
		LockWait: 10 * time.Second,
	}
}

func newer(after uint64) func(*Grant) bool {
	return func(g *Grant) bool { return g.Generation > after && time.Now().Before(g.Tokens[0].Expiry) }
}

func start(t *testing.T, store tokenstore.Store, p *provider) (*Keeper, *Grant) {
	t.Helper()
	k := newKeeper(store)
	g, err := k.Save(t.Context(), key, signedIn(p), anyone, func() {})
	require.NoError(t, err)
	return k, g
}

// 7 and 8: what is returned is what a fresh process reads.
func TestRefreshIsStoredBeforeItIsReturned(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	require.Equal(t, "r1", got.RefreshToken.Reveal())
	require.Greater(t, got.Generation, g.Generation)
	seen, err := newKeeper(store).Read(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, got, seen.Grant)
	require.False(t, seen.Open)
}

// S60: many keepers over one store, as many processes, and a provider that takes its time: all come while the first is at it, wait for the
// lock, look again, and send nothing.
func TestS60OneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		_, g := start(t, store, p)
		slow := func(ctx context.Context, g *Grant) (*Grant, error) {
			time.Sleep(time.Second)
			return p.send(ctx, g)
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				got, err := newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: slow})
				if err != nil || got.RefreshToken.Reveal() != "r1" {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		all.Wait()
		require.Equal(t, []string{"r0"}, p.sent)
	})
}

func TestNoRefreshTokenComesCarriesTheOldOne(t *testing.T) {
	p := &provider{}
	k, g := start(t, &tokenstore.Memory{}, p)
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: func(_ context.Context, g *Grant) (*Grant, error) {
		next := *g
		next.RefreshToken, next.Tokens = wire.Secret{}, []Token{token2("a1", time.Hour)}
		return &next, nil
	}})
	require.NoError(t, err)
	require.Equal(t, "r0", got.RefreshToken.Reveal())
}

// 6: each outcome leaves behind what it means.
func TestOutcomes(t *testing.T) {
	fail := func(o SendFailure) error {
		return &SendError{Failure: o, Err: errors.New("x"), After: time.Minute, Status: 429}
	}
	for name, tc := range map[string]struct {
		outcome SendFailure
		sends   int
		open    bool
		paused  bool
	}{
		"not sent": {NotSent, 1, false, false},
		"unknown":  {Unknown, 2, true, false},
		"paused":   {Paused, 1, false, true},
		"refused":  {Refused, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			store, p := &tokenstore.Memory{}, &provider{}
			k, g := start(t, store, p)
			p.answer = func(int, string) error { return fail(tc.outcome) }
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			var se *SendError
			require.ErrorAs(t, err, &se)
			require.Len(t, p.sent, tc.sends)
			rec, stored, err := k.read(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, g, stored, "a failure deletes nothing")
			require.Equal(t, tc.open, rec.names(g))
			p.answer = nil
			got, err := newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			if tc.paused { // 4a: a sibling keeps the pause too
				var pause *PauseError
				require.ErrorAs(t, err, &pause)
				require.Equal(t, 429, pause.Status)
				require.Len(t, p.sent, tc.sends)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "r1", got.RefreshToken.Reveal())
		})
	}
}

// 4d: an open refresh that names the stored token is recovered from at once, though the access token is valid.
func TestRecovery(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1, Open: &Operation{Kind: opRefresh, Generation: g.Generation + 1, Hash: g.hash()}}))
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.True(t, seen.Open)
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: func(*Grant) bool { return true }, Send: p.send})
	require.NoError(t, err)
	require.Equal(t, "r1", got.RefreshToken.Reveal())
	require.Greater(t, got.Generation, g.Generation)

	t.Run("a dial failure in it leaves it open", func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1, Open: &Operation{Kind: opRefresh, Generation: g.Generation + 1, Hash: g.hash()}}))
		p.answer = func(int, string) error { return &SendError{Failure: NotSent, Err: errors.New("dial")} }
		for range 2 {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: func(*Grant) bool { return true }, Send: p.send})
			require.Error(t, err)
			rec, _, err := k.read(t.Context(), key)
			require.NoError(t, err)
			require.True(t, rec.names(g))
		}
	})
}

// 4b: a save that landed before its process died is adopted, not repeated.
func TestLanded(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	next, err := p.send(t.Context(), g)
	require.NoError(t, err)
	next.Generation = g.Generation + 1
	data, err := next.encode()
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), key, data))
	require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1, Open: &Operation{Kind: opRefresh, Generation: g.Generation + 1, Hash: g.hash()}}))
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	require.Equal(t, "r1", got.RefreshToken.Reveal())
	require.Len(t, p.sent, 1)
}

// S61: invalid_grant marks that token dead and deletes nothing; a sibling's newer one is used.
func TestS61InvalidGrant(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	p.dead = true
	for range 3 {
		_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.ErrorIs(t, err, ErrDead)
	}
	require.Len(t, p.sent, 1, "a dead token is not sent again")
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.True(t, seen.Dead)
	require.Equal(t, g, seen.Grant)

	// A new sign-in ends the mark.
	q := &provider{}
	_, err = k.Save(t.Context(), key, signedIn(q), anyone, func() {})
	require.NoError(t, err)
	seen, err = k.Read(t.Context(), key)
	require.NoError(t, err)
	require.False(t, seen.Dead)

	t.Run("a sibling was first", func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		p.answer = func(n int, _ string) error {
			if n > 1 {
				return nil
			}
			other := *g
			other.Generation, other.RefreshToken, other.Tokens = g.Generation+7, wire.NewSecret("r0"), []Token{token2("other", time.Hour)}
			data, err := other.encode()
			require.NoError(t, err)
			require.NoError(t, store.Put(t.Context(), key, data))
			return &SendError{Failure: Dead, Err: errors.New("invalid_grant")}
		}
		got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.NoError(t, err)
		require.Equal(t, "other", got.Tokens[0].AccessToken.Reveal())
	})
}

// 12: after a logout nobody adopts or sends the session, and a later sign-in stands.
func TestLogout(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	var revoked []string
	k.Revoke = func(_ context.Context, g *Grant) error {
		revoked = append(revoked, g.RefreshToken.Reveal())
		return errors.New("offline")
	}
	notRevoked, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
	require.NoError(t, err)
	require.ErrorContains(t, notRevoked, "offline")
	require.Equal(t, []string{"r0"}, revoked)
	_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(0), Send: p.send})
	require.ErrorIs(t, err, ErrAbsent)
	require.Empty(t, p.sent)

	// A write of the old session that lands late stays gone.
	data, err := g.encode()
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), key, data))
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.Nil(t, seen.Grant)

	again, err := k.Save(t.Context(), key, signedIn(p), anyone, func() {})
	require.NoError(t, err)
	require.Greater(t, again.Generation, g.Generation)
	seen, err = k.Read(t.Context(), key)
	require.NoError(t, err)
	require.NotNil(t, seen.Grant)

	t.Run("again, by the user", func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1, Tombstone: g.Generation + 1, Open: &Operation{Kind: opLogout, Generation: g.Generation + 1}}))
		k.Revoke = func(_ context.Context, g *Grant) error { return errors.New("offline") }
		notRevoked, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
		require.NoError(t, err)
		require.ErrorContains(t, notRevoked, "offline")
	})
	t.Run("a process that died in it", func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1, Tombstone: g.Generation + 1, Open: &Operation{Kind: opLogout, Generation: g.Generation + 1}}))
		revoked = nil
		k.Revoke = func(_ context.Context, g *Grant) error {
			revoked = append(revoked, g.RefreshToken.Reveal())
			return nil
		}
		_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(0), Send: p.send})
		require.ErrorIs(t, err, ErrAbsent)
		require.Equal(t, []string{g.RefreshToken.Reveal()}, revoked)
		_, err = store.Get(t.Context(), key)
		require.ErrorIs(t, err, tokenstore.ErrNotFound)
	})
}

// S82: a refreshed ID token that fails a check which says nothing about the user is
// dropped, and the rest of the answer is used. One that is about another user ends
// the session. One that cannot be checked yet waits.
func TestS82Rejected(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	p.idToken = func(n int) string { return fmt.Sprintf("id%d", n) }
	k.Verify = func(_ context.Context, g *Grant) error { return fmt.Errorf("%w: sub", ErrRejected) }
	_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	_, stored, err := k.read(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "r1", stored.RefreshToken.Reveal())
	require.Equal(t, "id0", stored.IDToken.Reveal(), "the earlier one is kept")
	require.False(t, stored.Pending())

	k.Verify = func(context.Context, *Grant) error { return errors.New("network") }
	_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(stored.Generation), Send: p.send})
	require.ErrorContains(t, err, "network")
	require.Len(t, p.sent, 2)
	fresh := newKeeper(store)
	got, err := fresh.Refresh(t.Context(), Attempt{Key: key, Serves: newer(stored.Generation), Send: p.send})
	require.NoError(t, err)
	require.Len(t, p.sent, 2, "what was saved is checked, not refreshed again")
	require.Equal(t, "id2", got.IDToken.Reveal())
	require.False(t, got.Pending())

	k.Verify = func(context.Context, *Grant) error { return fmt.Errorf("%w: sub", ErrMismatch) }
	_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(got.Generation), Send: p.send})
	require.ErrorIs(t, err, ErrMismatch)
	_, stored, err = k.read(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "r3", stored.RefreshToken.Reveal(), "the rotated refresh token is kept")
	_, err = newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(0), Send: p.send})
	require.ErrorIs(t, err, ErrDead)
	require.Len(t, p.sent, 3, "nothing is sent for a session that has ended")
}

// S59: a rotated refresh token is kept even where the rest of the answer is refused.
func TestS59RotatedInARefusedAnswer(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	bad := errors.New("token_type is missing")
	_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: func(ctx context.Context, g *Grant) (*Grant, error) {
		next, err := p.send(ctx, g)
		require.NoError(t, err)
		next.Tokens = g.Tokens
		return next, &SendError{Err: bad}
	}})
	require.ErrorIs(t, err, bad)
	require.Len(t, p.sent, 1)
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: func(*Grant) bool { return false }, Send: p.send})
	require.NoError(t, err)
	require.Equal(t, []string{"r0", "r1"}, p.sent)
	require.Equal(t, "r2", got.RefreshToken.Reveal())
}

// faulty is a store with a Put that fails on command.
type faulty struct {
	tokenstore.Memory
	mu  sync.Mutex
	put func(data []byte) error
}

func (f *faulty) Put(ctx context.Context, key string, data []byte) error {
	f.mu.Lock()
	put := f.put
	f.mu.Unlock()
	if put != nil {
		if err := put(data); err != nil {
			return err
		}
	}
	return f.Memory.Put(ctx, key, data)
}

func (f *faulty) fail(put func([]byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = put
}

// 9: while the store fails, the new token is not published, the lock is kept, and the old token is not sent again.
func TestStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &faulty{}, &provider{}
		k, g := start(t, store, p)
		store.fail(func([]byte) error { return errors.New("disk full") })
		ctx, cancel := context.WithCancel(t.Context())
		stalled := make(chan error, 100)
		done := make(chan error)
		go func() {
			_, err := k.Refresh(ctx, Attempt{Key: key, Serves: newer(g.Generation), Send: p.send, Stalled: func(err error) { stalled <- err }})
			done <- err
		}()
		require.ErrorContains(t, <-stalled, "disk full")
		sibling := newKeeper(store)
		_, err := sibling.Refresh(t.Context(), Attempt{Key: key, Early: true, Serves: newer(g.Generation), Send: p.send})
		require.ErrorIs(t, err, ErrBusy)
		require.Len(t, p.sent, 1)
		store.fail(nil)
		require.NoError(t, <-done)
		got, err := sibling.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.NoError(t, err)
		require.Equal(t, "r1", got.RefreshToken.Reveal())

		// Given up alive: the next holder knows.
		store.fail(func([]byte) error { return errors.New("disk full") })
		go func() {
			_, err := k.Refresh(ctx, Attempt{Key: key, Serves: newer(got.Generation), Send: p.send})
			done <- err
		}()
		time.Sleep(time.Second)
		cancel()
		require.ErrorContains(t, <-done, "disk full")
		rec, stored, err := k.read(t.Context(), key)
		require.NoError(t, err)
		require.True(t, rec.names(stored))
	})
}

// 9: a Put that was given up on holds the lock until it has returned, and counts if it landed.
func TestLatePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &faulty{}, &provider{}
		k, g := start(t, store, p)
		landed := make(chan struct{})
		store.fail(func(data []byte) error {
			go func() {
				time.Sleep(time.Minute)
				store.fail(nil)
				_ = store.Memory.Put(context.Background(), key, data)
				close(landed)
			}()
			return &tokenstore.Pending{Err: tokenstore.ErrUnavailable, Done: landed}
		})
		done := make(chan error)
		go func() {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			done <- err
		}()
		synctest.Wait()
		_, err := newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.ErrorIs(t, err, ErrBusy, "a sibling waits for its deadline, and never refreshes without the lock")
		require.NoError(t, <-done)
		require.Len(t, p.sent, 1)
	})
}

// The record tells nothing any more: no session is lost by that.
func TestRecordLost(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	require.NoError(t, store.WriteJournal(t.Context(), key, []byte("torn{")))
	got, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	require.Greater(t, got.Generation, g.Generation)
	rows, err := k.Rows(t.Context(), issuer, client)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.NoError(t, store.WriteJournal(t.Context(), key, nil))
	rows, err = k.Rows(t.Context(), issuer, client)
	require.NoError(t, err)
	require.Len(t, rows, 1, "the value decides where the row is lost")
}

func TestFormats(t *testing.T) {
	store := &tokenstore.Memory{}
	k := newKeeper(store)
	for name, tc := range map[string]struct {
		data string
		want error
	}{
		"newer": {`{"v":2,"something":"else"}`, ErrNewerFormat},
		"torn":  {`{"v":1,"gen":`, nil},
		"alien": {`hello`, nil},
		"empty": {``, nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, store.Put(t.Context(), key, []byte(tc.data)))
			seen, err := k.Read(t.Context(), key)
			require.ErrorIs(t, err, tc.want)
			require.Nil(t, seen.Grant)
			if tc.want != nil {
				_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(0)})
				require.ErrorIs(t, err, tc.want)
				_, err = k.Save(t.Context(), key, signedIn(&provider{}), anyone, func() {})
				require.ErrorIs(t, err, tc.want)
				data, err := store.Get(t.Context(), key)
				require.NoError(t, err)
				require.Equal(t, tc.data, string(data), "a newer format is not destroyed")
			}
			notRevoked, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
			require.NoError(t, err)
			require.ErrorIs(t, notRevoked, ErrUnreadable)
			_, err = store.Get(t.Context(), key)
			require.ErrorIs(t, err, tokenstore.ErrNotFound)
		})
	}
}

// A value that nobody can open means "sign in again"; one that another key opens is not given up for lost.
func TestDamagedIsNotForEver(t *testing.T) {
	inner := &tokenstore.Memory{}
	one, err := tokenstore.ParseKey(strings.Repeat("01", 32))
	require.NoError(t, err)
	other, err := tokenstore.ParseKey(strings.Repeat("02", 32))
	require.NoError(t, err)
	store, p := tokenstore.Seal(inner, one), &provider{}
	k, _ := start(t, store, p)
	_, err = newKeeper(tokenstore.Seal(inner, other)).Read(t.Context(), key)
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	_, err = newKeeper(tokenstore.Seal(inner, other)).Save(t.Context(), key, signedIn(p), anyone, func() {})
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)

	sealed, err := inner.Get(t.Context(), key)
	require.NoError(t, err)
	sealed[len(sealed)-1] ^= 1
	require.NoError(t, inner.Put(t.Context(), key, sealed))
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.Nil(t, seen.Grant)
	_, err = k.Save(t.Context(), key, signedIn(p), anyone, func() {})
	require.NoError(t, err)
	seen, err = k.Read(t.Context(), key)
	require.NoError(t, err)
	require.NotNil(t, seen.Grant)
}

// S34: a value under another's key is not read as that session.
func TestS34SwappedValue(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, _ := start(t, store, p)
	data, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	other := Key(issuer, "other-client", "")
	require.NoError(t, store.Put(t.Context(), other, data))
	seen, err := k.Read(t.Context(), other)
	require.NoError(t, err)
	require.Nil(t, seen.Grant)
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][3]string{{"a", "b", "c"}, {"a", "bc", ""}, {"ab", "c", ""}, {"a", "b", "C"}, {"a", "", "bc"}, {"", "ab", "c"}} {
		k := Key(parts[0], parts[1], parts[2])
		require.NoError(t, tokenstore.CheckKey(k+loginSuffix+journalSuffix))
		require.False(t, seen[k])
		seen[k] = true
	}
}

func TestFailureIsAdoptedOnlyIfLater(t *testing.T) {
	k := newKeeper(&tokenstore.Memory{})
	before := time.Now()
	require.Nil(t, k.Failure(t.Context(), key, before))
	const tick = 20 * time.Millisecond // of the coarsest clock, which is Windows'
	time.Sleep(tick)
	k.LeaveFailure(t.Context(), key, []byte(`{"kind":"access_denied"}`))
	require.JSONEq(t, `{"kind":"access_denied"}`, string(k.Failure(t.Context(), key, before)))
	time.Sleep(tick)
	require.Nil(t, k.Failure(t.Context(), key, time.Now()))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"gen":3,"realm":"i","party":"c","issuer":"i","client_id":"c","tokens":[{"access_token":"a","type":"Bearer","obtained":1,"expiry":2}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := decode(data)
		if err != nil {
			require.Nil(t, g)
			return
		}
		again, err := g.encode()
		require.NoError(t, err)
		h, err := decode(again)
		require.NoError(t, err)
		require.Equal(t, g.hash(), h.hash())
		require.Equal(t, len(g.Tokens), len(h.Tokens))
	})
}

// A journal of a later format is not mistaken for a damaged one, which would be
// replaced. Other types in it are no damage.
func TestJournalOfALaterFormat(t *testing.T) {
	for data, want := range map[string]error{
		`{"v":2,"newest":"x"}`: ErrNewerFormat, `{"v":2,"newest":5,"open":{"kind":7}}`: ErrNewerFormat, `{"v":2}`: ErrNewerFormat,
		`{"v":1,"newest":"x"}`: nil, `{"v":2,"newest":`: nil, `{"v":"2"}`: nil, "{\"v\":1,\"newest\":5,\"\xf4ombstone\":5}": nil, "": nil,
	} {
		j, err := parseJournal([]byte(data))
		require.Equal(t, want, err, data)
		require.Equal(t, Journal{}, j, data)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"newest":3,"open":{"kind":"refresh","gen":3,"hash":"x","at":1},"tombstone":0,"not_before":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		store := &tokenstore.Memory{}
		require.NoError(t, store.WriteJournal(t.Context(), key, data))
		k := newKeeper(store)
		_, err := k.readJournal(t.Context(), key)
		if err != nil {
			require.ErrorIs(t, err, ErrNewerFormat)
		}
	})
}

// S82: what a check without the lock would find out is lost, so the check is made
// once, under the lock, and everybody knows how it ended.
func TestS82CheckIsMadeOnce(t *testing.T) {
	pending := func(t *testing.T) (*Keeper, *provider, *Grant) {
		p := &provider{idToken: func(n int) string { return fmt.Sprintf("id%d", n) }}
		k, g := start(t, &tokenstore.Memory{}, p)
		k.Verify = func(context.Context, *Grant) error { return errors.New("no keys") }
		_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.ErrorContains(t, err, "no keys")
		return k, p, g
	}
	for name, row := range map[string]struct {
		verdict error
		want    error
	}{
		"passed":       {nil, nil},
		"rejected":     {ErrRejected, nil},
		"another user": {ErrMismatch, ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			k, p, g := pending(t)
			checks := 0
			k.Verify = func(context.Context, *Grant) error {
				if checks++; checks > 1 {
					return errors.New("no keys")
				}
				return row.verdict
			}
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			require.ErrorIs(t, err, row.want)
			_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			if row.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrDead)
			}
			require.Len(t, p.sent, 1)
			require.Equal(t, 1, checks)
		})
	}
}

// S82: an ID token that none of the provider's keys verifies is checked again for a
// minute, and then refreshed once. Its tokens are not handed out meanwhile. If that
// refresh brings no better one, the session has ended.
func TestS82UnsignedIsRefreshedOnce(t *testing.T) {
	for name, second := range map[string]error{"a good one follows": nil, "another follows": ErrUnsigned} {
		synctest.Test(t, func(t *testing.T) {
			store, p := &tokenstore.Memory{}, &provider{idToken: func(n int) string { return fmt.Sprintf("id%d", n) }}
			k, g := start(t, store, p)
			refresh := func() (*Grant, error) {
				return k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			}
			k.Verify = func(_ context.Context, g *Grant) error {
				if g.NewIDToken.Reveal() == "id1" {
					return ErrUnsigned
				}
				return second
			}
			for range 6 {
				_, err := refresh()
				require.ErrorIs(t, err, ErrUnsigned, name)
				require.NotErrorIs(t, err, ErrMismatch, "the provider may have changed its keys a moment ago")
				require.Len(t, p.sent, 1)
				time.Sleep(unsignedWait / 6)
			}
			got, err := refresh()
			require.Len(t, p.sent, 2)
			if second == nil {
				require.NoError(t, err)
				require.Equal(t, "id2", got.IDToken.Reveal())
				return
			}
			require.ErrorIs(t, err, ErrMismatch)
			_, err = refresh()
			require.ErrorIs(t, err, ErrDead)
			require.Len(t, p.sent, 2, "nothing is sent for a session that has ended")
			_, err = k.Save(t.Context(), key, again("login"), anyone, func() {})
			require.NoError(t, err)
			p.dead, p.current = false, "login"
			_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: func(*Grant) bool { return false }, Send: p.send})
			require.NotErrorIs(t, err, ErrMismatch, "a login forgets it")
		})
	}
}

// S82: what the journal says of an ID token and what a caller is told are the same,
// and a session that has ended is not refreshed, also if the keys were away when the
// second token came.
func TestS82EndIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{idToken: func(n int) string { return fmt.Sprintf("forged%d", n) }}
		k, g := start(t, &tokenstore.Memory{}, p)
		k.Verify = func(context.Context, *Grant) error { return ErrUnsigned }
		refresh := func() error {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
			return err
		}
		require.ErrorIs(t, refresh(), ErrUnsigned)
		time.Sleep(unsignedWait)
		k.Verify = func(_ context.Context, g *Grant) error {
			if g.NewIDToken.Reveal() == "forged2" {
				return errors.New("no keys")
			}
			return ErrUnsigned
		}
		require.ErrorContains(t, refresh(), "no keys")
		require.Len(t, p.sent, 2)
		k.Verify = func(context.Context, *Grant) error { return ErrUnsigned }
		require.ErrorIs(t, refresh(), ErrMismatch)
		require.Len(t, p.sent, 2)
	})
}

// S82: a refresh for something else, and one without an ID token, say nothing about
// an ID token that waits for its key.
func TestS82OneUnsignedTokenIsNotTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{idToken: func(int) string { return "good, and its key is not published yet" }}
		k, g := start(t, &tokenstore.Memory{}, p)
		k.Verify = func(context.Context, *Grant) error { return ErrUnsigned }
		refresh := func(serves func(*Grant) bool) error {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: serves, Send: p.send})
			return err
		}
		require.ErrorIs(t, refresh(newer(g.Generation)), ErrUnsigned)
		p.idToken = nil // the waiting one is carried on, as Grant.Refreshed does
		require.ErrorIs(t, refresh(func(*Grant) bool { return false }), ErrUnsigned)
		require.Len(t, p.sent, 2)
		k.Verify = func(context.Context, *Grant) error { return nil }
		require.NoError(t, refresh(newer(g.Generation)))
	})
}

// S82: a refresh that brings no ID token does not drop one that was not checked yet.
func TestS82UncheckedStaysUnchecked(t *testing.T) {
	s := &Slot{}
	g := &Grant{IDToken: wire.NewSecret("old"), NewIDToken: wire.NewSecret("unchecked"), Tokens: []Token{{New: true}}}
	none := g.Refreshed(s, &oauth.TokenResponse{}, Token{})
	require.Equal(t, "unchecked", none.NewIDToken.Reveal())
	require.False(t, none.Tokens[0].New, "its at_hash is of another token")
	another := g.Refreshed(s, &oauth.TokenResponse{IDToken: wire.NewSecret("new")}, Token{})
	require.Equal(t, "new", another.NewIDToken.Reveal())
	require.True(t, another.Tokens[0].New)
}
