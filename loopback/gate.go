package loopback

import (
	"container/list"
	"context"
	"net"
	"sync"
)

// gate bounds the open connections. At the bound the oldest one makes room, never the newest: a browser sends its request
// as it connects and is done in a moment, so what has been open for longest is a preconnected socket that nobody uses
// (Chromium's; it opens another at need) or somebody who wants the rest to wait. A browser that is held for its page is pinned.
type gate struct {
	max int

	mu     sync.Mutex
	open   list.List // of *conn, the oldest first; pinned ones are not in it
	closed bool
}

func newGate(max int) *gate { return &gate{max: max} }

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
}

func (g *gate) admit(c net.Conn) *conn {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		_ = c.Close()
		return &conn{Conn: c, gate: g}
	}
	var oldest *conn
	if g.open.Len() >= g.max {
		oldest = g.open.Remove(g.open.Front()).(*conn)
		oldest.place = nil
	}
	admitted := &conn{Conn: c, gate: g}
	admitted.place = g.open.PushBack(admitted)
	g.mu.Unlock()
	if oldest != nil {
		if tcp, ok := oldest.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset leaves nothing behind in the kernel
		}
		_ = oldest.Conn.Close()
	}
	return admitted
}

// leave takes c out of those that make room.
func (c *conn) leave() {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.place != nil {
		c.gate.open.Remove(c.place)
		c.place = nil
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
