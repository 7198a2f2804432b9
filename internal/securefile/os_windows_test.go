package securefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

func mkfifo(*testing.T, string) {}

// A file that another process opened without sharing its deletion cannot be
// replaced. The write waits for it.
func TestAWriteOutlastsARudeReader(t *testing.T) {
	t.Parallel()
	path := filepath.Join(privateDir(t), "file")
	require.NoError(t, WriteFile(path, []byte("old")))
	name, err := windows.UTF16PtrFromString(path)
	require.NoError(t, err)
	handle, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil,
		windows.OPEN_EXISTING, 0, 0)
	require.NoError(t, err)
	written := make(chan error, 1)
	go func() { written <- WriteFile(path, []byte("new")) }()
	select {
	case err := <-written:
		t.Fatalf("the file was replaced under its reader: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, windows.CloseHandle(handle))
	require.NoError(t, <-written)
	data, err := ReadFile(path, 10)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
}

// Our own reader does not keep a writer waiting.
func TestAWriteReplacesUnderOurReader(t *testing.T) {
	t.Parallel()
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		t.Skip("skipped: Wine 8 does not rename over an open file; Windows 10 does")
	}
	path := filepath.Join(privateDir(t), "file")
	require.NoError(t, WriteFile(path, []byte("old")))
	root, err := os.OpenRoot(filepath.Dir(path))
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	f, err := root.OpenFile("file", os.O_RDONLY, 0)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	require.NoError(t, WriteFile(path, []byte("new")))
}

func TestAFileSystemWithoutLocksIsATypedError(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, lockError("p", windows.ERROR_NOT_SUPPORTED), ErrNoLocks)
	require.False(t, errors.Is(lockError("p", windows.ERROR_DISK_FULL), ErrNoLocks))
}
