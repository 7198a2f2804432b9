package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// File stores each value in its own encrypted file. It is the store for machines
// without a keychain. Several processes may use one directory at once. Make a
// File with [NewFile]. Every method of the zero File returns an error, because
// there is no key and no mode without encryption.
//
// The directory and its files are private: modes 0700 and 0600, owned by the
// user of the process, without links. If File finds something else, it returns
// ErrUnavailable with the command that corrects it. A value is replaced whole,
// and it is on the disk when Put returns. The values are sealed as by [Seal],
// which says what that protects against. Keys are part of the file names and are
// not encrypted.
//
// The locks need a file system that supports them. Some network file systems do
// not; Probe reports that.
//
// The methods are safe for concurrent use.
type File struct {
	dir    string // absolute
	sealed *Sealed
	err    error // why there is no dir
}

var (
	_ Store  = (*File)(nil)
	_ Lister = (*File)(nil)
	_ Prober = (*File)(nil)
	_ Shared = (*File)(nil)
)

// NewFile returns a File in the directory dir, sealed with key. It neither reads
// nor writes anything yet. The directory is made when it is first needed. A
// relative dir is relative to the working directory of this moment.
//
// If dir is empty, the directory is "sealed" in the directory of this module in
// the user's home: ~/.local/state/nativeoauth, on macOS
// ~/Library/Application Support/nativeoauth, on Windows
// AppData\Local\nativeoauth.
//
// If the home directory is not known or key is the zero Key, every method of the
// File returns an error that says so.
func NewFile(dir string, key Key) *File {
	f := &File{dir: dir}
	if dir == "" {
		f.dir, f.err = stateDir()
		f.dir = filepath.Join(f.dir, "sealed")
	}
	if f.err == nil {
		// From now on, a change of the working directory does not matter.
		f.dir, f.err = filepath.Abs(f.dir)
	}
	f.sealed = Seal(files{folder(f.dir)}, key)
	return f
}

// store returns the Sealed that does the work.
func (f *File) store() (*Sealed, error) {
	if f.sealed == nil {
		return nil, errors.New("tokenstore: the File has no key; make it with NewFile")
	}
	return f.sealed, f.err
}

// String returns a name of the store for messages: "file" and the directory.
func (f *File) String() string {
	if f.sealed == nil || f.err != nil {
		return "file"
	}
	return "file " + f.dir
}

// Get implements [Store]. It returns ErrWrongKey, ErrDamaged or ErrNewerFormat
// if the value cannot be opened.
func (f *File) Get(ctx context.Context, key string) ([]byte, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, key)
}

// Put implements [Store].
func (f *File) Put(ctx context.Context, key string, data []byte) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.Put(ctx, key, data)
}

// Delete implements [Store]. It needs no passphrase.
func (f *File) Delete(ctx context.Context, key string) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// List implements [Lister]. It needs no passphrase.
func (f *File) List(ctx context.Context, prefix string) ([]string, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	return s.List(ctx, prefix)
}

// Probe implements [Prober]. It makes and removes a file, takes and releases a
// lock, and prompts for the passphrase as [Sealed.Probe] does.
func (f *File) Probe(ctx context.Context) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.Probe(ctx)
}

// Lock implements [Shared] with a file lock.
func (f *File) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	s, err := f.store()
	if err != nil {
		return nil, nil, err
	}
	return s.Lock(ctx, key)
}

// ReadJournal implements [Shared].
func (f *File) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	return s.ReadJournal(ctx, key)
}

// WriteJournal implements [Shared]. The journal is not encrypted.
func (f *File) WriteJournal(ctx context.Context, key string, data []byte) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.WriteJournal(ctx, key, data)
}

// files stores values as they are. It is not exported, so that only a Sealed
// writes to it and no program keeps plaintext by mistake.
type files struct{ folder }

const sealedKind = "sealed"

func (f files) String() string { return "file " + string(f.folder) }

func (f files) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, err
	}
	data, err := securefile.ReadFile(f.file(key, sealedKind), maxPut+sealOverhead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return data, unavailable(err)
}

func (f files) Put(ctx context.Context, key string, data []byte) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	return unavailable(securefile.WriteFile(f.file(key, sealedKind), data))
}

func (f files) Delete(ctx context.Context, key string) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	return unavailable(securefile.Remove(f.file(key, sealedKind)))
}

func (f files) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys, err := f.keysOf(sealedKind)
	return startingWith(prefix, keys), unavailable(err)
}

// Probe does what a session will need: a write, a removal and a lock.
func (f files) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := securefile.Probe(string(f.folder)); err != nil {
		return unavailable(err)
	}
	unlock, ok, err := securefile.TryLock(filepath.Join(string(f.folder), "probe.lock"))
	if ok {
		err = unlock()
	}
	return unavailable(err)
}

func (f files) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	return f.lock(ctx, key)
}

func (f files) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	return f.readJournal(ctx, key)
}

func (f files) WriteJournal(ctx context.Context, key string, data []byte) error {
	return f.writeJournal(ctx, key, data)
}

// unavailable wraps an error of the file system in ErrUnavailable. The errors of
// this package and of an ended context stay as they are.
func unavailable(err error) error {
	for _, target := range []error{
		ErrUnavailable, ErrNotFound, context.Canceled, context.DeadlineExceeded,
	} {
		if err == nil || errors.Is(err, target) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
