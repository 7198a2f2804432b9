package tokenstore

import (
	"context"
	"fmt"
	"sync"
)

// queue runs one operation at a time on a keychain. A call to a keychain cannot
// be interrupted. Operations wait for each other in the order in which they came.
// If a call outlives its operation, the queue is stuck until that call returns:
// waiting operations and new ones get ErrBusy at once. A keychain that hangs
// therefore costs one goroutine, and not one for every attempt.
//
// The zero queue is ready.
type queue struct {
	mu    sync.Mutex
	slot  chan struct{} // capacity 1; full while an operation has its turn
	stuck chan struct{} // closed while the queue is stuck; then replaced
}

func (q *queue) state() (slot, stuck chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.slot == nil {
		q.slot = make(chan struct{}, 1)
		q.stuck = make(chan struct{})
	}
	return q.slot, q.stuck
}

// wait returns when it is the caller's turn. The caller calls leave on the turn.
func (q *queue) wait(ctx context.Context) (*turn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slot, stuck := q.state()
	select {
	case slot <- struct{}{}:
		return &turn{queue: q}, nil
	case <-stuck:
		return nil, fmt.Errorf("%w: an earlier call to the keychain has not returned; "+
			"look for a prompt to answer, or restart the keychain", ErrBusy)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// turn is the right of one operation to call the keychain. One goroutine at a
// time uses it.
type turn struct {
	queue  *queue
	atEnd  []func() // run when the turn ends, in reverse order
	handed bool     // the turn belongs to a late call, which ends it
}

// call runs f and waits for it until ctx ends. If done is nil, f has returned,
// and err is its error. Otherwise f is still running. The turn then belongs to f
// and ends when f returns; done is closed after that. Nothing more may be called
// in this turn.
//
// If done is not nil, f must not write to anything that the caller reads.
func (t *turn) call(ctx context.Context, f func() error) (done <-chan struct{}, err error) {
	var (
		mu       sync.Mutex
		returned bool
		late     bool
		result   error
		ready    = make(chan struct{})
		ended    = make(chan struct{})
	)
	go func() {
		r := recovered(f)
		mu.Lock()
		result, returned = r, true
		mine := late
		mu.Unlock()
		close(ready)
		if mine {
			t.end()
			close(ended)
		}
	}()
	select {
	case <-ready:
		return nil, result
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	// f may have returned between the end of ctx and here.
	if returned {
		return nil, result
	}
	late, t.handed = true, true
	_, stuck := t.queue.state()
	close(stuck)
	return ended, ctx.Err()
}

// later runs f when the turn ends.
func (t *turn) later(f func()) { t.atEnd = append(t.atEnd, f) }

// leave ends the turn, unless it belongs to a late call.
func (t *turn) leave() {
	if !t.handed {
		t.end()
	}
}

func (t *turn) end() {
	for i := len(t.atEnd) - 1; i >= 0; i-- {
		t.atEnd[i]()
	}
	q := t.queue
	q.mu.Lock()
	select {
	case <-q.stuck:
		q.stuck = make(chan struct{})
	default:
	}
	slot := q.slot
	q.mu.Unlock()
	<-slot
}

// recovered runs f and returns a panic as an error. The library go-keyring
// dereferences nil if the bus dies while a prompt is open.
func recovered(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the connection to the keychain broke during the call; try again",
				ErrUnavailable)
		}
	}()
	return f()
}
