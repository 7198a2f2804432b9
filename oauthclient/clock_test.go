package oauthclient

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The two clocks of a machine part company when it sleeps (the monotonic one stops) and when somebody sets it. Neither makes an old token young.
func TestClockJumps(t *testing.T) {
	const life = 10 * time.Minute
	c := &Client{}
	now := time.Now()
	issue := func(obtained time.Time) *held {
		return c.hold(&session.Token{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: obtained, Expiry: obtained.Add(life)}, 1, now)
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
			require.Equal(t, row.valid, !h.expiry.passed(wall, row.awake), "may be handed out")
			require.Equal(t, row.early, h.refresh.passed(wall, row.awake), "is refreshed")
		})
	}
}

// The warm path asks the monotonic clock alone, for a tenth of a second at a time and never past a moment that matters.
func TestWarmPathIsNotBelievedLong(t *testing.T) {
	now := time.Now()
	token := func(life time.Duration) *session.Token {
		return &session.Token{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: now, Expiry: now.Add(life)}
	}
	c := &Client{}
	h := c.hold(token(time.Hour), 1, now)
	require.EqualValues(t, askEvery, h.sure.Load())
	h.goOn(now.Add(time.Second))
	require.EqualValues(t, time.Second+askEvery, h.sure.Load())
	h.goOn(now.Add(lookEvery - time.Millisecond))
	require.EqualValues(t, lookEvery, h.sure.Load(), "it is time for a look at the record")
	h = c.hold(token(80*time.Millisecond), 1, now)
	require.EqualValues(t, h.refresh.left, h.sure.Load())
	h = c.hold(token(-time.Second), 1, now)
	require.False(t, h.fresh())
}

// While early refreshes fail they are tried again after 5, 10, 20 … seconds; a provider's Retry-After is kept, and a success ends it.
func TestPauseGrows(t *testing.T) {
	a := &account{}
	require.False(t, a.paused(time.Now()))
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120, 120, 120, 120, 120} {
		a.pauseAfter(session.ErrNoRefreshToken)
		p := a.pause.Load()
		require.Equal(t, want*time.Second, p.length)
		require.True(t, a.paused(p.since.Add(p.length-1)))
		require.False(t, a.paused(p.since.Add(p.length)))
	}
	a.pauseAfter(&session.PauseError{After: 7 * time.Second})
	require.Equal(t, 7*time.Second, a.pause.Load().length)
	a.pauseAfter(session.ErrBusy)
	require.Equal(t, 2*time.Second, a.pause.Load().length)
	a.pauseAfter(nil)
	require.False(t, a.paused(time.Now()))
}

// While early refreshes pause, the record is looked at all the same: what a sibling did meanwhile counts.
func TestPauseIsNotBlind(t *testing.T) {
	store := &tokenstore.Memory{}
	c, err := New(Config{Issuer: "https://op.example", ClientID: "cli", Store: store})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	a := c.account("")
	obtained := time.Now().Add(-10*time.Minute + 20*time.Second)
	_, err = c.keeper.Save(t.Context(), a.key, &session.Grant{
		Realm: c.realm(), Party: c.party(), Issuer: c.issuer, ClientID: "cli", RefreshToken: wire.NewSecret("r"),
		Tokens: []session.Token{{AccessToken: wire.NewSecret("a"), Type: "Bearer", Obtained: obtained, Expiry: obtained.Add(10 * time.Minute)}},
	}, func(*session.Grant) error { return nil })
	require.NoError(t, err)
	s, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	a.pauseAfter(session.ErrNoRefreshToken)
	h := s.slot.current.Load()
	require.True(t, h.early(time.Now()))
	h.look.Store(0) // five seconds later
	other := &session.Keeper{Store: store, Revoke: func(context.Context, *session.Grant) error { return nil }, LockWait: time.Minute}
	_, _, err = other.Logout(t.Context(), a.key)
	require.NoError(t, err)
	_, err = s.Token(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return a.grant.Load() == nil }, 10*time.Second, time.Millisecond)
}

// What somebody asks for and cannot get does not hold up the refresh of what everybody uses.
func TestPauseIsOfEarlyRefreshes(t *testing.T) {
	c, err := New(Config{Issuer: "https://op.example", ClientID: "cli", Store: &tokenstore.Memory{}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	a := c.account("")
	for _, early := range []bool{false, true} {
		f := a.refresh(a.slot("", nil), early, 0)
		<-f.done
		require.Error(t, f.err)
		require.Equal(t, early, a.paused(time.Now()))
	}
}
