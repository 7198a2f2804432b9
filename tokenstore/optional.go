package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// The interfaces below are optional. A caller uses a type assertion to learn
// whether a Store has them. A wrapper has their methods in any case and returns
// [errors.ErrUnsupported] if the store inside lacks them. A caller treats that
// error as if the interface were missing.

// Lister is a Store that knows its keys.
type Lister interface {
	// List returns the keys that begin with prefix, sorted. The empty prefix
	// selects all keys. List reads no secret. A value that was put and not deleted
	// is listed. After a Put or Delete that failed, its key may be listed without
	// a value.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Prober is a Store that can test itself.
type Prober interface {
	// Probe returns nil if a Put would work now. Otherwise it returns the error
	// that Put would return. It changes no value and adds nothing to List. It may
	// prompt the user to unlock the store.
	Probe(ctx context.Context) error
}

// Prompter is a Store that may prompt the user, as a keychain does. Without it, a
// caller assumes that the store never does.
type Prompter interface {
	// Prompts reports whether a Get, and whether a Put, would prompt the user now.
	// It shows no prompt itself. If it cannot tell, it returns false.
	//
	// Work that nobody waits for uses it, so that no prompt appears while the user
	// does something else. Work that cannot be repeated uses it to get the
	// user's consent first.
	Prompts(ctx context.Context) (get, put bool, err error)
}

// Shared is a Store that several clients can use at once, in one process or in
// many. They take turns on a key under its lock, and tell each other through its
// journal what they are doing. Without both, two clients refresh one session at
// the same time, and an authorization server that rotates refresh tokens then
// ends the session (RFC 9700, section 4.14.2).
//
// A store without Shared is for one client in one process. The client then keeps
// the lock in memory and the journal as a value of its own.
//
// The lock and the journal of a key are independent of its value: they work if
// there is none. The lock is advisory. Get, Put and Delete do not wait for it.
type Shared interface {
	// Lock waits until the caller has the lock of key. It returns an error that
	// matches ctx.Err() if ctx ends before that. No two callers have the lock of
	// one key at once, whether in one process or in several. The locks of
	// different keys are independent.
	//
	// The work under the lock runs with the context held. It carries the values
	// of ctx and does not end with ctx. It ends when the lock is released, or is
	// lost because a lease ran out.
	//
	// The function unlock releases the lock. Calling it again does nothing and
	// returns nil. A process that dies releases its locks.
	Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error)

	// ReadJournal returns the journal of key as it was last written. Nobody needs
	// the lock to read it. The slice belongs to the caller and is not nil if the
	// error is nil. The error matches ErrNotFound if there is no journal.
	ReadJournal(ctx context.Context, key string) ([]byte, error)

	// WriteJournal replaces the journal of key. Only the holder of the lock calls
	// it, and ctx is held or is derived from held. The journal contains no
	// secrets. The rules of Put hold: the change is atomic, it is durable if the
	// error is nil, and nil data is the empty journal.
	WriteJournal(ctx context.Context, key string, data []byte) error
}

// list, probe, prompts, lock, readJournal and writeJournal call the optional methods of
// any Store, for wrappers.

func list(ctx context.Context, s Store, prefix string) ([]string, error) {
	if s, ok := s.(Lister); ok {
		return s.List(ctx, prefix)
	}
	return nil, unsupported(s, "list its keys")
}

func probe(ctx context.Context, s Store) error {
	if s, ok := s.(Prober); ok {
		return s.Probe(ctx)
	}
	return unsupported(s, "be probed")
}

func prompts(ctx context.Context, s Store) (get, put bool, err error) {
	if s, ok := s.(Prompter); ok {
		return s.Prompts(ctx)
	}
	return false, false, unsupported(s, "tell whether it prompts")
}

func lock(
	ctx context.Context, s Store, key string,
) (held context.Context, unlock func() error, err error) {
	if s, ok := s.(Shared); ok {
		return s.Lock(ctx, key)
	}
	return nil, nil, unsupported(s, "be shared")
}

func readJournal(ctx context.Context, s Store, key string) ([]byte, error) {
	if s, ok := s.(Shared); ok {
		return s.ReadJournal(ctx, key)
	}
	return nil, unsupported(s, "be shared")
}

func writeJournal(ctx context.Context, s Store, key string, data []byte) error {
	if s, ok := s.(Shared); ok {
		return s.WriteJournal(ctx, key, data)
	}
	return unsupported(s, "be shared")
}

func unsupported(s Store, what string) error {
	return fmt.Errorf("tokenstore: %s cannot %s: %w", nameOf(s), what, errors.ErrUnsupported)
}

// nameOf returns the name of a store for messages.
func nameOf(s Store) string {
	if s, ok := s.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", s)
}
