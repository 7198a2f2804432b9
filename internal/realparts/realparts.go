// Package realparts finds the real programs that a test runs against: a
// browser, a keyring, a provider.
//
// A test says what it needs with [Need]. If a part is missing, the test is
// skipped and says which. With NATIVEOAUTH_REQUIRE_REAL=1, as in CI, a missing
// part is a failure instead, so that a machine without it cannot pass by
// accident.
//
// [SecretService] starts a desktop session with a real gnome-keyring, and
// [Session.Tap] lies between a process and its session bus.
package realparts

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the paths of the named programs, in the same order. If one is
// missing, it calls [Missing].
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

// Missing ends the test, because what is missing. It fails the test if real
// parts are required, and skips it otherwise.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("NATIVEOAUTH_REQUIRE_REAL") == "1" {
		tb.Fatalf("%s is missing, and NATIVEOAUTH_REQUIRE_REAL=1", what)
	}
	tb.Skipf("skipped: %s is not on this machine; .ci/run installs it", what)
}
