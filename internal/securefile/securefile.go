// Package securefile reads, replaces and locks small private files.
//
// It is the basis of everything that this module keeps on disk: sealed sessions,
// locks, the journal, and the command's configuration.
//
// # What it promises
//
//   - The directory is a real directory of this user that nobody else may enter
//     (0700). A file is a regular file of this user that nobody else may read
//     (0600), with one name. Anything else is refused with [ErrInsecure]. It is
//     never repaired, because another user may already have read or planted what
//     is there. The error names the path and the remedy.
//   - Every reader sees the old or the new contents of a replaced file, whole,
//     also after a crash.
//   - A lock ends when its holder ends, however that happens, and is never taken
//     away from a live holder.
//
// # How names are kept from changing
//
// The directory and every file in it are reached through one handle ([os.Root]).
// So nothing can be exchanged between its check and its use.
//
// The directory's parents are not checked, and symbolic links among them are
// followed: macOS and FreeBSD have them on the path to every home. A user with
// write access to a parent can take the directory away. The directory that this
// user puts in its place has another owner, and is refused.
//
// # Root in the home of another user
//
// Root makes no directory in one that another user owns, such as a home that sudo
// has kept in HOME: it would lock that user out.
//
// # Windows and access lists
//
// Windows has no owner and mode in this sense. There, a private directory is one
// inside the user's profile, and the profile's access list keeps others out.
// Links are refused there too. Extended access lists of macOS are not checked.
// Those of Linux show as group permissions, and are refused.
//
// The functions of this package are safe for concurrent use, by goroutines and
// by processes.
package securefile

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

var (
	// ErrInsecure means that a file or directory is not private, belongs to
	// another user, or is not of the right kind. Nothing was read or written.
	ErrInsecure = errors.New("not private")
	// ErrTooLarge means that a file is larger than the caller allows.
	ErrTooLarge = errors.New("too large")
	// ErrNoLocks means that the file system cannot lock files.
	ErrNoLocks = errors.New("file locks do not work here")
)

// Error says what is wrong with a path, and what to do. It wraps [ErrInsecure],
// [ErrTooLarge] or [ErrNoLocks].
type Error struct {
	Path    string
	Problem string // "mode is 0644, so that others may read it"
	Remedy  string // "chmod 600 …"
	Err     error  // one of the three above
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: %s: %s; %s", e.Err, Quote(e.Path), e.Problem, e.Remedy)
}

func (e *Error) Unwrap() error { return e.Err }

// Quote returns path in double quotes, for the user to copy. It does not escape
// the backslashes of Windows, as %q does. If path contains a character on which a
// terminal would act, it is escaped as by %q.
func Quote(path string) string {
	for _, r := range path {
		if !strconv.IsPrint(r) || r == '"' || r == utf8.RuneError {
			return strconv.Quote(path)
		}
	}
	return `"` + path + `"`
}

// EnsureDir creates dir and its missing parents with mode 0700. If dir exists, it
// is checked and not changed.
func EnsureDir(dir string) error {
	root, err := ensureDir(dir)
	if err != nil {
		return err
	}
	return root.Close()
}

// ReadFile returns the contents of the file at path. If there are more than max
// bytes, the error matches [ErrTooLarge]. If the file or its directory does not
// exist, it matches [fs.ErrNotExist].
func ReadFile(path string, max int) ([]byte, error) {
	root, name, err := openParent(path, openDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var data []byte
	err = retryInUse(func() error {
		data, err = readFile(root, name, path, max)
		return err
	})
	return data, err
}

func readFile(root *os.Root, name, path string, max int) ([]byte, error) {
	f, err := openChecked(root, name, path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readMax(f, path, max)
}

// openChecked opens a file of root that passes checkFile. path is for errors.
func openChecked(root *os.Root, name, path string, flag int) (*os.File, error) {
	// Check before opening too: opening a device or a FIFO can have effects.
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if err := checkFile(path, before, nil); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, flag|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		// The opened file is what counts: the name may have changed since. It may
		// name another file by now, which is no fault: a writer replaced it, and this
		// has the old contents, whole. It must not name a link, which a root
		// follows, though never out of its directory.
		err = checkFile(path, info, f)
	}
	if err == nil {
		if after, e := root.Lstat(name); e == nil && after.Mode()&fs.ModeSymlink != 0 {
			err = symlink(path)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// CreateGiven opens the file at path for writing, empty, for a file that the user
// chose, such as a trace. It makes a missing file with mode 0600. A file that is
// there must be as [ReadFile] requires it: in a directory that others may write to,
// such as /tmp, another user may have put a link or a file of theirs in its place.
// The directory must exist, and may belong to others.
func CreateGiven(path string) (*os.File, error) {
	root, name, err := openParent(path, os.OpenRoot)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	// O_EXCL follows no link and opens nothing that is there.
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if f, err = openChecked(root, name, path, os.O_WRONLY); err != nil {
		return nil, err
	}
	// Only now, when it is known to be this user's own.
	if err := f.Truncate(0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// WriteFile replaces the file at path with one that contains data. It creates the
// directory as [EnsureDir] does. If it returns nil, the new contents survive a
// power failure. If it returns an error, the file has its old contents, or the new
// ones if only the directory could not be flushed.
func WriteFile(path string, data []byte) error { return writeIn(path, data, ensureDir) }

func writeIn(path string, data []byte, open func(dir string) (*os.Root, error)) error {
	for try := 0; ; try++ {
		err := write(path, data, open)
		if try == 2 || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// The directory was removed. Or this process was suspended for longer than
		// tempLife, and another one removed its temporary file.
	}
}

func write(path string, data []byte, open func(dir string) (*os.Root, error)) error {
	root, name, err := openParent(path, open)
	if err != nil {
		return err
	}
	defer root.Close()
	if now := time.Now(); due(root.Name(), now) {
		sweep(root, now)
	}
	return replace(root, name, data)
}

// Probe reports whether files can be created in dir. It creates a missing dir. It
// leaves no file behind, and does not flush, so it is fast.
func Probe(dir string) error {
	root, err := ensureDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, temp, err := create(root)
	if err != nil {
		return err
	}
	err = f.Close()
	if e := remove(root, temp); err == nil {
		err = e
	}
	return err
}

// create creates a temporary file with a random name. O_EXCL keeps it from opening
// a link or a file that another user has prepared.
func create(root *os.Root) (f *os.File, name string, err error) {
	name = tempPrefix + strings.ToLower(crand.Text())
	f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		err = fmt.Errorf("%s cannot be written to (%w): "+
			"let this user write there, make room, or name another directory",
			Quote(root.Name()), err)
	}
	return f, name, err
}

// replace writes a temporary file, flushes it, and renames it. The order matters:
// if the rename came before the flush, a power failure could leave an empty file.
func replace(root *os.Root, name string, data []byte) (err error) {
	f, temp, err := create(root)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = remove(root, temp)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// Do not remove the old file first: a crash in between would leave neither.
	if err = retryInUse(func() error { return root.Rename(temp, name) }); err != nil {
		return err
	}
	return syncDir(root)
}

// Remove deletes the file at path, and flushes the directory. It returns nil if
// the file does not exist.
func Remove(path string) error {
	root, name, err := openParent(path, openDir)
	if err == nil {
		defer root.Close()
		err = retryInUse(func() error { return remove(root, name) })
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(root)
}

// List returns the names in dir, in no particular order and without the temporary
// files of [WriteFile]. If dir does not exist, the result is empty.
func List(dir string) ([]string, error) {
	root, err := openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	all, err := names(root)
	if err != nil {
		return nil, err
	}
	temporary := func(name string) bool { return strings.HasPrefix(name, tempPrefix) }
	return slices.DeleteFunc(all, temporary), nil
}

const (
	tempPrefix = ".tmp-"
	// tempLife is the age at which a temporary file counts as left over. No write
	// takes that long, except in a suspended process, which then tries again.
	tempLife = time.Hour
)

// swept has when this process last swept a directory: a time by its path. To read
// the directory at each write would take long if it has thousands of files.
var swept sync.Map

// due reports whether dir should be swept now.
func due(dir string, now time.Time) bool {
	last, ok := swept.Load(dir)
	if ok && now.Sub(last.(time.Time)) < tempLife {
		return false
	}
	swept.Store(dir, now)
	return true
}

// sweep removes the temporary files of writers that crashed. It ignores errors: a
// file that is left over does no harm.
func sweep(root *os.Root, now time.Time) {
	all, err := names(root)
	if err != nil {
		return
	}
	for _, name := range all {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		info, err := root.Lstat(name)
		if err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > tempLife {
			_ = remove(root, name)
		}
	}
}

func names(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// openParent opens the directory of path with open and returns it with the last
// element of path.
func openParent(
	path string, open func(string) (*os.Root, error),
) (root *os.Root, name string, err error) {
	dir, name := filepath.Split(path)
	if name == "" || name == "." || name == ".." {
		return nil, "", fmt.Errorf("%s names no file: %w", Quote(path), fs.ErrInvalid)
	}
	if dir == "" {
		dir = "."
	}
	root, err = open(dir)
	return root, name, err
}

// openDir opens a directory that only this user may enter. It checks the name
// first, because a handle does not show that it was reached through a link. Then
// it checks the opened directory, and that both are the same one.
func openDir(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, fmt.Errorf("no directory is named: %w", fs.ErrInvalid)
	}
	dir = filepath.Clean(dir) // Lstat follows "link/"
	named, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if named.Mode()&fs.ModeSymlink != 0 {
		return nil, symlink(dir)
	}
	if !named.IsDir() {
		return nil, insecure(dir, "is not a directory", "move it away")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	switch {
	case err != nil:
	case !os.SameFile(named, opened):
		err = insecure(dir, "was exchanged while it was opened",
			"find out which users may write to its parent directory")
	default:
		err = checkOwner(dir, opened, nil)
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// ensureDir is openDir that creates a missing directory.
func ensureDir(dir string) (*os.Root, error) {
	root, err := openDir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := makeDir(filepath.Clean(dir)); err != nil {
		return nil, err
	}
	return openDir(dir)
}

// checkFile returns an error unless info is of a private regular file. f is the
// opened file, or nil if it is not open yet.
func checkFile(path string, info fs.FileInfo, f *os.File) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return symlink(path)
	case !info.Mode().IsRegular():
		return insecure(path, "is not a regular file", "move it away")
	}
	return checkOwner(path, info, f)
}

func symlink(path string) error {
	return insecure(path, "is a symbolic link, which is not followed",
		"put the real file or directory in its place")
}

func insecure(path, problem, remedy string) error {
	return &Error{Path: path, Problem: problem, Remedy: remedy, Err: ErrInsecure}
}

// retryInUse repeats do for up to two seconds while it fails because another
// process has the file open. That happens only on Windows.
func retryInUse(do func() error) error {
	deadline := time.Now().Add(2 * time.Second)
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		err := do()
		if err == nil || !inUse(err) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(delay/2 + rand.N(delay))
	}
}

// syncDir flushes a directory, so that a rename or removal in it survives a power
// failure.
func syncDir(root *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be flushed there; NTFS journals the rename
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); !cannotSync(err) {
		return err
	}
	return nil
}
