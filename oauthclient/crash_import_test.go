//go:build linux

package oauthclient_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// An import is killed anywhere. The next import of the same token has the session,
// except on a strict server that has used the token up, which no client can mend.
func TestKilledInImport(t *testing.T) {
	t.Parallel()
	for point, spent := range map[string]bool{
		"login lock": false, "login locked": false, "lock": false, "locked": false,
		"record 1": false, "record 1 written": false, "send token": false,
		"answered token": true, "put": true,
		"put done": false, "record 2": false, "record 2 written": false,
		"unlock": false, "unlocked": false, "login unlock": false, "login unlocked": false,
	} {
		for name, rotation := range map[string]authserver.Rotation{
			"strict": authserver.RotateStrict, "grace": authserver.RotateGrace,
		} {
			t.Run(strings.ReplaceAll(point, " ", "-")+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: rotation}})
				old := legacy(t, w.orders.config(nil, nil)).RefreshToken
				tabs := w.tabs()
				victim, fresh := w.start(), w.start()
				victim.do("arm " + point).ok(t)
				victim.dies("import " + old)

				got := fresh.do("import " + old)
				if spent && rotation == authserver.RotateStrict {
					require.True(t, got.LoginRequired, "%+v", got)
					seen := w.Stats().Refreshes + w.Stats().Reuses
					require.True(t, fresh.do("import "+old).LoginRequired)
					require.Equal(t, seen, w.Stats().Refreshes+w.Stats().Reuses, "it is not sent again")
					fresh.do("login").ok(t)
				} else {
					got.ok(t)
					require.Equal(t, tabs, w.tabs(), "nobody is asked")
					require.Zero(t, w.Stats().FamiliesRevoked)
				}
				require.Equal(t, 1, fresh.do("accounts").ok(t).Accounts)
				now := fresh.do("refresh").ok(t)
				require.Equal(t, now.Token, w.stored())
				again := fresh.do("import " + old).ok(t)
				require.Equal(t, now.Token, again.Token)
				w.clean()
				fresh.end()
			})
		}
	}
}

// Many processes import the same token when they start. One sends it.
func TestManyProcessesImport(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: authserver.RotateStrict}})
	old := legacy(t, w.orders.config(nil, nil)).RefreshToken
	before := w.Stats().Refreshes
	procs := make([]*proc, 8)
	for i := range procs {
		procs[i] = w.start()
	}
	for _, p := range procs {
		p.tell("import " + old)
	}
	tokens := map[string]bool{}
	for _, p := range procs {
		tokens[p.hear().ok(t).Token] = true
	}
	require.Len(t, tokens, 1)
	require.Equal(t, before+1, w.Stats().Refreshes)
	require.Zero(t, w.Stats().Reuses)
	w.clean()
	for _, p := range procs {
		p.end()
	}
}
