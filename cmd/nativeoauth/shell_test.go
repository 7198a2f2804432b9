package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// What a message shows to be copied is one word in the shell of the system.
func TestWordsAreQuotedForTheShell(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, posix, windows string }{
		{"alice@example.com", "alice@example.com", `"alice@example.com"`},
		{`C:\Users\me\key`, `'C:\Users\me\key'`, `C:\Users\me\key`},
		{"two words", "'two words'", `"two words"`},
		{"it's", `'it'\''s'`, `"it's"`},
		{"$HOME's", `'$HOME'\''s'`, `'$HOME''s'`},
		{"100%", "100%", `"100%"`},
		{"", "''", `""`},
	} {
		require.Equal(t, tc.posix, quoteFor("linux", tc.text))
		require.Equal(t, tc.windows, quoteFor("windows", tc.text))
		if runtime.GOOS != "windows" {
			out, err := exec.Command("sh", "-c", "printf %s "+quoteFor("linux", tc.text)).Output()
			require.NoError(t, err)
			require.Equal(t, tc.text, string(out))
		}
	}
}

// The command that makes a key makes one that is read, with a path of any kind.
func TestNewKeyCommandMakesAKey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil || runtime.GOOS == "windows" {
		t.Skip("skipped: openssl or a POSIX shell is not on this machine")
	}
	path := filepath.Join(t.TempDir(), "a key's file")
	require.NoError(t, exec.Command("sh", "-c", newKeyCommand("linux", path)).Run())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = tokenstore.ReadKey(path)
	require.NoError(t, err)
}
