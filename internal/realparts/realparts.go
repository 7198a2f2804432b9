// Package realparts finds the real programs that a test runs against: a browser, a keyring, a provider.
//
// A test that needs one says so with [Need]. Where the part is missing the test is skipped, saying which, unless
// NATIVEOAUTH_REQUIRE_REAL=1, as in CI: there a missing part is a failure.
package realparts

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the paths of the named programs, in order.
func Need(tb testing.TB, programs ...string) []string {
	tb.Helper()
	paths := make([]string, len(programs))
	for i, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			Missing(tb, name)
		}
		paths[i] = path
	}
	return paths
}

// Missing ends the test: a skip that names what is missing, or a failure where real parts are required.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if Required() {
		tb.Fatalf("%s is missing, and NATIVEOAUTH_REQUIRE_REAL=1", what)
	}
	tb.Skipf("skipped: %s is not on this machine; .ci/run installs it", what)
}

// Required reports whether a missing part is a failure.
func Required() bool { return os.Getenv("NATIVEOAUTH_REQUIRE_REAL") == "1" }
