package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A lock that is free is taken at once, and what a waiter adopts is returned at
// once: nobody sits out the time that the lock may take.
func TestNobodyWaitsForTheDeadlineOfTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		begun := time.Now()
		a := Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send}
		first, err := k.Refresh(t.Context(), a)
		require.NoError(t, err)
		require.Less(t, time.Since(begun), pollEvery*2)

		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)
		a.Known, a.Serves = first, newer(first.Generation)
		got := make(chan *Grant)
		go func() {
			adopted, _ := newKeeper(store).Refresh(t.Context(), a)
			got <- adopted
		}()
		synctest.Wait()
		begun = time.Now()
		next, err := k.refreshLocked(t.Context(), a, false)
		require.NoError(t, err)
		require.Equal(t, next, <-got)
		require.LessOrEqual(t, time.Since(begun), pollEvery*2)
		require.NoError(t, release())
	})
}

// The wait for the lock ends with Starting, and the caller gets its cause.
func TestStartingBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)
		enough := errors.New("the caller has had enough")
		starting, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		begun := time.Now()
		_, err = k.Refresh(t.Context(), Attempt{
			Key: key, Known: g, Serves: newer(g.Generation), Send: p.send, Starting: starting,
		})
		require.Error(t, err)
		require.Equal(t, time.Second, time.Since(begun))
		require.Empty(t, p.sent)
		require.NoError(t, release())
	})
}

// At the deadline of the lock the stored grant is looked at once more. The watcher
// passes it by while the journal has an open operation, such as a login that waits
// for its user.
func TestTheDeadlineLooksOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		next, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send})
		require.NoError(t, err)
		j, err := k.readJournal(t.Context(), key)
		require.NoError(t, err)
		_, release, err := store.Lock(t.Context(), key)
		require.NoError(t, err)

		// What is stored does not serve yet when the wait begins.
		var serves atomic.Bool
		got := make(chan *Grant)
		go func() {
			adopted, err := k.Refresh(t.Context(), Attempt{
				Key: key, Known: next, Serves: func(*Grant) bool { return serves.Load() }, Send: p.send,
			})
			if err != nil {
				t.Error(err)
			}
			got <- adopted
		}()
		synctest.Wait()
		serves.Store(true)
		j.Open = &Operation{Kind: opLogin, Generation: j.allot(next)}
		require.NoError(t, k.writeJournal(t.Context(), key, j))
		require.Equal(t, next, <-got)
		require.NoError(t, release())

		// If nothing serves even then, the lock is busy.
		_, release, err = store.Lock(t.Context(), key)
		require.NoError(t, err)
		_, err = k.Refresh(t.Context(), Attempt{Key: key, Known: next, Serves: newer(next.Generation), Send: p.send})
		require.ErrorIs(t, err, ErrBusy)
		require.NoError(t, release())
	})
}

// tardy is a store whose lock is given only when nobody waits for it any more.
type tardy struct {
	tokenstore.Memory
	late bool
}

func (s *tardy) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	if s.late {
		<-ctx.Done()
		ctx = context.WithoutCancel(ctx)
	}
	return s.Memory.Lock(ctx, key)
}

// A lock that comes together with a grant to adopt is given back.
func TestALateLockIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tardy{}, &provider{}
		k, g := start(t, store, p)
		store.late = true
		got := make(chan *Grant)
		go func() {
			adopted, _ := k.Refresh(t.Context(), Attempt{Key: key, Known: g, Serves: newer(g.Generation), Send: p.send})
			got <- adopted
		}()
		synctest.Wait()
		next, err := newKeeper(store).refreshLocked(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}, false)
		require.NoError(t, err)
		require.Equal(t, next, <-got)
		store.late = false
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, release, err := store.Lock(ctx, key)
		require.NoError(t, err, "the lock was kept")
		require.NoError(t, release())
	})
}

// The provider's grace began when the refresh token was sent first. A recovery does
// not begin it anew; a journal of before, which does not tell, begins it now.
func TestARecoveryKeepsTheFirstTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		p.answer = func(int, string) error { return &SendError{Failure: Unknown, Err: errors.New("reset")} }
		a := Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}
		since := func() time.Time {
			_, err := k.Refresh(t.Context(), a)
			require.Error(t, err)
			j, err := k.readJournal(t.Context(), key)
			require.NoError(t, err)
			return time.UnixMilli(j.Open.Since)
		}
		first := since()
		require.Equal(t, time.Now(), first)
		time.Sleep(time.Hour)
		require.Equal(t, first, since())

		j, err := k.readJournal(t.Context(), key)
		require.NoError(t, err)
		j.Open.Since, j.NotBefore = 0, 0
		require.NoError(t, k.writeJournal(t.Context(), key, j))
		require.Equal(t, time.Now(), since())
	})
}

// Only a refusal that may be the session's end is asked again for the whole of it.
func TestOnlyARefusalIsSentWhole(t *testing.T) {
	for failure, whole := range map[SendFailure]bool{
		Dead: true, Doubtful: true, Refused: false, Paused: false, NotSent: false, LockLost: false, Unknown: false,
	} {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		asked := false
		narrow := func(context.Context, *Grant) (*Grant, error) {
			return nil, &SendError{Failure: failure, After: time.Second, Err: errors.New("no")}
		}
		_, err := k.Refresh(t.Context(), Attempt{
			Key: key, Serves: newer(g.Generation), Send: narrow,
			SendWhole: func(ctx context.Context, g *Grant) (*Grant, error) {
				asked = true
				return p.send(ctx, g)
			},
		})
		require.Equal(t, whole, asked, "failure %d", failure)
		var ne *NarrowError
		require.Equal(t, whole, errors.As(err, &ne), "failure %d: %v", failure, err)
	}
}

// 4b: the next holder of the lock closes an operation whose value is stored, also if
// the value then serves and nothing is sent.
func TestALandedOperationIsClosed(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	k, g := start(t, store, p)
	j, err := k.readJournal(t.Context(), key)
	require.NoError(t, err)
	j.Open = &Operation{Kind: opRefresh, Generation: g.Generation, Hash: "of the one before"}
	require.NoError(t, k.writeJournal(t.Context(), key, j))
	got, err := k.refreshLocked(t.Context(), Attempt{
		Key: key, Serves: func(*Grant) bool { return true }, Send: p.send,
	}, false)
	require.NoError(t, err)
	require.Equal(t, g, got)
	require.Empty(t, p.sent)
	j, err = k.readJournal(t.Context(), key)
	require.NoError(t, err)
	require.Nil(t, j.Open)
}

// 6: an answer such as 502 makes every process wait, and the operation stays open.
func TestABadGatewayIsSharedByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		p.answer = func(int, string) error {
			return &SendError{Failure: Unknown, Status: 502, Err: errors.New("502")}
		}
		a := Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}
		_, err := k.Refresh(t.Context(), a)
		require.Error(t, err)
		sent := len(p.sent)
		p.answer = nil
		_, err = newKeeper(store).Refresh(t.Context(), a) // another process
		var pause *PauseError
		require.ErrorAs(t, err, &pause)
		require.Equal(t, 502, pause.Status)
		require.Len(t, p.sent, sent)
		time.Sleep(pause.After)
		_, err = newKeeper(store).Refresh(t.Context(), a)
		require.NoError(t, err)
	})
}

// One refusal that may be about the refresh token ends nothing, and the second does.
func TestTheSecondDoubtEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &tokenstore.Memory{}, &provider{}
		k, g := start(t, store, p)
		p.answer = func(int, string) error { return &SendError{Failure: Doubtful, Err: errors.New("no")} }
		a := Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}
		_, err := k.Refresh(t.Context(), a)
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrDoubted)
		time.Sleep(doubtGap)
		_, err = k.Refresh(t.Context(), a)
		require.ErrorIs(t, err, ErrDoubted)
		require.Len(t, p.sent, 2)
	})
}
