package tokenstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is remembered is read back, and whatever else decodes names a store in the one version there is.
func FuzzChooserMemory(f *testing.F) {
	f.Add(encodeMemory("keychain"))
	f.Add(encodeMemory("file /home/<alice>/\u2028"))
	f.Add([]byte(`{"version":1,"store":"a","store":"b"}`))
	f.Add([]byte(`{"version":1,"Store":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, err := decodeMemory(data)
		if err != nil {
			require.Empty(t, name)
			return
		}
		require.NotEmpty(t, name)
		again, err := decodeMemory(encodeMemory(name))
		require.NoError(t, err)
		require.Equal(t, name, again)
	})
}
