package loopback

import (
	"container/list"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// gate bounds the open connections. At the bound, one that only sits there makes room: the oldest that has sent nothing that we
// have not seen to, such as Chromium's preconnected socket (it opens another at need) or somebody who wants the rest to wait. One whose
// request has arrived is left its time, for it may be the browser's; while there are only such, new ones wait in the
// kernel's queue. A browser that is held for its page is pinned.
type gate struct {
	max int

	mu     sync.Mutex
	open   list.List // of *conn, the oldest first; pinned ones are not in it
	closed bool
	left   chan struct{} // a hint that one has left
}

const (
	settling = 20 * time.Millisecond  // between connecting and sending
	serving  = 500 * time.Millisecond // between the first bytes read and the answer, on a busy machine; more bytes, dripped in, buy no more
	examined = 16                     // connections, to find one that makes room
)

func newGate(max int) *gate { return &gate{max: max, left: make(chan struct{}, 1)} }

func (g *gate) guard(l net.Listener) net.Listener { return &guarded{l, g} }

type guarded struct {
	net.Listener
	gate *gate
}

func (l *guarded) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.gate.admit(c), nil
}

type conn struct {
	net.Conn
	gate  *gate
	place *list.Element // nil: pinned, or out
	since time.Time
	read  atomic.Int64 // when the first bytes were read, in nanoseconds after since; 0: not yet
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.CompareAndSwap(0, int64(time.Since(c.since)))
	}
	return n, err
}

// busy reports a connection that may be about to have its answer. That bytes lie unread is our own fault.
func (c *conn) busy() bool {
	age, read := time.Since(c.since), time.Duration(c.read.Load())
	if read > 0 {
		return age-read < serving
	}
	return age < settling || unread(c.Conn)
}

// admit returns c as one of those that are open, when there is room.
func (g *gate) admit(c net.Conn) *conn {
	for {
		admitted, evicted := g.try(c)
		if evicted != nil {
			if tcp, ok := evicted.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset leaves nothing behind in the kernel
			}
			_ = evicted.Conn.Close()
		}
		if admitted != nil {
			return admitted
		}
		select {
		case <-g.left:
		case <-time.After(settling / 4):
		}
	}
}

func (g *gate) try(c net.Conn) (admitted, evicted *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return &conn{Conn: c, gate: g}, nil
	}
	if g.open.Len() >= g.max {
		e := g.open.Front()
		for n := 0; n < examined && e != nil && e.Value.(*conn).busy(); n++ {
			e = e.Next()
		}
		if e == nil || e.Value.(*conn).busy() {
			return nil, nil
		}
		evicted = g.open.Remove(e).(*conn)
		evicted.place = nil
	}
	admitted = &conn{Conn: c, gate: g, since: time.Now()}
	admitted.place = g.open.PushBack(admitted)
	return admitted, evicted
}

// leave takes c out of those that make room.
func (c *conn) leave() {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.place != nil {
		c.gate.open.Remove(c.place)
		c.place = nil
		select {
		case c.gate.left <- struct{}{}:
		default:
		}
	}
}

func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

type connKey struct{}

func pinnable(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// pin keeps the request's connection open however many others come.
func pin(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.leave()
	}
}

// close ends every connection that is not pinned, and those to come: http.Server's own Close misses one that is
// just being accepted.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for e := g.open.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*conn).Conn.Close()
	}
}
