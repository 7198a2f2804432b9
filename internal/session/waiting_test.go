package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A process that waits for the lock takes what its holder stored while the lock is still held: to go through the lock one after the other for what is
// there already would keep the last of many waiting.
func TestWaitersAdoptWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)
		got := make(chan *Grant)
		for range 20 {
			waiter := newKeeper(store)
			go func() {
				adopted, err := waiter.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
				if err != nil {
					t.Error(err)
				}
				got <- adopted
			}()
		}
		synctest.Wait()
		next, err := k.refreshLocked(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}, false) // by the lock's holder
		require.NoError(t, err)
		for range 20 {
			require.Equal(t, next, <-got)
		}
		require.Equal(t, []string{"r0"}, p.sent)
		require.NoError(t, release())
	})
}

// What is watched is not believed while its operation is open, nor without a look at the value: a refresh that failed, a logout.
func TestWaitersAdoptNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		k.LockWait = time.Minute
		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)
		done := make(chan error)
		go func() {
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
			done <- err
		}()
		failing := func(context.Context, *Grant) (*Grant, error) {
			return nil, &SendError{Failure: Unknown, Err: errors.New("reset")}
		}
		_, err = k.refreshLocked(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: failing}, false)
		require.Error(t, err)
		time.Sleep(time.Second)
		_, err = k.logoutLocked(t.Context(), t.Context(), key, func(uint64) {}, nil)
		require.NoError(t, err)
		time.Sleep(time.Second)
		select {
		case err := <-done:
			t.Fatalf("it did not wait for the lock: %v", err)
		default:
		}
		require.NoError(t, release())
		require.ErrorIs(t, <-done, ErrAbsent)
		require.Empty(t, p.sent)
	})
}

// counting counts the values that are read.
type counting struct {
	tokenstore.Memory
	mu   sync.Mutex
	gets int
}

func (c *counting) Get(ctx context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	c.gets++
	c.mu.Unlock()
	return c.Memory.Get(ctx, key)
}

// A grant that the record says is unchanged is read once, under the lock: a keychain answers one process after the other.
func TestKnownIsNotReadAgain(t *testing.T) {
	store, p := &counting{}, &provider{}
	k, g := start(t, store, p)
	store.gets = 0
	_, err := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	require.Equal(t, 1, store.gets)

	// Without the record nothing says so.
	require.NoError(t, store.Memory.WriteJournal(t.Context(), key, []byte(`{"v":1,"newest":0,"tombstone":0,"not_before":0}`)))
	store.gets = 0
	adopted, err := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	require.Greater(t, adopted.Generation, g.Generation)
	require.Equal(t, 1, store.gets)
	require.Len(t, p.sent, 1, "what was stored is adopted")
}

// A refresh that certainly stored nothing leaves nothing that a sibling would look for again and again.
func TestStaleAfterAFailure(t *testing.T) {
	for name, row := range map[string]struct {
		outcome SendFailure
		open    bool
	}{"not sent": {NotSent, false}, "doubtful": {Doubtful, false}, "refused": {Refused, false}, "paused": {Paused, false}, "dead": {Dead, false}, "unknown": {Unknown, true}} {
		t.Run(name, func(t *testing.T) {
			store, p := &tokenstore.Memory{}, &provider{}
			k, g := start(t, store, p)
			failing := func(context.Context, *Grant) (*Grant, error) {
				return nil, &SendError{Failure: row.outcome, Err: errors.New("no")}
			}
			_, err := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: failing})
			require.Error(t, err)
			stale, open, err := k.Stale(t.Context(), key, g)
			require.NoError(t, err)
			require.Equal(t, row.outcome == Dead, stale, "a session that has ended is worth another read")
			require.Equal(t, row.open, open)
		})
	}
}

// A process that knows the grant from before a whole refresh hears of the next one that has not ended, though it is not about the refresh token that it knows.
func TestStaleTwoGenerationsBehind(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	next, err := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
	require.NoError(t, err)
	rec, err := k.readJournal(t.Context(), key)
	require.NoError(t, err)
	for _, row := range []struct {
		kind, hash string
		stale      bool
	}{{opRefresh, next.hash(), true}, {opLogin, next.hash(), true}, {opLogin, "", false}} {
		rec.Open = &Operation{Kind: row.kind, Generation: rec.allot(next), Hash: row.hash}
		require.NoError(t, k.writeJournal(t.Context(), key, rec))
		stale, open, err := k.Stale(t.Context(), key, g)
		require.NoError(t, err)
		require.Equal(t, row.stale, stale, "%+v", row)
		require.False(t, open)
		stale, open, err = k.Stale(t.Context(), key, next)
		require.NoError(t, err)
		require.False(t, stale)
		require.Equal(t, row.hash != "", open)
	}
}

// stopped is a store whose Get, once it is stopped, answers only when ctx ends.
type stopped struct {
	tokenstore.Memory
	stop atomic.Bool
}

func (s *stopped) Get(ctx context.Context, key string) ([]byte, error) {
	if s.stop.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Memory.Get(ctx, key)
}

// A store that does not answer the watcher holds nobody past the end of the client.
func TestWatchEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &stopped{}, &provider{}
		k, g := start(t, store, p)
		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)
		life, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := k.Refresh(life, Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
			done <- err
		}()
		synctest.Wait()
		store.stop.Store(true)
		require.NoError(t, k.writeJournal(t.Context(), key, Journal{Newest: g.Generation + 1}))
		time.Sleep(time.Second) // it is in Get by now
		end()
		require.ErrorIs(t, <-done, context.Canceled)
		require.NoError(t, release())
	})
}

// A refresh whose tokens could not be stored for a while has stored them, and is about
// to end. A caller that wants the next tokens waits for that end, and is not told that
// the store fails.
func TestAStallThatIsOverIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &faulty{}, &provider{}
		start(t, store, p)
		as := newAccounts(t, store)
		as.Send = func(ctx context.Context, g *Grant, _ *Slot) (*Grant, error) { return p.send(ctx, g) }
		stored := make(chan struct{})
		as.Settled = func(*Grant) { <-stored }
		a := as.Account("", key)
		require.NoError(t, a.Load(t.Context()))
		s := a.Slot("", nil)
		before := s.Cached()
		store.fail(func([]byte) error { return errors.New("disk full") })
		require.ErrorContains(t, a.Refresh(t.Context(), s, before.Generation), "disk full")
		store.fail(nil)
		time.Sleep(time.Minute)
		now, err := a.Token(t.Context(), s)
		require.NoError(t, err)
		require.Greater(t, now.Generation, before.Generation)
		joined := make(chan error)
		go func() { joined <- a.Refresh(t.Context(), s, now.Generation) }()
		synctest.Wait()
		close(stored)
		require.NoError(t, <-joined)
		require.Equal(t, []string{"r0", "r1"}, p.sent)
	})
}
