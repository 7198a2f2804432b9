package tokenstore_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A program changes from a sealed file to a real keychain and back, also with a value
// over the keychain's limit.
func TestCopyToTheKeychainAndBack(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	keychain := &tokenstore.Keyring{Service: "copy", Dir: filepath.Join(t.TempDir(), "state")}
	file, again := newFile(t), newFile(t)
	fill(t, file, "a", "b")
	large := strings.Repeat("x", 100<<10)
	require.NoError(t, file.Put(t.Context(), "large", []byte(large)))

	require.NoError(t, tokenstore.Copy(t.Context(), keychain, file))
	require.Equal(t, "value of a", kept(t, keychain, "a"))
	require.Equal(t, large, kept(t, keychain, "large"))
	require.Empty(t, kept(t, file, "a"))

	require.NoError(t, tokenstore.Copy(t.Context(), again, keychain))
	for key, want := range map[string]string{"a": "value of a", "b": "value of b", "large": large} {
		require.Equal(t, want, kept(t, again, key))
		require.Empty(t, kept(t, keychain, key))
	}
	require.Equal(t, "journal of b", journal(t, again, "b"))
}
