package securefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Lock takes the exclusive lock at path. It waits until ctx ends; the error then
// wraps ctx's and says that the lock is held. If the file system has no locks, as
// some network file systems, the error matches [ErrNoLocks].
//
// The lock is flock on Unix and LockFileEx on Windows. It excludes other
// processes, and other calls in this one. It ends with unlock, or with the
// process, however that ends. unlock may be called again and from any goroutine;
// only the first call has an effect.
//
// The file stays after unlock. Deleting it would let two processes hold a lock at
// the same time: one on the deleted file, one on a new file of the same name.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	return lockIn(ctx, path, ensureDir)
}

// LockTrusted is like [Lock], for the changes of a file that [WriteTrusted] writes.
// The lock lies beside the file that path names, with the suffix ".lock".
func LockTrusted(ctx context.Context, path string) (unlock func() error, err error) {
	if path, err = follow(path); err != nil {
		return nil, err
	}
	return lockIn(ctx, path+".lock", ensureTrusted)
}

func lockIn(
	ctx context.Context, path string, open func(dir string) (*os.Root, error),
) (unlock func() error, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, busy(path, err)
	}
	if !local.take(ctx, path) {
		return nil, busy(path, ctx.Err())
	}
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		held, err := attempt(path, open)
		if err != nil {
			local.give(path)
			return nil, err
		}
		if held != nil {
			return release(held, path), nil
		}
		// Random delays spread out processes that began at the same time.
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-ctx.Done():
			local.give(path)
			return nil, busy(path, ctx.Err())
		}
	}
}

// TryLock is like [Lock] but does not wait. If another process or goroutine holds
// the lock, ok is false and err is nil.
func TryLock(path string) (unlock func() error, ok bool, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, false, err
	}
	if !local.try(path) {
		return nil, false, nil
	}
	held, err := attempt(path, ensureDir)
	if held == nil {
		local.give(path)
		return nil, false, err
	}
	return release(held, path), true, nil
}

func busy(path string, err error) error {
	return fmt.Errorf("the lock %s is held by another process: %w", Quote(path), err)
}

func release(held *flock.Flock, path string) func() error {
	return sync.OnceValue(func() error {
		defer local.give(path)
		return held.Unlock()
	})
}

// attempt tries once to take the lock. It returns nil and no error if another
// process holds it. Each attempt makes a new flock.Flock, because one that is
// locked already reports success to a second caller.
func attempt(path string, open func(dir string) (*os.Root, error)) (*flock.Flock, error) {
	for range 100 {
		held, again, err := attemptOnce(path, open)
		if !again {
			return held, err
		}
	}
	return nil, fmt.Errorf("the lock file %s is deleted again and again: "+
		"something removes it; lock files must stay", Quote(path))
}

// attemptOnce is one round of attempt. again means that the file was created or
// deleted in the meantime, and the next round may succeed.
func attemptOnce(
	path string, open func(dir string) (*os.Root, error),
) (held *flock.Flock, again bool, err error) {
	root, name, err := openParent(path, open)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		// Create the file here and not in flock: with O_EXCL, which follows no
		// link, and in the directory that was checked.
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = f.Close()
		}
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err == nil, err
	}
	if err != nil {
		return nil, false, err
	}
	if err := checkFile(path, info, nil); err != nil {
		return nil, false, err
	}

	// NFS grants an exclusive lock only on a file that is open for writing.
	held = flock.New(path, flock.SetFlag(os.O_RDWR|nofollow|nonblock))
	var ok bool
	err = retryInUse(func() error { ok, err = held.TryLock(); return err })
	switch {
	case err == nil && !ok, interrupted(err):
		return nil, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, true, nil
	case err != nil:
		return nil, false, lockError(path, err)
	}
	named, err := hasName(held, root, name)
	if err == nil && named {
		return held, false, nil
	}
	if e := held.Unlock(); err == nil {
		err = e
	}
	return nil, err == nil, err
}

// hasName reports whether the locked file is still the one with that name, and
// private. If it is not, the lock protects nothing: the next process locks the new
// file.
func hasName(held *flock.Flock, root *os.Root, name string) (bool, error) {
	locked, err := held.Stat()
	if err != nil {
		return false, err
	}
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(locked, info), checkFile(held.Path(), locked, nil)
}

func lockError(path string, err error) error {
	switch {
	case refusedLink(err):
		return symlink(path)
	case lacksLocks(err):
		return &Error{path, err.Error(), "it is probably on a network file system (NFS, SMB): " +
			"keep the directory on a local disk", ErrNoLocks}
	}
	return err
}

// local lets the goroutines of this process queue for a lock in order, so that
// only one of them at a time polls the file. It is a global variable because the
// locks belong to the whole process. The locks are correct without it: two
// spellings of one path meet at the file.
var local queue

type queue struct {
	mu    sync.Mutex
	paths map[string]*turn
}

// turn is the right to poll the lock file of one path.
type turn struct {
	taken chan struct{} // of capacity 1; full while a goroutine has the turn
	users int           // goroutines that have the turn or wait for it
}

// enter counts the caller as a user of path's turn.
func (q *queue) enter(path string) *turn {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.paths[path]
	if t == nil {
		if q.paths == nil {
			q.paths = map[string]*turn{}
		}
		t = &turn{taken: make(chan struct{}, 1)}
		q.paths[path] = t
	}
	t.users++
	return t
}

// leave undoes enter. had says that the caller has the turn, which it gives up.
func (q *queue) leave(path string, had bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.paths[path]
	if had {
		<-t.taken
	}
	if t.users--; t.users == 0 {
		delete(q.paths, path)
	}
}

// take waits for the turn, and reports false if ctx ends first.
func (q *queue) take(ctx context.Context, path string) bool {
	select {
	case q.enter(path).taken <- struct{}{}:
		return true
	case <-ctx.Done():
		q.leave(path, false)
		return false
	}
}

// try takes the turn if no goroutine has it.
func (q *queue) try(path string) bool {
	select {
	case q.enter(path).taken <- struct{}{}:
		return true
	default:
		q.leave(path, false)
		return false
	}
}

// give gives up the turn.
func (q *queue) give(path string) { q.leave(path, true) }
