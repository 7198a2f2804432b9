package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// File is a Store of sealed files, one a value, for machines without a keychain, and several processes. There is no plaintext
// mode: without a Key everything is an error.
//
// Files and directory are private (0600, 0700, owned by the process's user, no links); what is found otherwise is
// refused with ErrUnavailable, and the error names the remedy. A value is replaced whole, and is on the disk when Put
// returns. Values are sealed as by [Seal], whose text says what that protects from; the names are in clear, as file names.
//
// The locks need a file system that has them: some network ones do not, which Probe reports.
//
// Set the fields before the first use and leave them; do not copy a File after it. Its methods are safe for concurrent use.
type File struct {
	// Dir is the directory, made when missing; "" is "sealed" in nativeoauth's directory in the user's home
	// (~/.local/state/nativeoauth; macOS: ~/Library/Application Support/nativeoauth; Windows: AppData\Local\nativeoauth).
	Dir string
	// Key seals. The zero Key is an error at the first Probe or use.
	Key Key

	once   sync.Once
	dir    string
	sealed *Sealed
	err    error
}

var (
	_ Store    = (*File)(nil)
	_ Lister   = (*File)(nil)
	_ Locker   = (*File)(nil)
	_ Prober   = (*File)(nil)
	_ Recorder = (*File)(nil)
)

func (f *File) store() (*Sealed, error) {
	f.once.Do(func() {
		if f.dir = f.Dir; f.dir == "" {
			f.dir, f.err = stateDir()
			f.dir = filepath.Join(f.dir, "sealed")
		}
		if f.err == nil { // a later change of the working directory moves nothing
			f.dir, f.err = filepath.Abs(f.dir)
		}
		f.sealed = Seal(files{folder(f.dir)}, f.Key)
	})
	return f.sealed, f.err
}

// String names the store for a person: "file" and the directory.
func (f *File) String() string {
	if _, err := f.store(); err != nil {
		return "file"
	}
	return "file " + f.dir
}

// Get implements [Store]. ErrWrongKey: the value is there and does not open. ErrNewerFormat: a newer version sealed it.
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

// Delete implements [Store].
func (f *File) Delete(ctx context.Context, key string) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// List implements [Lister].
func (f *File) List(ctx context.Context, prefix string) ([]string, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	return s.List(ctx, prefix)
}

// Lock implements [Locker].
func (f *File) Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error) {
	s, err := f.store()
	if err != nil {
		return nil, nil, err
	}
	return s.Lock(ctx, key)
}

// Probe implements [Prober]: it makes a file and removes it, tries a lock, and asks for the passphrase (see [Sealed.Probe]).
func (f *File) Probe(ctx context.Context) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.Probe(ctx)
}

// ReadRecord implements [Recorder].
func (f *File) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	s, err := f.store()
	if err != nil {
		return nil, err
	}
	return s.ReadRecord(ctx, key)
}

// WriteRecord implements [Recorder].
func (f *File) WriteRecord(ctx context.Context, key string, data []byte) error {
	s, err := f.store()
	if err != nil {
		return err
	}
	return s.WriteRecord(ctx, key, data)
}

// files keeps what it is given as it is. It stays inside this package: only a Sealed writes to it.
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

func (f files) Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error) {
	return f.lock(ctx, key)
}

// Probe does what a session will do: a write, a removal, a lock.
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

func (f files) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	return f.readRecord(ctx, key)
}

func (f files) WriteRecord(ctx context.Context, key string, data []byte) error {
	return f.writeRecord(ctx, key, data)
}

// unavailable makes of a file system's error one that says what it means to the caller. A ctx that ended stays that.
func unavailable(err error) error {
	for _, target := range []error{ErrUnavailable, ErrNotFound, context.Canceled, context.DeadlineExceeded} {
		if err == nil || errors.Is(err, target) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
