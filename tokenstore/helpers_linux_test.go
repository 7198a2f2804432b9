package tokenstore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// filesDir is the directory of a zero Keyring in this session.
func filesDir(s *realparts.Session) string {
	return filepath.Join(s.Home, ".local/state/nativeoauth/keyring-nativeoauth.d")
}

// sealedFiles returns the paths of the sealed files of a zero Keyring.
func sealedFiles(t *testing.T, s *realparts.Session) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filesDir(s), "*.sealed"))
	require.NoError(t, err)
	return names
}

const sizeOver = 200_000 // over the limit of Linux

// bareEnvironment sets the environment of cron or a container.
func bareEnvironment(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
		t.Skip("this user has a session bus under /run/user, which is found without an environment")
	}
	for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY"} {
		t.Setenv(name, "")
	}
}

const launchedBy = "TOKENSTORE_LAUNCHED_BY"

// launchedBuses counts and kills the session buses that were started from the
// environment of this test. dbus-launch leaves its bus running.
func launchedBuses(t *testing.T) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range all {
		environ, _ := os.ReadFile(path)
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
		if !bytes.Contains(environ, []byte(launchedBy+"="+os.Getenv(launchedBy))) || string(name) != "dbus-daemon\n" {
			continue
		}
		n++
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return n
}

// within waits for done and fails the test after 30 seconds.
func within(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing for 30 seconds")
	}
}
