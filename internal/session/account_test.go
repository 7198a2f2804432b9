package session

import (
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
