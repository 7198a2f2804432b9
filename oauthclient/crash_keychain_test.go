//go:build linux

package oauthclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// Inside Set and inside Delete: the keychain stops when the call has reached it, the process that called is killed, and the keychain goes on. So what
// was asked of it happens after the death of who asked. Meanwhile nobody takes "no answer" for "no session"; afterwards nothing is lost, on a strict
// server neither, and no refresh token is sent twice. One that lives gives the call up, keeps the lock, and goes on when the call has returned.
func TestKilledInsideTheKeychain(t *testing.T) {
	realparts.Need(t, "gnome-keyring-daemon", "dbus-daemon")
	for _, tc := range []struct {
		name, order, call string
		rotation          authserver.Rotation
		lives             bool
	}{
		{"refresh strict", "refresh", "call CreateItem", authserver.RotateStrict, false},
		{"refresh grace", "refresh", "call CreateItem", authserver.RotateGrace, false},
		{"login", "login", "call CreateItem", authserver.RotateStrict, false},
		{"logout", "logout", "call Delete", authserver.RotateStrict, false},
		{"refresh, and lives", "refresh", "call CreateItem", authserver.RotateStrict, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := realparts.SecretService(t, realparts.Unlocked)
			w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: tc.rotation}, env: s.Env})
			tap := s.Tap()
			victim, sibling, fresh := w.start(tap.Env), w.start(), w.start()
			first := victim.do("login").ok(t)
			require.Equal(t, first.Token, sibling.do("session").ok(t).Token)
			stopped := make(chan struct{})
			tap.Arm(func() bool {
				s.FreezeKeyring()
				close(stopped)
				return true
			}, tc.call)
			victim.tell(tc.order)
			<-stopped
			if tc.lives {
				r := victim.hear()
				require.True(t, r.Unavailable, "%+v", r)
			} else {
				require.NoError(t, victim.Process.Kill())
				<-victim.ended
			}
			tabs := w.tabs()
			if tc.order != "logout" {
				require.Equal(t, first.Token, sibling.do("token").ok(t).Token)
			}
			sibling.tell("refresh")
			fresh.tell("sessionorlogin")
			for _, p := range []*proc{sibling, fresh} {
				r := p.hear()
				require.True(t, r.Unavailable, "%+v", r)
				require.False(t, r.LoginRequired, "%+v", r)
				require.Less(t, r.Took, 30*time.Second)
			}
			require.Equal(t, tabs, w.tabs(), "nobody is asked to sign in where it cannot be kept")

			s.ThawKeyring()
			if tc.order == "logout" {
				require.True(t, fresh.do("session").LoginRequired)
				require.True(t, sibling.do("refresh").LoginRequired)
				require.Zero(t, w.Alive())
				require.Equal(t, fresh.do("login").ok(t).Token, w.stored())
			} else {
				require.NotEqual(t, first.Token, fresh.do("session").ok(t).Token, "what the dead process stored is there")
			}
			for _, p := range []*proc{sibling, fresh, sibling} {
				require.Equal(t, p.do("refresh").ok(t).Token, w.stored())
			}
			if tc.lives {
				require.Equal(t, victim.do("refresh").ok(t).Token, w.stored())
				victim.end()
			}
			stats := w.Stats()
			require.Zero(t, stats.Reuses)
			require.Zero(t, stats.FamiliesRevoked)
			w.clean()
			sibling.end()
			fresh.end()
		})
	}
}
