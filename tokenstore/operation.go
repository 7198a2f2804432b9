package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// operation is one call of a [Keyring] method. It has a turn in the queue, a
// deadline, and an open keychain. Every call to the keychain goes through it.
type operation struct {
	*turn
	ctx     context.Context // ends if the caller's does or the time is up
	cancel  context.CancelCauseFunc
	service string
	files   folder
	keychain
	keyring *Keyring
	patient bool         // the time is up later if the keychain shows a prompt
	bound   atomic.Int64 // the time.Duration after which the time is up
	calling atomic.Bool  // a call to the keychain goes on, which may prompt
	prompt  atomic.Bool  // the call waits, or may wait, for the user
	told    atomic.Bool  // OnPrompt was called
}

// errTimeUp is the cause of the end of an operation's ctx if the caller's ctx
// goes on.
var errTimeUp = errors.New("time is up")

// begin waits for its turn and opens the keychain. go-keyring must not be called
// before that: without a keychain it would start a session bus of its own, or
// wait for ever, or return an error that nobody can interpret. The caller calls
// end.
func (k *Keyring) begin(ctx context.Context) (*operation, error) {
	files, service, err := k.location()
	if err != nil {
		return nil, err
	}
	turn, err := k.queue.wait(ctx)
	if err != nil {
		return nil, err
	}
	op := &operation{
		turn: turn, service: service, files: files, keyring: k, patient: k.Timeout <= 0,
	}
	bound := k.Timeout
	if op.patient {
		bound = unattended
	}
	op.bound.Store(int64(bound))
	op.ctx, op.cancel = context.WithCancelCause(ctx)
	limit := time.AfterFunc(bound, func() { op.cancel(errTimeUp) })
	started := time.Now()
	if err := op.open(); err != nil {
		limit.Stop()
		op.end()
		return nil, err
	}
	op.prompt.Store(op.prompts)
	if op.patient && limit.Stop() {
		go op.keepTime(started)
	} else {
		context.AfterFunc(op.ctx, func() { limit.Stop() })
	}
	return op, nil
}

// keepTime ends op when its time is up: after the time of an unattended call, or
// after the time that a user needs if the keychain shows a prompt. A call that is
// given up while the user reads the prompt loses what it was to store.
func (op *operation) keepTime(started time.Time) {
	wait := func(bound time.Duration) (over bool) {
		op.bound.Store(int64(bound))
		timer := time.NewTimer(time.Until(started.Add(bound)))
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-op.ctx.Done():
			return false
		}
	}
	if !op.prompt.Load() {
		if !wait(unattended) {
			return
		}
		if !op.calling.Load() || !op.answers(op.ctx) {
			op.cancel(errTimeUp)
			return
		}
		op.prompt.Store(true)
		op.tell()
	} else if op.locked {
		// A prompt that cannot be shown fails at once, and there is nothing to say.
		if !wait(shown) {
			return
		}
		if op.calling.Load() {
			op.tell()
		}
	}
	if wait(attended) {
		op.cancel(errTimeUp)
	}
}

// tell tells the program that the call waits for the user.
func (op *operation) tell() {
	if op.keyring.OnPrompt != nil && !op.told.Swap(true) {
		op.keyring.OnPrompt()
	}
}

// end closes the keychain and ends the turn. If a call is still running, the turn
// ends after it.
func (op *operation) end() {
	op.cancel(context.Canceled)
	op.close()
	op.leave()
}

// open opens the keychain. It may have to start the service, so it is a call with a
// deadline like any other.
func (op *operation) open() error {
	// The closure must not write to op, which may have ended when it returns.
	var found keychain
	opening, files := op.ctx, op.files
	err := op.brief(func() (err error) { found, err = openKeychain(opening, files); return err })
	if err == nil {
		op.keychain = found
	}
	return err
}

// brief runs a call that ends by itself soon after op's time is up, which the
// calls of go-keyring do not. It waits 200 ms longer for that, so that the queue
// does not get stuck without need.
func (op *operation) brief(f func() error) error {
	waiting, stop := context.WithCancel(context.WithoutCancel(op.ctx))
	defer stop()
	defer context.AfterFunc(op.ctx, func() {
		select {
		case <-time.After(200 * time.Millisecond):
			stop()
		case <-waiting.Done():
		}
	})()
	_, err := op.attempt(waiting, f)
	return err
}

// change runs a call that changes the keychain. Its error is a Pending if the
// call may still have an effect after op gave it up.
func (op *operation) change(f func() error) error {
	if before := op.keyring.beforeChange; before != nil {
		before()
	}
	op.calling.Store(true)
	defer op.calling.Store(false)
	done, err := op.attempt(op.ctx, f)
	if op.prompt.Load() && !op.prompts {
		op.keyring.prompted.Store(true)
	}
	if done != nil {
		return &Pending{Err: err, Done: done}
	}
	return err
}

// attempt runs f and returns one of this package's errors. It returns done if f
// is still running after waiting has ended.
func (op *operation) attempt(
	waiting context.Context, f func() error,
) (done <-chan struct{}, err error) {
	if op.ctx.Err() != nil {
		return nil, op.timeUp()
	}
	done, err = op.call(waiting, f)
	switch {
	case done != nil, err != nil && op.ctx.Err() != nil:
		return done, op.timeUp()
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrLocked),
		errors.Is(err, ErrNotFound):
		return nil, err
	}
	return nil, keychainError(err)
}

// timeUp returns the caller's error if the caller's ctx has ended, and otherwise
// what Timeout means here.
func (op *operation) timeUp() error {
	switch {
	case context.Cause(op.ctx) != errTimeUp:
		return fmt.Errorf("tokenstore: keychain: %w", op.ctx.Err())
	case op.prompt.Load():
		return fmt.Errorf("%w: nobody answered the keychain's prompt within %v; "+
			"unlock it and try again", ErrDismissed, op.limit())
	}
	return fmt.Errorf("%w: the keychain did not answer within %v; "+
		"look for a prompt to answer, or restart the keychain", ErrUnavailable, op.limit())
}

func (op *operation) limit() time.Duration { return time.Duration(op.bound.Load()) }

// item returns the text of the item. ErrNotFound means that there is none.
func (op *operation) item(key string) (string, error) {
	var text string
	op.calling.Store(true)
	defer op.calling.Store(false)
	reading, found := op.ctx, op.keychain
	err := op.brief(func() (err error) {
		text, err = found.get(reading, op.service, key)
		return err
	})
	if err != nil {
		return "", err
	}
	return text, nil
}

// readBack compares the item with the text that was stored. A Secret Service
// reports success and stores nothing if its prompt is dismissed.
func (op *operation) readBack(key, text string) error {
	switch back, err := op.item(key); {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("tokenstore: reading back what was stored: %w", err)
	case back != text:
		return fmt.Errorf("%w: the keychain did not keep the value; "+
			"if it shows a prompt, try again and confirm it", ErrDismissed)
	}
	return nil
}

// lockWrites excludes other writers of key until op ends, or until the call ends
// that op gave up. Otherwise the sweep of one writer would delete the file of
// another writer that has not stored its item yet. The lock is not that of
// [Shared], which the caller may hold.
func (op *operation) lockWrites(key string) error {
	unlock, err := securefile.Lock(op.ctx, op.files.file(key, "write"))
	switch {
	case err != nil && op.ctx.Err() == nil:
		return unavailable(err)
	case err != nil && context.Cause(op.ctx) == errTimeUp:
		return fmt.Errorf("%w: another process has been writing this value for %v; "+
			"see whether the keychain shows a prompt there or hangs", ErrBusy, op.limit())
	case err != nil:
		return fmt.Errorf("tokenstore: %w", op.ctx.Err())
	}
	op.later(func() { _ = unlock() })
	return nil
}

// value reads the item, and the sealed file if the item names one. A writer may
// replace both in between. The file is then gone, and the item names another one
// at the next attempt.
func (op *operation) value(key string) ([]byte, error) {
	for delay := time.Millisecond; ; delay *= 2 {
		text, err := op.item(key)
		if err != nil {
			return nil, err
		}
		it, err := decodeItem(text)
		if err != nil || it.data != nil {
			return it.data, err
		}
		data, err := op.readSealed(key, it)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
		if delay > 100*time.Millisecond {
			return nil, fmt.Errorf("%w: its file %s is missing",
				ErrDamaged, op.sealedFile(key, it.file))
		}
		select {
		case <-time.After(delay):
		case <-op.ctx.Done():
			return nil, op.timeUp()
		}
	}
}
