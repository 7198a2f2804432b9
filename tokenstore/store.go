// Package tokenstore keeps the sessions of a native program: small values under short names, in the place that
// the operating system has for secrets, or where that cannot be, in a sealed file, or in memory.
//
//	store := &tokenstore.Keyring{}                    // the OS keychain, ready as it is
//	err := store.Put(ctx, "example.com-my-cli", data) // whole or nothing, durable on nil
//
// # Which store
//
// [Keyring] is the keychain: macOS Keychain, Windows Credential Manager, or the Secret Service of Linux and the BSDs.
// [File] is for a machine without one: a file sealed with a passphrase or a [Key] that the caller brings. [Memory]
// forgets at exit. [Seal] makes any Store keep ciphertext only. [Chooser] takes the first store that works and
// remembers which, so that a session is never looked for in two places. Nothing here falls back to plaintext.
//
// # A store of your own
//
// Implement [Store]. Add [Locker] if more than one client uses it, in one process or in several: without a lock two of
// them refresh one session at once, which providers that rotate refresh tokens punish by ending it. Add [Lister] if the
// program lists accounts, [Prober] if it can be told before a login that nothing can be kept, [Recorder] if the store has
// a cheaper place than itself for records without secrets. Package storetest holds a store to everything this package
// promises.
package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// Limits that every Store keeps.
const (
	MaxKey  = 128     // bytes of a key
	MaxData = 1 << 20 // bytes of a value
)

// What a caller decides on. They come wrapped, with the cause and the remedy in the text: match them with [errors.Is].
var (
	// ErrNotFound: the store was read, and there is no such value. A store that could not be read never says so.
	ErrNotFound = errors.New("tokenstore: not found")
	// ErrUnavailable: there is no such store here, or it does not answer, or it cannot be written to.
	ErrUnavailable = errors.New("tokenstore: the store is unavailable")
	// ErrLocked: the store is there, and a person has to unlock it.
	ErrLocked = errors.New("tokenstore: the store is locked")
	// ErrBusy: an earlier call on the same store has not returned, so nothing new was sent. Try again later.
	ErrBusy = errors.New("tokenstore: the store is busy")
	// ErrWrongKey: the value is there and cannot be opened: another key or passphrase sealed it, it was altered, or a part of it is lost.
	ErrWrongKey = errors.New("tokenstore: wrong key")
	// ErrDamaged is the ErrWrongKey, which it matches too, that no key cures: the value was altered, or a part of it is lost. Storing it
	// anew helps.
	ErrDamaged error = damaged{}
)

type damaged struct{}

func (damaged) Error() string { return "tokenstore: the value is damaged" }

func (damaged) Is(target error) bool { return target == ErrWrongKey }

// Store keeps values under keys. All methods are safe for concurrent use, by several processes too where the store
// outlives one.
//
// A key is 1 to 128 bytes of [a-z0-9.-] (see [CheckKey]); another is refused with an error. A value is any bytes, up to
// [MaxData], to which a store allows 1 KiB more, so that a wrapper such as [Seal] can add to it; nil is the empty value.
// Errors never carry a value.
//
// Every method returns soon after ctx ends, with an error that matches ctx's. What a Put or Delete has already sent may
// outlive it: see [Pending].
type Store interface {
	// Get returns the value last put under key, as a slice of the caller's own, not nil when the value is empty.
	// ErrNotFound: there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores data, whole or not at all, over whatever key held; a reader sees the old value or the new one.
	// nil means stored, durably. Put keeps no reference to data. On an error that is not a
	// *[Pending] either value may be there, and no further change is coming.
	Put(ctx context.Context, key string, data []byte) error
	// Delete removes the value. There being none is nil.
	Delete(ctx context.Context, key string) error
}

// Pending is the error of a Put or Delete that was given up on while a call that it made is still running somewhere:
// a keychain that hangs cannot be called off. Until Done is closed the change may still happen, at any moment, over
// whatever was stored meanwhile; afterwards it has happened or never will, and Get tells which.
//
//	var p *tokenstore.Pending
//	if errors.As(err, &p) {
//		<-p.Done // keep the key's lock until here
//	}
//
// Done may never be closed while the process lives: whoever waits bounds the wait, and does not give back the lock
// before its own process exits. A store that cannot outlive its calls never returns a Pending; a Store that wraps
// another passes it on with %w.
type Pending struct {
	Err  error           // why the wait ended: matches ErrUnavailable, ErrLocked, or ctx's error
	Done <-chan struct{} // closed when the call has returned
}

// Error implements error.
func (p *Pending) Error() string {
	return p.Err.Error() + " (the call has not returned; it may still take effect)"
}

// Unwrap returns Err.
func (p *Pending) Unwrap() error { return p.Err }

// Lister is a Store that can tell its keys. A wrapper whose inner store lacks it returns [errors.ErrUnsupported],
// which counts as not having it; so it is with Locker, Prober and Recorder.
type Lister interface {
	// List returns the keys that start with prefix ("": all), sorted. It reads no secret. A key whose Put or Delete
	// was cut short may be listed without having a value; a value that was put and not deleted is listed.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Locker is a Store that processes can share: holders of one key's lock exclude each other, over handles and processes.
// A store without it is for one client in one process, which keeps its own calls apart and knows of no other. The locks
// bind nobody who does not ask for them: Get and Put do not.
type Locker interface {
	// Lock waits until the lock is the caller's or ctx ends, and then returns an error that matches ctx's.
	// Key locks are independent of each other, and of whether the key has a value.
	//
	// held carries ctx's values, outlives ctx, and ends when the lock is given back or lost (a lease that ran out):
	// work that the lock guards runs under held. unlock gives the lock back; later calls do nothing and return nil.
	// A process that dies gives back its locks.
	Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error)
}

// Prober is a Store that can tell whether it works before anybody depends on it.
type Prober interface {
	// Probe returns nil where a Put would work now, else the error that Put would give. It stores nothing.
	Probe(ctx context.Context) error
}

// Recorder is a Store that keeps beside its locks one small record per key: what processes that take turns on a key
// tell each other about it. A record holds no secret and is independent of the key's value. Only the holder
// of the key's lock writes it; anyone reads it. Records of a Store without Recorder are kept as values of their own.
type Recorder interface {
	// ReadRecord returns the record last written. ErrNotFound: there is none.
	ReadRecord(ctx context.Context, key string) ([]byte, error)
	// WriteRecord replaces the record, whole or not at all; it is durable on nil. nil data is the empty record.
	WriteRecord(ctx context.Context, key string, data []byte) error
}

// CheckKey returns an error unless key is one that every Store takes: 1 to 128 bytes of [a-z0-9.-]. So a key is the
// same on every system's keychain and file system, and cannot be more than a name there.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("tokenstore: a key has 1 to %d bytes, this one %d", MaxKey, len(key))
	}
	if !plainName(key) {
		return errors.New("tokenstore: a key consists of a-z, 0-9, '.' and '-' only; hash or encode what does not fit")
	}
	return nil
}

// plainName reports whether s is of [a-z0-9.-] only.
func plainName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// checkCall is what every method of every store here asks before it does anything.
func checkCall(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// maxPut is what a store takes: a value, and what wrappers add.
const maxPut = MaxData + 1<<10

// checkData refuses a value that is too large for Put.
func checkData(data []byte) error {
	if len(data) > maxPut {
		return fmt.Errorf("tokenstore: a value has at most %d bytes, this one %d", MaxData, len(data))
	}
	return nil
}
