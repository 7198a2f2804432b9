package session

import (
	"context"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// lock takes the lock of key, for at most wait (0: as long as ctx lives). held ends
// with ctx, or when the lock is lost.
func (k *Keeper) lock(ctx context.Context, key string, wait time.Duration) (
	held context.Context, unlock func(), err error,
) {
	waiting, cancel := within(ctx, wait)
	defer cancel()
	return k.lockWhile(ctx, waiting, key)
}

func within(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, wait)
}

// lockWhile takes the lock of key, and waits for it while waiting lives. held ends
// with ctx, or when the lock is lost.
func (k *Keeper) lockWhile(ctx, waiting context.Context, key string) (
	held context.Context, unlock func(), err error,
) {
	if l, ok := k.Store.(tokenstore.Shared); ok {
		lease, release, err := l.Lock(waiting, key)
		if err == nil {
			// The lease carries the store's own values and outlives waiting. It must
			// end with ctx too.
			held, cancel := context.WithCancelCause(lease)
			stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
			return held, func() {
				stop()
				cancel(nil)
				if err := release(); err != nil {
					k.log().Warn("the session's lock was not given back cleanly", "key", key, "err", err)
				}
			}, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, nil, busy(ctx, err)
		}
	}
	own := k.ownLock(key)
	select {
	case own <- struct{}{}:
		return ctx, func() { <-own }, nil
	case <-waiting.Done():
		return nil, nil, busy(ctx, waiting.Err())
	}
}

// ownLock is the lock for a store that has none: it serves this process alone.
func (k *Keeper) ownLock(key string) chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks == nil {
		k.locks = map[string]chan struct{}{}
	}
	own := k.locks[key]
	if own == nil {
		own = make(chan struct{}, 1)
		k.locks[key] = own
	}
	return own
}

// busy tells the end of our own wait from the end of the caller's.
func busy(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrBusy
	}
	return err
}

// attend runs f, which works under a lock, and gives the lock back when f is
// through. If a call of the store hangs in f, nobody waits for it past the end of
// ctx, or past saveWait. f then goes on by itself, with the lock, so that a late
// write lands in nobody else's session. The error is the *[tokenstore.Pending] that
// f reported.
func attend[T any](ctx context.Context, unlock func(), f func(hangs func(error)) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done, hung := make(chan result, 1), make(chan error, 1)
	hangs := func(err error) {
		var pending *tokenstore.Pending
		if errors.As(err, &pending) {
			select {
			case hung <- err:
			default:
			}
		}
	}
	go func() {
		value, err := f(hangs)
		unlock()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case err := <-hung:
		timer := time.NewTimer(saveWait)
		defer timer.Stop()
		select {
		case r := <-done:
			return r.value, r.err
		case <-ctx.Done():
		case <-timer.C:
		}
		var none T
		return none, err
	}
}
