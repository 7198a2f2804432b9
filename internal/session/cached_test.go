package session

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The two clocks of a machine part company when it sleeps (the monotonic one stops) and when somebody sets it. Neither makes an old token young.
func TestClockJumps(t *testing.T) {
	const life = 10 * time.Minute
	now := time.Now()
	issue := func(obtained time.Time) *CachedToken {
		return newCached(&Token{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: obtained, Expiry: obtained.Add(life)}, 1, now, 0)
	}
	for _, row := range []struct {
		name         string
		obtained     time.Duration // before (−) or after now, by the wall clock
		wall, awake  time.Duration // what the clocks say has passed since
		valid, early bool
	}{
		{"nothing passed", 0, 0, 0, true, false},
		{"half its life", 0, life / 2, life / 2, true, false},
		{"near its end", 0, life - 20*time.Second, life - 20*time.Second, true, true},
		{"its whole life", 0, life, life, false, true},
		{"slept through it", 0, time.Hour, time.Second, false, true},
		{"slept to near its end", 0, life - 20*time.Second, time.Second, true, true},
		{"set back at once", 0, -time.Hour, time.Second, true, false},
		{"set back, and its life passed", 0, life - time.Hour, life, false, true},
		{"set back, and near its end", 0, -time.Hour, life - 20*time.Second, true, true},
		{"set ahead", 0, time.Hour, 0, false, true},
		{"another process got it, half its life ago", -life / 2, 0, 0, true, false},
		{"another process got it, its life ago", -life, 0, 0, false, true},
		{"another machine got it, whose clock is a little ahead", 30 * time.Second, 0, 0, true, false},
		{"the same, when its life has passed", 30 * time.Second, 0, life, false, true},
		{"the clock was set back between two processes", time.Hour, 0, 0, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := issue(now.Add(row.obtained))
			wall := now.Add(row.wall).UnixNano()
			require.Equal(t, row.valid, !h.expiresAt.passed(wall, row.awake), "may be handed out")
			require.Equal(t, row.early, h.refreshAt.passed(wall, row.awake), "is refreshed")
		})
	}
}

// RefreshBefore beyond the token's life refreshes from half its life on, and not at
// once, over and over.
func TestRefreshBeforeIsCapped(t *testing.T) {
	const life = time.Minute
	now := time.Now()
	issued := &Token{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: now, Expiry: now.Add(life)}
	for before, earliest := range map[time.Duration]time.Duration{
		20 * time.Second: 40 * time.Second, // as asked for
		life / 2:         life / 2,
		life:             life / 2,
		24 * time.Hour:   life / 2,
	} {
		for range 100 { // a random part is subtracted
			at := newCached(issued, 1, now, before).refreshAt.left
			require.GreaterOrEqual(t, at, earliest, before)
			require.LessOrEqual(t, at, earliest+min(before, life/2)/5, before)
		}
	}
}

// The warm path asks the monotonic clock alone, for a tenth of a second at a time and never past a moment that matters.
func TestWarmPathIsNotBelievedLong(t *testing.T) {
	now := time.Now()
	token := func(life time.Duration) *Token {
		return &Token{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: now, Expiry: now.Add(life)}
	}
	h := newCached(token(time.Hour), 1, now, 0)
	require.EqualValues(t, wallEvery, h.validUntil.Load())
	h.extend(now.Add(time.Second))
	require.EqualValues(t, time.Second+wallEvery, h.validUntil.Load())
	h.extend(now.Add(recheckEvery - time.Millisecond))
	require.EqualValues(t, recheckEvery, h.validUntil.Load(), "it is time for a look at the record")
	h = newCached(token(80*time.Millisecond), 1, now, 0)
	require.EqualValues(t, h.refreshAt.left, h.validUntil.Load())
	h = newCached(token(-time.Second), 1, now, 0)
	require.False(t, h.Fresh())
}

// While early refreshes fail they are tried again after 5, 10, 20 … seconds; a provider's Retry-After is kept, and a success ends it.
func TestPauseGrows(t *testing.T) {
	a := &Account{}
	require.False(t, a.paused(time.Now()))
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120, 120, 120, 120, 120} {
		a.pauseAfter(ErrNoRefreshToken)
		p := a.pause.Load()
		require.Equal(t, want*time.Second, p.length)
		require.True(t, a.paused(p.since.Add(p.length-1)))
		require.False(t, a.paused(p.since.Add(p.length)))
	}
	a.pauseAfter(&PauseError{After: 7 * time.Second})
	require.Equal(t, 7*time.Second, a.pause.Load().length)
	a.pauseAfter(ErrBusy)
	require.Equal(t, 2*time.Second, a.pause.Load().length)
	a.pauseAfter(nil)
	require.False(t, a.paused(time.Now()))
}

// While early refreshes pause, the record is looked at all the same: what a sibling did meanwhile counts.
func TestPauseIsNotBlind(t *testing.T) {
	store := &tokenstore.Memory{}
	as := newAccounts(t, store)
	a := as.Account("", Key("realm", "party", ""))
	obtained := time.Now().Add(-10*time.Minute + 20*time.Second)
	_, err := as.Keeper.Save(t.Context(), a.Key, &Grant{
		Realm: "realm", Party: "party", Issuer: "https://op.example", ClientID: "cli", RefreshToken: wire.NewSecret("r"),
		Tokens: []Token{{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: obtained, Expiry: obtained.Add(10 * time.Minute)}},
	}, func(*Grant) error { return nil }, func() {})
	require.NoError(t, err)
	require.NoError(t, a.Load(t.Context()))
	s := a.Slot("", nil)
	a.pauseAfter(ErrNoRefreshToken)
	h := s.Cached()
	require.True(t, h.early(time.Now()))
	h.recheckAt.Store(0) // five seconds later
	other := &Keeper{Store: store, Revoke: func(context.Context, *Grant) error { return nil }, LockWait: time.Minute}
	_, err = other.Logout(t.Context(), t.Context(), a.Key, func(uint64) {})
	require.NoError(t, err)
	_, err = a.Token(t.Context(), s)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return a.grant.Load() == nil }, 10*time.Second, time.Millisecond)
}

// What somebody asks for and cannot get does not hold up the refresh of what everybody uses.
func TestPauseIsOfEarlyRefreshes(t *testing.T) {
	a := newAccounts(t, &tokenstore.Memory{}).Account("", "key")
	for _, early := range []bool{false, true} {
		f := a.refresh(a.Slot("", nil), early, 0)
		<-f.done
		require.Error(t, f.err)
		require.Equal(t, early, a.paused(time.Now()))
	}
}

// newAccounts returns accounts whose refreshes all fail, and waits for their work
// at the test's end.
func newAccounts(t *testing.T, store tokenstore.Store) *Accounts {
	var working sync.WaitGroup
	t.Cleanup(working.Wait)
	keeper := &Keeper{Store: store, Revoke: func(context.Context, *Grant) error { return nil }, LockWait: time.Minute}
	return &Accounts{
		Keeper: keeper, Life: context.Background(), Logger: slog.New(slog.DiscardHandler),
		Begin: func() error { working.Add(1); return nil }, Done: working.Done,
	}
}
