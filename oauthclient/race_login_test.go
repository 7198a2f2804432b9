//go:build linux

package oauthclient_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func (w *fleet) many(n int) []*proc {
	w.t.Helper()
	procs := make([]*proc, n)
	for i := range procs {
		procs[i] = w.start()
	}
	for _, p := range procs {
		require.NotEmpty(w.t, p.do("session").Err) // it is up, and there is no session
	}
	return procs
}

// Item 1: processes that call SessionOrLogin at once open one tab. The others adopt its session.
func TestOneTabAcrossProcesses(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	procs := w.many(10)
	for _, p := range procs {
		p.tell("sessionorlogin")
	}
	for _, p := range procs {
		require.NotEmpty(t, p.hear().ok(t).Token)
	}
	require.Equal(t, 1, w.tabs())
	require.Equal(t, 1, w.Stats().Logins)
	for _, p := range procs {
		p.end()
	}
}

// A leader that dies leaves no outcome: one of those that wait leads, and opens the second tab.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	procs := w.many(5)
	release := w.hold(&w.after) // the leader is there, and everybody else waits for it
	procs[0].tell("sessionorlogin")
	require.Eventually(t, func() bool { return w.held.Load() == 1 }, 30*time.Second, time.Millisecond)
	for _, p := range procs[1:] {
		p.tell("sessionorlogin")
	}
	w.untilWaiting(4)
	require.Equal(t, 1, w.tabs())
	require.NoError(t, procs[0].Process.Kill())
	<-procs[0].ended
	release()
	for _, p := range procs[1:] {
		require.NotEmpty(t, p.hear().ok(t).Token)
	}
	require.Equal(t, 2, w.tabs())
	for _, p := range procs[1:] {
		p.end()
	}
}

// The user says no: those that waited get the same typed error, and no tab; a later call asks the user.
func TestLeaderDenied(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	procs := w.many(5)
	release := w.Hold(authserver.Authorize)
	defer release()
	for _, p := range procs {
		p.tell("sessionorlogin")
	}
	require.Eventually(t, func() bool { return w.Requests(authserver.Authorize) == 1 }, 30*time.Second, time.Millisecond)
	w.untilWaiting(4)
	w.Deny()
	release()
	for _, p := range procs {
		r := p.hear()
		require.True(t, r.Denied, "%+v", r)
	}
	require.Equal(t, 1, w.tabs())
	procs[1].do("sessionorlogin").ok(t)
	require.Equal(t, 2, w.tabs())
	for _, p := range procs[2:] {
		p.do("sessionorlogin").ok(t)
	}
	require.Equal(t, 2, w.tabs())
	for _, p := range procs {
		p.end()
	}
}

// The leader's session is signed out before a waiter wakes: it believes the store and not the leader, and asks.
func TestSignedOutBeforeTheWaiterWakes(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	procs := w.many(2)
	release := w.hold(&w.after)
	procs[0].tell("sessionorlogin")
	require.Eventually(t, func() bool { return w.held.Load() == 1 }, 30*time.Second, time.Millisecond)
	procs[1].tell("sessionorlogin")
	procs[0].tell("logout") // at once after
	release()
	procs[0].hear().ok(t)
	procs[0].hear()
	r := procs[1].hear().ok(t)
	require.NotEmpty(t, r.Token)
	// Whether it adopted the session just before its end, or came after it and asked, the store has the last word.
	fresh := w.start()
	if seen := fresh.do("session"); seen.Err == "" {
		require.Equal(t, r.Token, seen.Token)
		require.Equal(t, 2, w.tabs())
	} else {
		require.True(t, seen.LoginRequired)
		require.Equal(t, 1, w.tabs())
		require.True(t, procs[1].do("refresh").LoginRequired)
	}
}

// A refresh that fails never opens a browser, unless the provider has ended the session; then one process finds that out while another leads
// a login, and nobody waits for the other for ever.
func TestFailedRefreshOpensNoBrowser(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	w := newFleet(t, fleetOptions{auth: authserver.Config{AccessTokenLifetime: time.Second, Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if endpoint == authserver.Token && down.Load() {
				rw.WriteHeader(http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(rw, r)
		})
	}}})
	one, two := w.start(), w.start()
	one.do("login").ok(t)
	two.do("session").ok(t)
	down.Store(true)
	time.Sleep(1100 * time.Millisecond)
	for _, p := range []*proc{one, two} {
		r := p.do("sessionorlogin")
		require.NotEmpty(t, r.Err) // of Token; the session itself is there
		require.False(t, r.LoginRequired)
	}
	require.Equal(t, 1, w.tabs())
	down.Store(false)
	for _, p := range []*proc{one, two} { // the provider's failures are a pause for everyone
		require.Eventually(t, func() bool { return p.do("token").Err == "" }, 20*time.Second, 200*time.Millisecond)
	}

	w.Revoke()
	for range 5 {
		one.tell("refresh")
		two.tell("sessionorlogin")
		if r := two.hear(); r.Err != "" { // the provider ended it between the two halves of the call
			require.True(t, r.LoginRequired, "%+v", r)
		}
		if r := one.hear(); r.Err != "" {
			require.True(t, r.LoginRequired, "%+v", r)
		}
		two.do("sessionorlogin").ok(t)
		one.do("session").ok(t)
		w.Revoke()
		time.Sleep(1100 * time.Millisecond)
	}
	require.Equal(t, 6, w.tabs())
	one.end()
	two.end()
}
