package macos

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files that the overlay takes out, and those for darwin that it puts in.
var (
	linuxFiles = []string{
		"tokenstore/keyring_secretservice.go", "tokenstore/keyring_library.go",
		"internal/browser/launcher_xdg.go",
		"internal/peer/peer_linux.go", "internal/peer/proc_linux.go", "internal/peer/sockdiag_linux.go",
	}
	darwinFiles = []string{
		"tokenstore/keyring_darwin.go", "tokenstore/keyring_darwin_test.go",
		"tokenstore/keychain_darwin_test.go", "cmd/nativeoauth/keychain_darwin_test.go",
		"internal/browser/launcher_darwin.go",
		"internal/peer/peer_other.go",
	}
	// edits are all that is changed in a file: what, and what for.
	edits = map[string][2]string{
		"tokenstore/keyring_darwin.go": {
			`const securityTool = "/usr/bin/security"`,
			`var securityTool = os.Getenv("NATIVEOAUTH_SECURITY")`,
		},
		"internal/peer/peer_other.go": {"//go:build !linux && !windows\n", ""},
	}
)

// overlay returns the file for -overlay, with which the go command builds the code
// for macOS on Linux.
func overlay(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	mutants := outer(t)
	for _, pattern := range append([]string{"tokenstore/*_linux_test.go"}, linuxFiles...) {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, "%s is not there any more", pattern)
		for _, file := range files {
			replace[file] = ""
		}
	}
	for _, name := range darwinFiles {
		source := filepath.Join(root, name)
		text, err := os.ReadFile(cmp.Or(mutants[source], source))
		require.NoError(t, err)
		if edit, ok := edits[name]; ok {
			require.Equal(t, 1, strings.Count(string(text), edit[0]), name)
			text = []byte(strings.Replace(string(text), edit[0], edit[1], 1))
		}
		// The name must not end like one for another system.
		name = strings.ReplaceAll(strings.ReplaceAll(name, "_darwin", "_macos"), "_other", "_macos")
		copied := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		require.NoError(t, os.WriteFile(copied, text, 0o600))
		replace[filepath.Join(root, name)] = copied
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	path := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// outer returns what the overlay replaces that this test was built with. The tests of
// internal/security take defences away so.
func outer(t *testing.T) (replaced map[string]string) {
	t.Helper()
	path := os.Getenv("NATIVEOAUTH_OVERLAY")
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var overlay struct{ Replace map[string]string }
	require.NoError(t, json.Unmarshal(data, &overlay))
	return overlay.Replace
}

// build runs the go command, which makes out.
func build(t *testing.T, out string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), out)
	cmd := exec.Command("go", append(args[:1:1], append([]string{"-o", path}, args[1:]...)...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return path
}

// tests are the tests that are built for macOS and run here, by their packages.
var tests = map[string][]string{
	"tokenstore": {
		"TestKeyringKeepsTheContract", "TestKeychainErrorsInterpretTheStatus", "TestItemsUseTheWholeLine",
		"TestKeychainSizesNearTheLimit", "TestKeychainTrouble", "TestKeychainNames",
		"TestKeychainLateWriteIsPending", "TestKeychainLateWriteOfADeadProcess",
		"TestKeychainReadCanBeGivenUp", "TestKeychainPutSurvivesCtrlC",
	},
	"cmd/nativeoauth": {
		"TestKeychainStory", "TestKeychainWriteSurvivesCtrlC", "TestInterruptedRefreshIsKept",
		"TestPastedAddressSignsIn", "TestRacingCommandsUseNoTokenTwice", "TestKilledBeforeTheRotation",
		"TestKilledAfterTheRotation",
	},
}

// The tests of the keychain of macOS pass with the stand-in. Ctrl-C does not end a
// write (S148), and a write of a dead process replaces no newer value (S149).
func TestS148S149KeychainOfMacOS(t *testing.T) {
	t.Parallel()
	pass(t, "tokenstore")
}

// The command works with that keychain and with open(1).
func TestCommandOnMacOS(t *testing.T) {
	t.Parallel()
	pass(t, "cmd/nativeoauth")
}

// pass runs tests of a package, built for macOS.
func pass(t *testing.T, pkg string) {
	t.Helper()
	dir := "../../" + pkg
	security := build(t, "security", "build", "./security")
	binary := build(t, "tests", "test", "-c", "-overlay", overlay(t), dir)
	run := "-test.run=^(TestKeychainChild|" + strings.Join(tests[pkg], "|") + ")$"
	cmd := exec.Command(binary, "-test.v", "-test.timeout=5m", run)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NATIVEOAUTH_SECURITY="+security, "NATIVEOAUTH_KEYCHAIN="+t.TempDir())
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "--- ") || err != nil {
			t.Log(strings.TrimRight(line, "\n"))
		}
	}
	require.NoError(t, err)
	for _, name := range tests[pkg] {
		require.Contains(t, string(out), "--- PASS: "+name+" ")
		note(t, pkg, name)
	}
}
