package tokenstore_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// The whole contract on the Credential Manager, under a service name of the test,
// and again with every value over the limit of an item. Under Wine, NeverTorn can
// fail with "More data available", because Wine's CredRead reads the size and the
// value separately.
func TestKeyringKeepsTheContract(t *testing.T) {
	for name, limit := range map[string]int{"items": 0, "all in files": 1} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.UserCacheDir()
			require.NoError(t, err)
			dir, err = os.MkdirTemp(dir, "nativeoauth-test-")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			storetest.Run(t, func(*testing.T) tokenstore.Store {
				return tokenstore.SetItemLimit(&tokenstore.Keyring{Service: "nativeoauth-test", Dir: dir, Timeout: time.Minute}, limit)
			})
		})
	}
}
