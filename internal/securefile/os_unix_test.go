//go:build unix

package securefile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, syscall.Mkfifo(path, 0o600))
}

// A file system without locks is a typed error that says why. No such file
// system is available to the test, so it uses the error numbers.
func TestAFileSystemWithoutLocksIsATypedError(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{
		syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ENOTSUP, syscall.ENOSYS,
	} {
		err := lockError("/home/alice/lock", fmt.Errorf("flock: %w", errno))
		require.ErrorIs(t, err, ErrNoLocks)
		require.ErrorContains(t, err, "network file system")
		require.ErrorContains(t, err, "/home/alice/lock")
	}
	require.NotErrorIs(t, lockError("p", syscall.EIO), ErrNoLocks)
	require.ErrorIs(t, lockError("p", syscall.ELOOP), ErrInsecure)
}

// A reader can have opened a file that has no name any more, because it was
// replaced. That is no hard link.
func TestAReplacedFileIsStillRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "file")
	require.NoError(t, WriteFile(path, []byte("old")))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, WriteFile(path, []byte("new")))
	info, err := f.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Sys().(*syscall.Stat_t).Nlink)
	require.NoError(t, checkFile(path, info, f))
}

// S140: root makes nothing in the directory of another user, such as a home that
// sudo has kept in HOME. That user could not use it.
func TestS140RootMakesNothingInAnothersDirectory(t *testing.T) {
	t.Parallel()
	home := privateDir(t)
	path := filepath.Join(home, ".local", "state", "file")
	if os.Geteuid() != 0 { // this user's home, and root
		require.ErrorIs(t, checkParentOf(0, home, filepath.Join(home, ".local")), ErrInsecure)
		return
	}
	require.NoError(t, EnsureDir(filepath.Join(home, "own", "directory")))
	const alice = 12345
	require.NoError(t, os.Chown(home, alice, alice))
	for _, do := range []func() error{
		func() error { return EnsureDir(filepath.Dir(path)) },
		func() error { return WriteFile(path, nil) },
		func() error { return WriteTrusted(path, nil) },
		func() error { return Probe(filepath.Dir(path)) },
		func() error { _, err := Lock(t.Context(), path); return err },
	} {
		err := do()
		require.ErrorIs(t, err, ErrInsecure)
		require.ErrorContains(t, err, "belongs to uid 12345")
		require.NoDirExists(t, filepath.Join(home, ".local"))
	}
	// The remedy works: another HOME, or a directory that root makes on purpose.
	made := filepath.Join(home, ".local")
	require.NoError(t, checkParentOf(alice, home, made))
	for _, of := range []string{home, filepath.Dir(home)} {
		require.ErrorContains(t, checkParentOf(0, of, made), "set HOME to root's own directory (sudo -H)")
	}
	for _, of := range []string{"", made, home[:len(home)-1], "/root"} {
		err := checkParentOf(0, of, made)
		require.ErrorContains(t, err, "mkdir -m 700 "+Quote(made))
		require.NotContains(t, err.Error(), "HOME")
	}
	require.NoError(t, os.Mkdir(made, 0o700))
	require.NoError(t, WriteFile(path, nil))
}

// S65: the opened file is checked (fstat), because the name can change between
// the check and the opening.
func TestS65TheOpenedFileIsChecked(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	path, temp := filepath.Join(dir, "file"), filepath.Join(dir, "next")
	require.NoError(t, WriteFile(path, []byte("good")))
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			for text, mode := range map[string]os.FileMode{"good": 0o600, "bad": 0o644} {
				err := os.WriteFile(temp, []byte(text), 0o600)
				if err == nil {
					err = os.Chmod(temp, mode) // whatever the umask
				}
				if err == nil {
					err = os.Rename(temp, path)
				}
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				if err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	good, refused := 0, 0
	for range 20_000 {
		data, err := ReadFile(path, 10)
		if err != nil {
			require.ErrorIs(t, err, ErrInsecure)
			refused++
			continue
		}
		require.Equal(t, "good", string(data))
		good++
	}
	close(stop)
	require.NoError(t, <-stopped)
	t.Logf("%d read, %d refused", good, refused)
}

// What Probe says is what a write would, and nothing of it is left.
func TestProbeSaysWhatAWriteWould(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, Probe(dir))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	require.NoError(t, os.Chmod(dir, 0o755))
	require.ErrorIs(t, Probe(dir), ErrInsecure)
	require.NoError(t, os.Chmod(dir, 0o500))
	for _, err := range []error{Probe(dir), WriteFile(filepath.Join(dir, "file"), nil)} {
		if err == nil {
			require.Zero(t, os.Geteuid(), "root may write everywhere, others may not")
			continue
		}
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "let this user write there")
	}
}
