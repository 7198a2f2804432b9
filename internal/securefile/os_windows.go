package securefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// Windows has no such flags. Links are found by checkFile.
const (
	nonblock = 0
	nofollow = 0
)

// checkOwner returns an error if an opened file has a second name. The access list
// of the directory decides which users may reach it.
func checkOwner(path string, _ fs.FileInfo, f *os.File) error {
	if f == nil {
		return nil
	}
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return err
	}
	if info.NumberOfLinks > 1 {
		return insecure(path, fmt.Sprintf("has %d names (hard links)", info.NumberOfLinks),
			"remove it, or the other names")
	}
	return nil
}

// checkLink refuses every link: they have no owner to trust.
func checkLink(path string, _ fs.FileInfo) error { return symlink(path) }

// The access list of the directory decides about these three.

func checkParent(string) error { return nil }

func checkUnchangeable(string, fs.FileInfo) error { return nil }

func checkSecret(string, fs.FileInfo, fs.FileInfo) error { return nil }

func checkIssued(string, fs.FileInfo, fs.FileInfo) error { return nil }

// checkOpened refuses an opened file with a second name.
func checkOpened(path string, f *os.File) error { return checkOwner(path, nil, f) }

// remove removes a file by its path if the system cannot do it by the handle: Wine
// 8 lacks the call.
func remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return os.Remove(filepath.Join(root.Name(), name))
	}
	return err
}

// inUse reports whether err means that the file cannot be opened or replaced just
// now, because a process replaces it or a virus scanner reads it.
func inUse(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) ||
		errors.Is(err, windows.ERROR_ACCESS_DENIED) ||
		errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
		errors.Is(err, windows.ERROR_DELETE_PENDING)
}

func cannotSync(error) bool { return false }

func lacksLocks(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) ||
		errors.Is(err, windows.ERROR_NOT_SUPPORTED) ||
		errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED)
}

func interrupted(error) bool { return false }

func refusedLink(error) bool { return false }
