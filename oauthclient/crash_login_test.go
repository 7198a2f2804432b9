//go:build linux

package oauthclient_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// Item 3, login: the session that was there, or the new one, is whole after a kill anywhere; nobody has to wait for the dead leader.
func TestKilledInLogin(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		"login lock", "login locked", "person", "answered token", "lock", "locked", "record 1", "record 1 written", "put", "put done",
		"record 2", "record 2 written", "unlock", "unlocked", "login unlock", "login unlocked",
	} {
		stored := map[string]bool{"put done": true, "record 2": true, "record 2 written": true, "unlock": true, "unlocked": true, "login unlock": true, "login unlocked": true}[point]
		t.Run(strings.ReplaceAll(point, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, fleetOptions{})
			victim, sibling := w.start(), w.start()
			first := victim.do("login").ok(t)
			sibling.do("session").ok(t)
			victim.do("arm " + point).ok(t)
			victim.dies("login")
			tabs := w.tabs()

			fresh := w.start()
			found := fresh.do("sessionorlogin").ok(t)
			require.Equal(t, stored, found.Token != first.Token)
			require.Equal(t, tabs, w.tabs(), "there is a session: nobody is asked")
			for _, p := range []*proc{sibling, fresh, sibling} {
				got := p.do("refresh").ok(t)
				require.Equal(t, got.Token, w.stored())
			}
			require.Zero(t, w.Stats().Reuses)
			require.Zero(t, w.Stats().FamiliesRevoked)
			again := fresh.do("login").ok(t) // the locks of the dead are free
			require.Equal(t, again.Token, w.stored())
			w.clean()
			fresh.end()
			sibling.end()
		})
		t.Run("first/"+strings.ReplaceAll(point, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, fleetOptions{})
			victim, fresh := w.start(), w.start()
			victim.do("arm " + point).ok(t)
			victim.dies("login")
			tabs := w.tabs()
			require.Equal(t, stored, fresh.do("accounts").ok(t).Accounts == 1, "what is listed is there, and the other way about")
			seen := fresh.do("session")
			require.Equal(t, !stored, seen.LoginRequired, "%+v", seen)
			got := fresh.do("sessionorlogin").ok(t)
			require.Equal(t, stored, w.tabs() == tabs)
			require.Equal(t, got.Token, w.stored())
			fresh.do("refresh").ok(t)
			require.Zero(t, w.Stats().Reuses)
			w.clean()
			fresh.end()
		})
	}
}

// A login that dies before it has stored anything does not hide that a refresh before it may have used the refresh token up.
func TestKilledInLoginAfterRefresh(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"record 1 written", "put"} {
		t.Run(strings.ReplaceAll(point, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, fleetOptions{auth: authserver.Config{Rotation: authserver.RotateGrace}})
			one, two := w.start(), w.start()
			one.do("login").ok(t)
			w.killRefresh(one, "unanswered")
			two.do("arm " + point).ok(t)
			two.dies("login")
			fresh := w.start()
			fresh.do("session").ok(t)
			w.ahead.Add(int64(31 * time.Second))
			fresh.do("refresh").ok(t)
			require.Zero(t, w.Stats().FamiliesRevoked)
			fresh.end()
		})
	}
}

// Item 3, logout: from the tombstone on the session is gone for everyone, whatever else was done of it; nobody adopts it, nobody sends its
// refresh token, the next holder of the lock finishes it, and a new sign-in works.
func TestKilledInLogout(t *testing.T) {
	t.Parallel()
	for _, point := range []string{
		"lock", "locked", "record 1", "record 1 written", "send revoke", "answered revoke", "delete", "deleted", "record 2", "record 2 written", "unlock", "unlocked",
	} {
		gone := !map[string]bool{"lock": true, "locked": true, "record 1": true}[point]
		t.Run(strings.ReplaceAll(point, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newFleet(t, fleetOptions{})
			victim, sibling := w.start(), w.start()
			victim.do("login").ok(t)
			sibling.do("session").ok(t)
			victim.do("arm " + point).ok(t)
			victim.dies("logout")

			fresh := w.start()
			require.Equal(t, gone, fresh.do("accounts").ok(t).Accounts == 0, "what is signed out is not listed")
			for _, p := range []*proc{fresh, sibling} {
				order := map[*proc]string{fresh: "session", sibling: "refresh"}[p]
				r := p.do(order)
				require.Equal(t, gone, r.LoginRequired, "%s: %+v", order, r)
			}
			require.Equal(t, gone, w.Stats().Refreshes == 0, "the refresh token of a session that was signed out was sent")
			if gone {
				require.True(t, sibling.do("token").LoginRequired)
				require.Zero(t, w.Alive(), "the next holder finishes the revocation")
			}
			again := fresh.do("login").ok(t)
			require.Equal(t, again.Token, w.stored())
			require.NotEmpty(t, sibling.do("session").ok(t).Token)
			require.Equal(t, sibling.do("refresh").ok(t).Token, w.stored())
			require.Zero(t, w.Stats().Reuses)
			w.clean()
			fresh.end()
			sibling.end()
		})
	}
}

// A sibling that only ever asks for its token notices the logout too, while that token is good for minutes.
func TestLogoutIsNoticed(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	one, sibling := w.start(), w.start()
	one.do("login").ok(t)
	sibling.do("session").ok(t)
	one.do("logout")
	require.Eventually(t, func() bool { return sibling.do("token").LoginRequired }, 30*time.Second, 200*time.Millisecond)
	require.Zero(t, w.Stats().Refreshes)
}

// The refresh of a dead process lands in the store after a logout (macOS's security outlives its parent): it is not that session again.
func TestLateWriteAfterLogout(t *testing.T) {
	t.Parallel()
	w := newFleet(t, fleetOptions{})
	one := w.start()
	one.do("login").ok(t)
	store, err := w.orders.store()
	require.NoError(t, err)
	keys, err := store.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, keys, 1)
	one.do("refresh").ok(t)
	late, err := store.Get(t.Context(), keys[0])
	require.NoError(t, err)
	one.do("logout").ok(t)
	require.NoError(t, store.Put(t.Context(), keys[0], late))
	fresh := w.start()
	require.True(t, fresh.do("session").LoginRequired)
	again := fresh.do("sessionorlogin").ok(t)
	require.Equal(t, 2, w.tabs())
	require.Equal(t, again.Token, w.stored())
	fresh.end()
	one.end()
}
