package jose

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Keys that were fetched in the future are too old to be used: this machine's clock was
// set back. A minute is no such future, because clocks are corrected.
func TestKeysFromTheFuture(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ahead, old := range map[time.Duration]bool{30 * time.Second: false, time.Hour: true} {
		set := NewKeySet(nil, "https://op.example/jwks")
		set.fetched, set.refetched = now.Add(ahead), now
		require.Equal(t, old, set.Stale(), ahead)
		_, err := set.current(t.Context())
		if old {
			require.ErrorIs(t, err, ErrKeySet)
		} else {
			require.NoError(t, err)
		}
		document, _ := RestoreKeySet(nil, "", []byte(`{"keys":[]}`), now.Add(ahead)).Document()
		require.Equal(t, old, document == nil, ahead)
	}
}
