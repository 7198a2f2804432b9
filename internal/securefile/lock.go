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

// Lock takes the exclusive lock at path, waiting for it until ctx ends; then the error wraps ctx's and says that the lock is held.
//
// The lock is flock on Unix and LockFileEx on Windows, on a file that stays: deleting lock files loses locks. It holds against
// other processes and other calls in this one, and ends at unlock, or with the process, however that ends. unlock may be
// called again; only the first call counts. [ErrNoLocks]: the file system has none, as some network ones.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
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
		held, err := attempt(path)
		if err != nil {
			local.give(path)
			return nil, err
		}
		if held != nil {
			return release(held, path), nil
		}
		// Jitter, so that processes that began together do not go on asking together.
		timer := time.NewTimer(delay/2 + rand.N(delay))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			local.give(path)
			return nil, busy(path, ctx.Err())
		}
	}
}

// TryLock is [Lock] without waiting; ok is false while another holds the lock.
func TryLock(path string) (unlock func() error, ok bool, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, false, err
	}
	if !local.try(path) {
		return nil, false, nil
	}
	held, err := attempt(path)
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

// attempt asks once; nil means that another holds the lock. Each attempt has a flock of its own, for one that is
// locked answers a second Lock at once with yes.
func attempt(path string) (*flock.Flock, error) {
	for range 100 {
		held, again, err := attemptOnce(path)
		if !again {
			return held, err
		}
	}
	return nil, fmt.Errorf("the lock file %s is deleted again and again: something removes it; lock files must stay", Quote(path))
}

func attemptOnce(path string) (held *flock.Flock, again bool, err error) {
	root, name, err := openParent(path, ensureDir)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		// Made here, not by flock: exclusively, so through no link, and in the directory that was checked.
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

	held = flock.New(path, flock.SetFlag(os.O_RDWR|nofollow|nonblock)) // NFS grants an exclusive lock on a writable file only
	var ok bool
	err = persist(func() error { ok, err = held.TryLock(); return err })
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

// hasName reports whether the locked file is still the one of that name, and private. If it is not, the lock locks nothing: the
// next process locks the new one.
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
		return &Error{path, err.Error(), "it is probably on a network file system (NFS, SMB): keep the directory on a local disk", ErrNoLocks}
	}
	return err
}

// local holds who in this process has or awaits which lock. It is state of the process because the thing it stands for is:
// goroutines queue here in order, and one of them at a time polls the file. Correctness does not hang on it: two spellings
// of one path meet at the file.
var local queue

type queue struct {
	mu    sync.Mutex
	paths map[string]*turn
}

type turn struct {
	taken chan struct{} // holds one element while somebody has the turn
	users int           // who has it or awaits it
}

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

func (q *queue) take(ctx context.Context, path string) bool {
	select {
	case q.enter(path).taken <- struct{}{}:
		return true
	case <-ctx.Done():
		q.leave(path, false)
		return false
	}
}

func (q *queue) try(path string) bool {
	select {
	case q.enter(path).taken <- struct{}{}:
		return true
	default:
		q.leave(path, false)
		return false
	}
}

func (q *queue) give(path string) { q.leave(path, true) }
