// Package securefile reads, replaces and locks small private files.
//
// It is the floor under everything this module keeps on disk: sealed sessions, locks, the records beside them, the
// command's configuration. Its promises:
//
//   - The directory is a real directory of ours that nobody else may enter (0700); a file is a regular file of ours that
//     nobody else may read (0600), with one name. Anything else is refused with [ErrInsecure], never repaired in silence:
//     whoever loosened it may have read or planted what is there. The error names the path and the remedy.
//   - A replaced file is seen old or new, whole, by every reader and after every crash.
//   - A lock ends when its holder does, however it ends, and is never stolen.
//
// The directory and every file in it are reached through one handle ([os.Root]), so that nothing checked can be exchanged
// for something else before it is used. The directory's parents are not checked, and symbolic links among them are followed
// (macOS and FreeBSD put them on the way to every home): somebody who may write there can take the directory away, but what
// he puts in its place is not owned by us and is refused.
//
// Owner and mode do not exist on Windows: there a private directory is one inside the user's profile, whose access list
// keeps others out; links are refused there too. Extended access lists on macOS are not looked at. On Linux they show
// as group bits, and are refused.
package securefile

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrInsecure: a file or directory is not private, not ours or not what it should be. Nothing was read or written.
	ErrInsecure = errors.New("not private")
	// ErrTooLarge: a file is larger than the caller allows.
	ErrTooLarge = errors.New("too large")
	// ErrNoLocks: the file system cannot lock files.
	ErrNoLocks = errors.New("file locks do not work here")
)

// Error is a refusal: what is wrong with which path, and what to do. It wraps [ErrInsecure], [ErrTooLarge] or [ErrNoLocks].
type Error struct {
	Path    string
	Problem string // "mode is 0644, so that others may read it"
	Remedy  string // "chmod 600 …"
	Err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: %s: %s; %s", e.Err, Quote(e.Path), e.Problem, e.Remedy)
}

func (e *Error) Unwrap() error { return e.Err }

// Quote returns path in double quotes for a person to copy: as it is (%q doubles the backslashes of Windows), unless it holds
// what a terminal would act on.
func Quote(path string) string {
	for _, r := range path {
		if !strconv.IsPrint(r) || r == '"' || r == utf8.RuneError {
			return strconv.Quote(path)
		}
	}
	return `"` + path + `"`
}

// EnsureDir makes dir, and its parents where they are missing, with mode 0700; what exists already is checked and left as it is.
func EnsureDir(dir string) error {
	root, err := ensureDir(dir)
	if err != nil {
		return err
	}
	return root.Close()
}

// ReadFile returns the contents of the file at path, at most max bytes. [fs.ErrNotExist]: there is no such file, or no directory.
func ReadFile(path string, max int) ([]byte, error) {
	return read(path, max, openDir)
}

// ReadGiven is [ReadFile] for a file whose place is the user's choice, such as a key: its directory may be open to others,
// and another's. Who may write there can take the file away; he cannot put in its place one that we own and nobody else may read.
func ReadGiven(path string, max int) ([]byte, error) {
	return read(path, max, os.OpenRoot)
}

func read(path string, max int, open func(dir string) (*os.Root, error)) ([]byte, error) {
	root, name, err := openParent(path, open)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var data []byte
	err = persist(func() error {
		data, err = readFile(root, name, path, max)
		return err
	})
	return data, err
}

func readFile(root *os.Root, name, path string, max int) ([]byte, error) {
	// Looked at before opening as well, for opening a device can have effects.
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if err := checkFile(path, before, nil); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// What counts is the opened file. A root follows links, though never out of its directory, hence the second look at
	// the name; that it may be another file by now is no fault: a writer has replaced it, and we read the old one, whole.
	if err := checkFile(path, info, f); err != nil {
		return nil, err
	}
	if after, err := root.Lstat(name); err == nil && after.Mode()&fs.ModeSymlink != 0 {
		return nil, symlink(path)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > max {
		return nil, &Error{path, fmt.Sprintf("larger than %d bytes", max), "it was not written by this program; move it away", ErrTooLarge}
	}
	return data, nil
}

// WriteFile makes data the contents of the file at path, replacing what has that name, and makes its directory like
// [EnsureDir]. On nil the new contents survive a power failure. On an error the old contents may still be there, or
// (if only the directory could not be flushed) the new.
func WriteFile(path string, data []byte) error {
	for try := 0; ; try++ {
		err := write(path, data)
		if try == 2 || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// The directory went away; or the temporary file did, because this process slept for so long, suspended, that
		// another took it for a dead one's.
	}
}

func write(path string, data []byte) error {
	root, name, err := openParent(path, ensureDir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	sweep(root, time.Now())
	return replace(root, name, data)
}

// Probe reports whether files can be made in dir, which is made where it is missing. It leaves nothing, and waits for no disk.
func Probe(dir string) error {
	root, err := ensureDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
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

// create makes a temporary file.
func create(root *os.Root) (f *os.File, name string, err error) {
	name = tempPrefix + strings.ToLower(crand.Text())
	f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		err = fmt.Errorf("%s cannot be written to (%w): let this user write there, make room, or name another directory", Quote(root.Name()), err)
	}
	return f, name, err
}

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
	// Never remove, then rename: a crash between the two would leave neither.
	if err = persist(func() error { return root.Rename(temp, name) }); err != nil {
		return err
	}
	return syncDir(root)
}

// Remove deletes the file at path, durably. That there is none is no error.
func Remove(path string) error {
	root, name, err := openParent(path, openDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	err = persist(func() error { return remove(root, name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(root)
}

// List returns the names in dir, without the temporary files of [WriteFile]. A directory that does not exist has none.
func List(dir string) ([]string, error) {
	root, err := openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	all, err := names(root)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, name := range all {
		if !strings.HasPrefix(name, tempPrefix) {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

const (
	tempPrefix = ".tmp-"
	// No write takes so long, save in a process that is suspended, and that one writes anew.
	tempLife = time.Hour
)

// sweep removes what crashed writers left. It fails in silence: a leftover is litter, not an error.
func sweep(root *os.Root, now time.Time) {
	all, err := names(root)
	if err != nil {
		return
	}
	for _, name := range all {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		if info, err := root.Lstat(name); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > tempLife {
			_ = remove(root, name)
		}
	}
}

func names(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

func openParent(path string, open func(string) (*os.Root, error)) (root *os.Root, name string, err error) {
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

// openDir opens a directory that is ours alone.
func openDir(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, fmt.Errorf("no directory is named: %w", fs.ErrInvalid)
	}
	dir = filepath.Clean(dir) // "link/" would be followed
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
		err = insecure(dir, "was exchanged while it was opened", "find out who may write to its parent directory")
	default:
		err = checkOwner(dir, opened, nil)
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

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

// makeDir is os.MkdirAll that flushes each parent, without which a power failure could take the whole new directory.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return err
		}
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if parent, err := os.OpenRoot(filepath.Dir(dir)); err == nil {
		_ = syncDir(parent) // it may be a directory that we may not read
		_ = parent.Close()
	}
	return nil
}

// checkFile refuses all but a private regular file. f is the opened file, nil if it is not open yet.
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
	return insecure(path, "is a symbolic link, which is not followed", "put the real file or directory in its place")
}

func insecure(path, problem, remedy string) error {
	return &Error{Path: path, Problem: problem, Remedy: remedy, Err: ErrInsecure}
}

// persist repeats what fails only because another process has the file open just now; that is so on Windows alone.
func persist(do func() error) error {
	deadline := time.Now().Add(2 * time.Second)
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		err := do()
		if err == nil || !inUse(err) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(delay/2 + rand.N(delay))
	}
}

// syncDir makes a rename or removal in the directory durable.
func syncDir(root *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be flushed there; NTFS journals the rename
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil && !cannotSync(err) {
		return err
	}
	return nil
}
