package tokenstore

import "errors"

// The errors that a caller decides on. They are returned wrapped, with the cause
// and a remedy in the text. Use [errors.Is] to match them.
var (
	// ErrNotFound means that the store was read and has no such value. A store
	// that could not be read returns another error.
	ErrNotFound = errors.New("tokenstore: not found")
	// ErrUnavailable means that the store is missing, does not answer, or cannot
	// be written.
	ErrUnavailable = errors.New("tokenstore: the store is unavailable")
	// ErrLocked means that the store is there and the user has to unlock it.
	ErrLocked = errors.New("tokenstore: the store is locked")
	// ErrDismissed means that the user was prompted to unlock or to confirm, and
	// dismissed the prompt or did not answer it. A caller that has not been told
	// to try again waits a while before it prompts again. It also matches
	// ErrLocked.
	ErrDismissed error = dismissedError{}
	// ErrBusy means that an earlier call on the same store has not returned.
	// Nothing was sent. The call may be repeated later.
	ErrBusy = errors.New("tokenstore: the store is busy")
	// ErrWrongKey means that the value is there and cannot be opened. Another key
	// or passphrase sealed it, or it is damaged.
	ErrWrongKey = errors.New("tokenstore: wrong key")
	// ErrDamaged means that the value was altered or that a part of it is lost.
	// No key opens it, and a new Put replaces it. It also matches ErrWrongKey.
	ErrDamaged error = damagedError{}
	// ErrNewerFormat means that a newer version of this module sealed the value.
	// The value is intact. An update of the program opens it.
	ErrNewerFormat = errors.New("tokenstore: sealed by a newer version")
)

type damagedError struct{}

func (damagedError) Error() string { return "tokenstore: the value is damaged" }

func (damagedError) Is(target error) bool { return target == ErrWrongKey }

type dismissedError struct{}

func (dismissedError) Error() string { return ErrLocked.Error() }

func (dismissedError) Is(target error) bool { return target == ErrLocked }

// Pending is the error of a Put or Delete that ended while a request that it
// made is still running. A keychain that hangs cannot be interrupted. Until Done
// is closed, the change may still happen at any moment, and it may replace what
// was stored in the meantime. After Done is closed, the change has happened or
// never will. Get then tells which.
//
//	var pending *tokenstore.Pending
//	if errors.As(err, &pending) {
//		<-pending.Done // keep the key's lock until here
//	}
//
// Done may stay open as long as the process lives, so a caller limits its wait.
// A caller that gives up does not release the key's lock before its process
// exits.
//
// A store that never leaves a request behind never returns a Pending. A store
// that wraps another store passes it on with %w.
type Pending struct {
	// Err is the reason why the wait ended. It matches ErrUnavailable, ErrLocked
	// or the error of the context. It is not nil.
	Err error
	// Done is closed when the request has ended. It is not nil.
	Done <-chan struct{}
}

// Error returns the text of p.Err and says that the change may still happen.
func (p *Pending) Error() string {
	return p.Err.Error() + " (the call has not returned; it may still take effect)"
}

// Unwrap returns p.Err.
func (p *Pending) Unwrap() error { return p.Err }

// elsewhere ends the errors that a File would avoid.
const elsewhere = "; or keep the session in a sealed file"
