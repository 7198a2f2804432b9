package tokenstore

import (
	"context"
	"fmt"
	"sync"
)

// gate lets one operation at a time through to a keychain whose calls cannot be called off. Operations wait for each
// other in the order in which they came. But once a call has outlived its operation, the gate is stuck: nobody waits
// any more, everybody gets ErrBusy at once, until that call returns. So a keychain that hangs costs one goroutine.
// The zero gate is ready.
type gate struct {
	mu    sync.Mutex
	place chan struct{} // of one: full while an operation is inside
	stuck chan struct{} // closed while the gate is stuck; then replaced
}

func (g *gate) state() (place, stuck chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.place == nil {
		g.place = make(chan struct{}, 1)
		g.stuck = make(chan struct{})
	}
	return g.place, g.stuck
}

// enter waits for the caller's turn. A turn that was got is left.
func (g *gate) enter(ctx context.Context) (*turn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	place, stuck := g.state()
	select {
	case place <- struct{}{}:
		return &turn{gate: g}, nil
	case <-stuck:
		return nil, fmt.Errorf("%w: an earlier call to the keychain has not returned; see whether it waits for a person or hangs", ErrBusy)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// turn is one operation inside the gate. One goroutine at a time has it.
type turn struct {
	gate   *gate
	atEnd  []func() // given back when the turn ends, last first
	handed bool     // to a late call, which ends the turn
}

// call runs f and waits for it until ctx ends. When it returns a nil done, f has returned, with err.
// Otherwise f is still running: the turn and all that was deferred to its end are f's now, and end with it; done is
// closed after that. Nothing more may be called in this turn.
//
// f must not write to what the caller reads after a non-nil done.
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
	if returned {
		return nil, result
	}
	late, t.handed = true, true
	_, stuck := t.gate.state()
	close(stuck)
	return ended, ctx.Err()
}

// later has f run when the turn ends.
func (t *turn) later(f func()) { t.atEnd = append(t.atEnd, f) }

// leave ends the turn, unless a late call has it.
func (t *turn) leave() {
	if !t.handed {
		t.end()
	}
}

func (t *turn) end() {
	for i := len(t.atEnd) - 1; i >= 0; i-- {
		t.atEnd[i]()
	}
	g := t.gate
	g.mu.Lock()
	select {
	case <-g.stuck:
		g.stuck = make(chan struct{})
	default:
	}
	place := g.place
	g.mu.Unlock()
	<-place
}

// recovered runs f and makes an error of a panic: go-keyring dereferences nil when the bus dies while a prompt waits.
func recovered(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the connection to the keychain broke during the call", ErrUnavailable)
		}
	}()
	return f()
}
