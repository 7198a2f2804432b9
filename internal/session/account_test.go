package session

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A read that a logout overtook does not bring the session back, though this process
// had not seen what it read.
func TestOvertakenByALogout(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	a.Stored(again("alice"))
	late := again("alice")
	late.Generation = 9
	a.Drop(10)
	a.publish(Snapshot{Grant: late, Newest: 9})
	require.Nil(t, a.Grant())
	next := again("alice")
	next.Generation = 11
	a.Stored(next)
	require.NotNil(t, a.Grant())
}

// While an account goes from one user to another, the first one's handle never sees
// the other's grant.
func TestGrantOfNobodyElse(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	g := again("alice")
	g.Subject, g.Generation = "alice", 1
	a.Stored(g)
	alice := a.Slot("", nil)
	for n := range 500 { // so that the change takes a while
		a.Slot(strconv.Itoa(n), nil)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range uint64(200) {
			next := again("")
			next.Subject, next.Generation = []string{"alice", "bob"}[n%2], n+2
			a.Stored(next)
		}
	}()
	for {
		if g, err := a.GrantOf(alice); err == nil {
			require.Equal(t, "alice", g.Subject)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
