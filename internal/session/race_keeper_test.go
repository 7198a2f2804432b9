package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// again is a sign-in of the same person whose refresh token is its own family's.
func again(name string) *Grant {
	return &Grant{Realm: issuer, Party: client, Issuer: issuer, ClientID: client, Subject: "alice", RefreshToken: wire.NewSecret(name), Tokens: []Token{token2("a"+name, time.Hour)}}
}

// A refresh is held at its answer while a login completes: the login waits for it, comes after it and stands.
func TestLoginDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		hold, done := make(chan struct{}), make(chan error)
		go func() {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: func(ctx context.Context, g *Grant) (*Grant, error) {
				next, err := p.send(ctx, g)
				<-hold
				return next, err
			}})
			done <- err
		}()
		synctest.Wait()
		saved := make(chan *Grant)
		go func() {
			g, err := newKeeper(store).Save(t.Context(), key, again("login"), anyone, func() {})
			if err != nil {
				t.Error(err)
			}
			saved <- g
		}()
		synctest.Wait()
		close(hold)
		require.NoError(t, <-done)
		login := <-saved
		seen, err := k.Read(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, login, seen.Grant)
		require.False(t, seen.Open)
		require.Equal(t, []string{"r0"}, p.sent)
	})
}

// A logout is held between the revocation and the deletion while a login completes: the deletion is not the new session's.
func TestLoginDuringLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, _ := start(t, store, p)
		hold, done := make(chan struct{}), make(chan error)
		k.Revoke = func(context.Context, *Grant) error { <-hold; return nil }
		go func() {
			_, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
			done <- err
		}()
		synctest.Wait()
		seen, err := newKeeper(store).Read(t.Context(), key)
		require.NoError(t, err)
		require.Nil(t, seen.Grant, "from the tombstone on it is gone")
		saved := make(chan *Grant)
		go func() {
			g, err := newKeeper(store).Save(t.Context(), key, again("login"), anyone, func() {})
			if err != nil {
				t.Error(err)
			}
			saved <- g
		}()
		synctest.Wait()
		close(hold)
		require.NoError(t, <-done)
		login := <-saved
		seen, err = k.Read(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, login, seen.Grant)
	})
}

// hanging is a keychain with a Put or Delete that hangs, and happens in the end or never does.
type hanging struct {
	tokenstore.Memory
	mu   sync.Mutex
	hang bool
	land chan bool // whether the call that hangs takes effect
}

func (h *hanging) call(do func() error) error {
	h.mu.Lock()
	hang := h.hang
	h.hang = false
	h.mu.Unlock()
	if !hang {
		return do()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if <-h.land {
			_ = do()
		}
	}()
	return &tokenstore.Pending{Err: tokenstore.ErrUnavailable, Done: done}
}

func (h *hanging) Put(_ context.Context, key string, data []byte) error {
	return h.call(func() error { return h.Memory.Put(context.Background(), key, data) })
}

func (h *hanging) Delete(_ context.Context, key string) error {
	return h.call(func() error { return h.Memory.Delete(context.Background(), key) })
}

// A keychain that hangs holds nobody past their deadline; the lock stays held until the call has returned, so that what lands late lands
// in nobody's session.
func TestHangingStore(t *testing.T) {
	for _, lands := range []bool{true, false} {
		for _, what := range []string{"login", "logout"} {
			t.Run(fmt.Sprint(what, "/lands=", lands), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, p := &hanging{land: make(chan bool)}, &provider{}
					k, g := start(t, store, p)
					var revoked []string
					k.Revoke = func(_ context.Context, g *Grant) error {
						revoked = append(revoked, g.RefreshToken.Reveal())
						return nil
					}
					store.hang = true
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					began := time.Now()
					var err error
					if what == "login" {
						discard := func() { revoked = append(revoked, "login") }
						_, err = k.Save(ctx, key, again("login"), anyone, discard)
					} else {
						_, err = k.Logout(ctx, ctx, key, func(uint64) {})
					}
					require.ErrorIs(t, err, tokenstore.ErrUnavailable)
					var pending *tokenstore.Pending
					require.ErrorAs(t, err, &pending)
					require.Equal(t, 3*time.Second, time.Since(began))

					// A sibling that needs the lock waits for its own deadline, and sends nothing.
					_, err = newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
					if what == "login" {
						require.ErrorIs(t, err, ErrBusy)
					} else {
						require.Error(t, err)
					}
					require.Empty(t, p.sent)

					store.land <- lands
					synctest.Wait()
					seen, err := k.Read(t.Context(), key)
					require.NoError(t, err)
					require.False(t, seen.Open)
					switch {
					case what == "logout":
						require.Nil(t, seen.Grant)
						_, err = newKeeper(store).Save(t.Context(), key, again("next"), anyone, func() {})
						require.NoError(t, err)
						seen, err = k.Read(t.Context(), key)
						require.NoError(t, err)
						require.Equal(t, "next", seen.Grant.RefreshToken.Reveal())
						_, err = store.Get(t.Context(), key)
						require.NoError(t, err)
					case lands:
						require.Equal(t, "login", seen.Grant.RefreshToken.Reveal(), "it was stored after all")
						require.Empty(t, revoked)
					default:
						require.Equal(t, "r0", seen.Grant.RefreshToken.Reveal())
						require.Equal(t, []string{"login"}, revoked, "what could not be stored is revoked")
					}
				})
			})
		}
	}
}

// forgetful loses the record at one of its calls.
type forgetful struct {
	tokenstore.Memory
	at, calls int
	lost      bool
}

func (f *forgetful) step() {
	if f.calls++; f.calls == f.at {
		f.lost = true
	}
}

func (f *forgetful) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	f.step()
	if f.lost {
		return nil, tokenstore.ErrNotFound
	}
	return f.Memory.ReadJournal(ctx, key)
}

func (f *forgetful) WriteJournal(ctx context.Context, key string, data []byte) error {
	f.step()
	f.lost = false
	return f.Memory.WriteJournal(ctx, key, data)
}

func (f *forgetful) Get(ctx context.Context, key string) ([]byte, error) {
	f.step()
	return f.Memory.Get(ctx, key)
}

func (f *forgetful) Put(ctx context.Context, key string, data []byte) error {
	f.step()
	return f.Memory.Put(ctx, key, data)
}

func (f *forgetful) Delete(ctx context.Context, key string) error {
	f.step()
	return f.Memory.Delete(ctx, key)
}

// The record file is removed at each step of a session's life: nothing is sent twice, nothing comes back, and a later generation is higher than
// what a process may still have in memory.
func TestRecordRemovedAtEachStep(t *testing.T) {
	for at, all := 1, false; !all; at++ {
		synctest.Test(t, func(t *testing.T) { all = recordRemoved(t, at) })
	}
}

// recordRemoved removes the record at the given call, and reports whether there were fewer.
func recordRemoved(t *testing.T, at int) bool {
	store, p := &forgetful{at: at}, &provider{}
	k, g := start(t, store, p)
	newest := g.Generation
	refresh := func() {
		time.Sleep(time.Second)
		got, err := newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(newest), Send: p.send})
		require.NoError(t, err, "at %d", at)
		require.Greater(t, got.Generation, newest, "at %d", at)
		newest = got.Generation
	}
	refresh()
	refresh()
	time.Sleep(time.Second)
	_, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
	require.NoError(t, err)
	_, err = k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(0), Send: p.send})
	require.ErrorIs(t, err, ErrAbsent, "at %d", at)
	p.current = "next"
	time.Sleep(time.Second)
	got, err := newKeeper(store).Save(t.Context(), key, again("next"), anyone, func() {})
	require.NoError(t, err)
	require.Greater(t, got.Generation, newest, "at %d", at)
	newest = got.Generation
	refresh()
	seen := map[string]bool{}
	for _, token := range p.sent {
		require.False(t, seen[token], "at %d: %s was sent twice", at, token)
		seen[token] = true
	}
	require.False(t, p.dead)
	return store.calls < at
}

// A login after a refresh that was left open, and that fails: the next process knows of the refresh all the same.
func TestFailedLoginKeepsTheOpenRefresh(t *testing.T) {
	store, p := &faulty{}, &provider{}
	k, g := start(t, store, p)
	require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: 2, Open: &Operation{Kind: opRefresh, Generation: 2, Hash: g.hash()}}))
	store.fail(func([]byte) error { return errors.New("disk full") })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := k.Save(ctx, key, again("login"), anyone, func() {})
	require.ErrorContains(t, err, "disk full")
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.True(t, seen.Open)
}
