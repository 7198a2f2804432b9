//go:build linux

package realparts_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// A program that is not ours finds the keyring in the state that the session
// promises.
func TestSecretService(t *testing.T) {
	t.Parallel()
	tool := realparts.Need(t, "secret-tool")[0]
	for _, state := range []realparts.Keyring{realparts.Unlocked, realparts.Locked, realparts.NoCollection, realparts.NoService} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := realparts.SecretService(t, state)
			store := exec.Command(tool, "store", "--label=x", "a", "b")
			store.Env = s.Environ()
			store.Stdin = strings.NewReader("secret")
			store.WaitDelay = time.Second
			done := make(chan error, 1)
			go func() { done <- store.Run() }()
			select {
			case err := <-done:
				require.Equal(t, state == realparts.Unlocked, err == nil, "%v: %v", state, err)
			case <-time.After(10 * time.Second):
				t.Fatal("secret-tool hangs")
			}
		})
	}
}
