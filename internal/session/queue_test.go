package session

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// expiredSession stores a session whose access token has expired.
func expiredSession(t *testing.T, store tokenstore.Store, p *provider) *Keeper {
	t.Helper()
	k := newKeeper(store)
	g := signedIn(p)
	g.Tokens[0].Obtained = g.Tokens[0].Obtained.Add(-2 * time.Hour)
	g.Tokens[0].Expiry = g.Tokens[0].Expiry.Add(-2 * time.Hour)
	_, err := k.Save(t.Context(), key, g, anyone, func() {})
	require.NoError(t, err)
	return k
}

// queueing is the account as a process of its own knows it, at a store with files.
func queueing(t *testing.T, store tokenstore.Store) *Account {
	t.Helper()
	as := newAccounts(t, nil)
	as.Keeper = newKeeper(store)
	as.Keeper.Queue = true
	return as.Account("", key)
}

// Of many processes that start at once with an expired token, one reads the store
// first and refreshes. Each of the others reads it once, when the new token is there.
func TestQueueReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &counting{}, &provider{}
		expiredSession(t, store, p)
		store.gets = 0
		var processes sync.WaitGroup
		for range 20 {
			a := queueing(t, store)
			a.accounts.Send = func(ctx context.Context, g *Grant, _ *Slot) (*Grant, error) {
				time.Sleep(300 * time.Millisecond)
				return p.send(ctx, g)
			}
			processes.Go(func() {
				if err := a.Load(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := a.Token(t.Context(), a.Slot("", nil)); err != nil {
					t.Error(err)
				}
			})
		}
		processes.Wait()
		require.Equal(t, []string{"r0"}, p.sent)
		require.Equal(t, 21, store.gets, "the one that refreshes reads again under the lock")
	})
}

// A process that is alone, or whose token is valid, waits for nothing, and neither
// does one that finds what a dead process left. Whoever waits does not wait for ever.
func TestQueueWaitsForTheLivingOnly(t *testing.T) {
	for name, row := range map[string]struct {
		valid, open bool
		held        string // the suffix of a lock that another process has; "-": none
		wait        time.Duration
	}{
		"alone":                             {held: "-"},
		"a dead process":                    {open: true, held: "-"},
		"valid, and somebody has the lock":  {valid: true},
		"valid, and somebody has the turn":  {valid: true, held: queueSuffix},
		"somebody has the lock for a login": {},
		"one that hangs in a refresh":       {open: true, wait: queueWait},
		"the same with a valid token":       {valid: true, open: true, wait: tryWait},
		"one that hangs before its refresh": {held: queueSuffix, wait: queueWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, p := &tokenstore.Memory{}, &provider{}
				k := expiredSession(t, store, p)
				if row.valid {
					g := signedIn(p)
					_, err := k.Save(t.Context(), key, g, anyone, func() {})
					require.NoError(t, err)
				}
				if row.open {
					_, err := k.Refresh(t.Context(), Attempt{Key: key, Serves: newer(1 << 60), Send: func(context.Context, *Grant) (*Grant, error) {
						return nil, &SendError{Failure: Unknown, Err: errors.New("reset")}
					}})
					require.Error(t, err)
				}
				if row.held != "-" {
					_, release, err := store.Lock(t.Context(), key+row.held)
					require.NoError(t, err)
					defer func() { require.NoError(t, release()) }()
				}
				began := time.Now()
				next := queueing(t, store).accounts.Keeper.queue(t.Context(), key)
				require.InDelta(t, row.wait.Seconds(), time.Since(began).Seconds(), 0.002)
				if next != nil {
					next()
				}
			})
		})
	}
}

// A process that has the turn keeps it until its refresh or its client ends, and for
// a second at most. It does not wait for itself.
func TestQueueTurnEnds(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(*Account, context.CancelFunc)
		wait time.Duration
	}{
		"nothing happens": {func(*Account, context.CancelFunc) {}, queueWait},
		"refreshed":       {func(a *Account, _ context.CancelFunc) { _, _ = a.Token(context.Background(), a.Slot("", nil)) }, 0},
		"closed":          {func(_ *Account, end context.CancelFunc) { end() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &tokenstore.Memory{}
				expiredSession(t, store, &provider{})
				first, second := queueing(t, store), queueing(t, store)
				life, end := context.WithCancel(t.Context())
				first.accounts.Life = life
				first.accounts.Send = func(context.Context, *Grant, *Slot) (*Grant, error) {
					return nil, &SendError{Failure: NotSent, Err: errors.New("no network")}
				}
				began := time.Now()
				require.NoError(t, first.Load(t.Context()))
				require.NoError(t, first.Load(t.Context()))
				require.Less(t, time.Since(began), 10*time.Millisecond)
				row.end(first, end)
				synctest.Wait()
				began = time.Now()
				require.NoError(t, second.Load(t.Context()))
				require.InDelta(t, row.wait.Seconds(), time.Since(began).Seconds(), 0.06)
				end()
			})
		})
	}
}

// Two goroutines that load one account at once do not wait for each other's turn, and
// the end of a client gives it back at once.
func TestQueueTurnIsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tokenstore.Memory{}
		expiredSession(t, store, &provider{})
		first := queueing(t, store)
		began := time.Now()
		var loads sync.WaitGroup
		for range 5 {
			loads.Go(func() {
				if err := first.Load(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		loads.Wait()
		require.Less(t, time.Since(began), 100*time.Millisecond)
		first.accounts.EndTurns()
		began = time.Now()
		second := queueing(t, store)
		require.NoError(t, second.Load(t.Context()))
		require.Less(t, time.Since(began), 10*time.Millisecond)
		second.accounts.EndTurns()
	})
}

// A journal that nobody can read, or a session that has ended, is not waited for.
func TestQueueKnowsWhatIsStale(t *testing.T) {
	now := time.Now()
	expired := &Row{Refreshable: true, Until: now.Add(-time.Minute)}
	for _, row := range []struct {
		j     Journal
		stale bool
	}{
		{Journal{}, false},
		{Journal{Row: expired}, true},
		{Journal{Row: &Row{Until: now.Add(-time.Minute)}}, false},
		{Journal{Row: &Row{Refreshable: true, Until: now.Add(time.Minute)}}, false},
		{Journal{Row: expired, Dead: "x"}, false},
		{Journal{Row: expired, Doubt: &Doubt{}}, false},
		{Journal{Open: &Operation{Kind: opRefresh}}, true},
		{Journal{Open: &Operation{Kind: opLogin}}, false},
		{Journal{Open: &Operation{Kind: opLogout}}, false},
	} {
		require.Equal(t, row.stale, row.j.stale(now), row.j)
	}
}
