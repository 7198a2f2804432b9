package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// BetterAuth is npm's better-auth with its OAuth provider, in a process of its
// own with everything in memory. Refresh tokens rotate, and a used one ends the
// session. It knows NativeClient and one user.
type BetterAuth struct {
	Issuer string
}

// betterAuthUser and betterAuthPassword are the only user.
const (
	betterAuthUser     = "alice@example.com"
	betterAuthPassword = "correct horse battery"
)

// StartBetterAuth starts a provider that ends with the test. It needs Node.js
// and the package (see realparts.Need).
func StartBetterAuth(tb testing.TB) *BetterAuth {
	tb.Helper()
	node := realparts.Need(tb, "node")[0]
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "betterauth")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "better-auth")); err != nil {
		realparts.Missing(tb, "npm's better-auth (npm ci in internal/interop/betterauth)")
	}
	address, handed := listen(tb)
	origin := "http://" + address.String()
	options, err := json.Marshal(map[string]any{
		"origin": origin, "client": NativeClient, "email": betterAuthUser, "password": betterAuthPassword,
		"redirects": []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
	})
	require.NoError(tb, err)
	cmd := exec.Command(node, "server.mjs", string(options))
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{handed}
	b := &BetterAuth{Issuer: origin + "/api/auth"}
	startServer(tb, "better-auth", cmd, serves(tb.Context(), b.Issuer+discovery))
	return b
}

// User returns a user with an account here.
func (b *BetterAuth) User(issuer string) *User {
	return NewUser(issuer, betterAuthUser, betterAuthPassword)
}
