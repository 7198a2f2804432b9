//go:build linux

package oauthclient_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// refreshPoints are the places in a refresh at which its process is killed. spent: the provider has used the refresh token up
// and its successor is not stored, which on a strict server no client can mend.
var refreshPoints = []struct {
	name  string
	spent bool
}{
	{"lock", false},
	{"locked", false},
	{"record 1", false},
	{"record 1 written", false},
	{"send token", false},
	{"unhandled", false}, // sent, and killed before the provider handles it
	{"unanswered", true}, // sent and handled, and killed before the answer
	{"answered token", true},
	{"put", true},
	{"put done", false},
	{"record 2", false},
	{"record 2 written", false},
	{"unlock", false},
	{"unlocked", false},
	{"published", false},
}

// killRefresh has p, which has a session, refresh it and die at the point.
func (w *fleet) killRefresh(p *proc, point string) {
	w.t.Helper()
	switch point {
	case "unhandled", "unanswered":
		at := &w.before
		if point == "unanswered" {
			at = &w.after
		}
		release := w.hold(at)
		n := w.held.Load()
		p.tell("refresh")
		require.Eventually(w.t, func() bool { return w.held.Load() > n }, 30*time.Second, time.Millisecond)
		require.NoError(w.t, p.Process.Kill())
		<-p.ended
		seen := w.Stats().Refreshes
		release()
		if point == "unhandled" { // what is in the wires arrives, before anybody asks again
			require.Eventually(w.t, func() bool { return w.Stats().Refreshes > seen }, 30*time.Second, time.Millisecond)
		}
	case "published":
		p.do("refresh").ok(w.t)
		require.NoError(w.t, p.Process.Kill())
		<-p.ended
	default:
		p.do("arm " + point).ok(w.t)
		p.dies("refresh")
	}
}

// Item 3, refresh: whatever the point, no session is lost that could be kept; no refresh token is presented after its use but once for the
// operation that was left open; nobody hands out a token that a fresh process could not read; nothing is left behind.
func TestKilledInRefresh(t *testing.T) {
	t.Parallel()
	for _, point := range refreshPoints {
		for _, rotation := range []authserver.Rotation{authserver.RotateStrict, authserver.RotateGrace} {
			for _, siblingFirst := range []bool{false, true} {
				if strict := rotation == authserver.RotateStrict; strict && siblingFirst || !strict && !siblingFirst && !point.spent {
					continue // nothing that the other order does not show
				}
				name := fmt.Sprintf("%s/%s/%s", strings.ReplaceAll(point.name, " ", "-"),
					map[bool]string{true: "strict", false: "grace"}[rotation == authserver.RotateStrict], map[bool]string{true: "sibling-first", false: "fresh-first"}[siblingFirst])
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					killedInRefresh(t, newFleet(t, fleetOptions{auth: authserver.Config{Rotation: rotation, Grace: 30 * time.Second}}), point.name, point.spent, rotation, siblingFirst)
				})
			}
		}
	}
}

// The same over the real keychain, with ID tokens to be checked on the way.
func TestKilledInRefreshKeychain(t *testing.T) {
	realparts.Need(t, "gnome-keyring-daemon", "dbus-daemon")
	for i, point := range refreshPoints {
		switch point.name {
		case "locked", "record 1 written", "unanswered", "put", "put done", "record 2":
		default:
			if !*long {
				continue
			}
		}
		t.Run(strings.ReplaceAll(point.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			s := realparts.SecretService(t, realparts.Unlocked)
			w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: authserver.RotateGrace}, env: s.Env, openID: true})
			killedInRefresh(t, w, point.name, point.spent, authserver.RotateGrace, i%2 == 0)
		})
	}
}

func killedInRefresh(t *testing.T, w *fleet, point string, spent bool, rotation authserver.Rotation, siblingFirst bool) {
	victim, sibling := w.start(), w.start()
	first := victim.do("login").ok(t)
	require.Equal(t, first.Token, sibling.do("session").ok(t).Token)

	w.killRefresh(victim, point)
	lost := spent && rotation == authserver.RotateStrict
	// "unhandled" is the delayed request that the provider handles after its sender's death: used up, too.
	spent = spent || point == "unhandled"
	lost = lost || point == "unhandled" && rotation == authserver.RotateStrict

	fresh := w.start()
	if siblingFirst {
		// It has a token for five more minutes. All that it does is to ask for it now and then.
		for deadline := time.Now().Add(20 * time.Second); spent && w.Stats().Reuses == 0; time.Sleep(100 * time.Millisecond) {
			require.NotEmpty(t, sibling.do("token").ok(t).Token)
			require.True(t, time.Now().Before(deadline), "the sibling did not notice what the dead process left open")
		}
	}
	seen := fresh.do("session")
	if !lost {
		seen.ok(t)
	}
	if spent && !lost {
		require.Equal(t, 1, w.Stats().Reuses, "the open refresh was to be seen through at once, while the grace lasts")
		w.ahead.Add(int64(31 * time.Second))
	}
	for _, p := range []*proc{sibling, fresh} {
		r := p.do("refresh")
		if lost {
			require.True(t, r.LoginRequired, "%+v", r)
			continue
		}
		require.Equal(t, r.ok(t).Token, w.stored())
	}
	reuses, revoked := 0, 0
	if spent {
		reuses = 1
	}
	if lost {
		revoked = 1
	}
	stats := w.Stats()
	require.Equal(t, reuses, stats.Reuses, "a token that was used up was presented again")
	require.Equal(t, revoked, stats.FamiliesRevoked)
	if lost {
		require.Equal(t, 1, w.tabs(), "a failed refresh opens no browser")
		again := fresh.do("login").ok(t)
		require.Equal(t, again.Token, w.stored())
	}
	require.Equal(t, 1, w.Alive())
	w.clean()
	fresh.end()
	sibling.end()
}

// A process sleeps through a whole refresh, and the next one dies: what that left open is not about the refresh token that the process knows, and is
// seen through all the same, while the grace lasts.
func TestKilledInTheNextRefresh(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: authserver.RotateGrace, Grace: 30 * time.Second}})
	victim, sibling := w.start(), w.start()
	victim.do("login").ok(t)
	sibling.do("session").ok(t)
	victim.do("refresh").ok(t)
	w.killRefresh(victim, "unanswered")
	for deadline := time.Now().Add(20 * time.Second); w.Stats().Reuses == 0; time.Sleep(100 * time.Millisecond) {
		require.NotEmpty(t, sibling.do("token").ok(t).Token)
		require.True(t, time.Now().Before(deadline), "the sibling did not notice what the dead process left open")
	}
	w.ahead.Add(int64(31 * time.Second))
	require.Equal(t, sibling.do("refresh").ok(t).Token, w.stored())
	require.Zero(t, w.Stats().FamiliesRevoked)
	sibling.end()
}

// clean checks that the store holds one session and its locks and records, and nothing else.
func (w *fleet) clean() {
	w.t.Helper()
	dir := w.dir
	if w.orders.Keychain {
		dir = filepath.Join(dir, "keyring-nativeoauth.d")
	}
	entries, err := os.ReadDir(dir)
	require.NoError(w.t, err)
	kinds := map[string]int{}
	for _, e := range entries {
		kinds[filepath.Ext(e.Name())]++
		require.NotContains(w.t, e.Name(), "tmp")
	}
	if w.orders.Keychain {
		require.Equal(w.t, 1, kinds[".row"])
		require.Zero(w.t, kinds[".sealed"])
	} else {
		require.Equal(w.t, 1, kinds[".sealed"])
	}
	require.LessOrEqual(w.t, kinds[".journal"], 2)
}
