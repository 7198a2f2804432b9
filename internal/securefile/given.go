package securefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ReadGiven returns the contents of a file with a secret that the user chose, such
// as a key. It accepts
//
//   - a private file of this user, as [ReadFile] requires it, in any directory.
//     Others can take the file away, but cannot replace it with one that this user
//     owns and only this user may read;
//   - a file that root owns and that nobody else can change, though others may
//     read it. Container runtimes mount secrets like that (Docker 0444, Kubernetes
//     0440), and root has decided which users are in the container;
//   - a descriptor that the process inherited, under its name in /dev or /proc,
//     such as /dev/stdin and what a shell makes of <(command).
//
// Symbolic links are followed if this user or root owns them. On Windows they are
// refused. The errors are those of ReadFile.
func ReadGiven(path string, max int) ([]byte, error) {
	if Inherited(path) {
		return readInherited(path, max)
	}
	return readFollowed(path, max, checkSecret)
}

// ReadIssued is like [ReadGiven], for a token that the platform writes and renews. It
// also accepts a file of this user that its group may read, in a directory in which
// others cannot exchange it: Kubernetes makes a projected token like that (0640) if a
// pod has a user and a group of its own.
func ReadIssued(path string, max int) ([]byte, error) {
	if Inherited(path) {
		return readInherited(path, max)
	}
	return readFollowed(path, max, checkIssued)
}

// ReadTrusted is like [ReadFile], for a file without secrets that decides what this
// user's programs do. Others may read it. The file and its directory must belong to
// this user or to root, and nobody else may write to them. Symbolic links are
// followed as by [ReadGiven].
func ReadTrusted(path string, max int) ([]byte, error) {
	return readFollowed(path, max, checkTrusted)
}

// WriteTrusted is like [WriteFile], for a file that [ReadTrusted] reads. If path is
// a symbolic link, the file that it names is replaced, and the link stays.
func WriteTrusted(path string, data []byte) error {
	path, err := follow(path)
	if err != nil {
		return err
	}
	return writeIn(path, data, ensureTrusted)
}

// follow returns the path of the file that the symbolic link at path names, or path
// if it is no link. The file need not exist. Directories among the parents may be
// links of anyone, as everywhere in this package: the directory of the file is
// checked when it is open.
func follow(path string) (string, error) {
	for range 40 { // as many as Linux follows
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		// Another user could have planted the link, or change it.
		if err := checkLink(path, info); err != nil {
			return "", err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			// Not filepath.Join: ".." behind a directory that is a link leads
			// elsewhere than its text says.
			dir, _ := filepath.Split(path)
			target = dir + target
		}
		path = target
	}
	return "", insecure(path, "is a symbolic link that leads nowhere",
		"put the real file in its place")
}

// readFollowed reads a file that passes check. check gets the opened file, and its
// directory.
func readFollowed(
	path string, max int, check func(path string, file, dir fs.FileInfo) error,
) ([]byte, error) {
	path, err := follow(path)
	if err != nil {
		return nil, err
	}
	root, name, err := openParent(path, os.OpenRoot)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	dir, err := root.Stat(".")
	if err != nil {
		return nil, err
	}
	// Check before opening too: opening a device or a FIFO can have effects.
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, insecure(path, "is not a regular file", "give a file, or - for standard input")
	}
	f, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if errors.Is(err, fs.ErrPermission) {
		// The owner and mode say more than the system's error.
		if e := check(path, before, dir); e != nil {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// A link that has appeared since would have led to another file.
	if !info.Mode().IsRegular() || !os.SameFile(before, info) {
		return nil, insecure(path, "was exchanged while it was opened", "try again")
	}
	if err := check(path, info, dir); err != nil {
		return nil, err
	}
	if err := checkOpened(path, f); err != nil {
		return nil, err
	}
	return readMax(f, path, max)
}

// readInherited reads a descriptor. Whoever started this process has opened it. Only
// for a regular file is that not enough: a shell opens whatever it is told to.
func readInherited(path string, max int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return ReadOpened(f, path, max)
}

// ReadOpened reads the rest of a file that is open, such as standard input, by the
// rules of [ReadGiven]. name is for errors.
func ReadOpened(f *os.File, name string, max int) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, insecure(name, "is a directory", "give a file")
	case info.Mode().IsRegular():
		if err := checkSecret(name, info, nil); err != nil {
			return nil, err
		}
	}
	return readMax(f, name, max)
}

// Inherited reports whether path names a descriptor of this process, which another
// process has not.
func Inherited(path string) bool {
	path = filepath.ToSlash(filepath.Clean(path))
	if path == "/dev/stdin" {
		return true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if number, ok := strings.CutPrefix(path, dir); ok {
			return number != "" && strings.Trim(number, "0123456789") == ""
		}
	}
	return false
}

func readMax(f *os.File, path string, max int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > max {
		return nil, &Error{path, fmt.Sprintf("larger than %d bytes", max),
			"it was not written by this program; move it away", ErrTooLarge}
	}
	return data, nil
}

// ensureTrusted opens a directory that nobody else may write to. It creates a
// missing one with mode 0700.
func ensureTrusted(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(filepath.Clean(dir)); err != nil {
			return nil, err
		}
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = checkUnchangeable(dir, info)
	}
	if err == nil {
		err = checkDirLink(dir)
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// checkDirLink refuses a directory that is a link of another user.
func checkDirLink(dir string) error {
	dir = filepath.Clean(dir) // Lstat follows "link/"
	info, err := os.Lstat(dir)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	return checkLink(dir, info)
}

// checkTrusted is the check of ReadTrusted.
func checkTrusted(path string, file, dir fs.FileInfo) error {
	parent, _ := filepath.Split(path)
	if parent == "" {
		parent = "."
	}
	if err := checkDirLink(parent); err != nil {
		return err
	}
	if err := checkUnchangeable(parent, dir); err != nil {
		return err
	}
	return checkUnchangeable(path, file)
}
