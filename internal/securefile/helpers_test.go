package securefile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The test binary is also the program that the tests start as another process.
// This variable names the function that it runs.
const (
	childEnv    = "SECUREFILE_TEST_CHILD"
	childFailed = 3
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		if err := children[child](os.Getenv("SECUREFILE_TEST_PATH")); err != nil {
			fmt.Fprintln(os.Stderr, child, err)
			os.Exit(childFailed)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var children = map[string]func(path string) error{
	"hold":      childHold,
	"increment": childIncrement,
	"write":     childWrite,
}

// child returns a command that runs a function of children in another process.
func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, "SECUREFILE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// tempDir is like t.TempDir, but a directory that cannot be removed does not
// fail the test. Wine 8 lacks the call that os.RemoveAll makes.
func tempDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "securefile")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// privateDir returns a new directory as EnsureDir makes it.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(tempDir(t), "private")
	require.NoError(t, EnsureDir(dir))
	return dir
}

// value returns contents in which a reader can recognise a torn file.
func value(letter byte, size int) []byte { return bytes.Repeat([]byte{letter}, size) }

// whole reports whether data is an untorn value.
func whole(data []byte) bool {
	return len(data) > 0 && bytes.Count(data, data[:1]) == len(data) &&
		len(data) == 1000*int(data[0]-'a'+1)
}

// link makes a symbolic link, or skips the test.
func link(t *testing.T, target, name string) {
	t.Helper()
	err := os.Symlink(target, name)
	if err != nil && runtime.GOOS == "windows" {
		t.Skipf("skipped: symbolic links need a privilege on Windows: %v", err)
	}
	require.NoError(t, err)
	info, err := os.Lstat(name)
	if runtime.GOOS == "windows" && (err != nil || info.Mode()&fs.ModeSymlink == 0) {
		t.Skip("skipped: Wine 8 makes links that no call sees")
	}
}

// chown gives a file to another user, or skips the test.
func chown(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can give a file away")
	}
	require.NoError(t, os.Lchown(path, 12345, 12345))
}
