package loopback

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// connLimit bounds the number of open connections (S17). Any local program can
// open as many as it likes. Without a bound they would use up this process's
// file descriptors; with a bound alone they would lock the browser out.
//
// So at the bound, a new connection takes the place of an old one that is idle.
// The oldest idle one is closed. It may be a socket that Chromium opened in
// advance, which costs nothing: Chromium opens another. A connection whose
// request has arrived is not idle for the time of serving, because it may be the
// browser's. While all are busy, new connections wait in the kernel's queue.
//
// A connection that holds the browser for its page is pinned: it is never closed
// to make room, and it does not count. There are few of these, because only a
// response with the right state, or a request for the unguessable page, is
// pinned.
type connLimit struct {
	max int

	mu     sync.Mutex
	open   list.List // of *conn, the oldest first; without the pinned ones
	closed bool
	left   chan struct{} // wakes admit when a connection has left

	// note is told about connections that end before net/http has a request.
	// It may not be nil.
	note func(rejection)
}

const (
	// settling is how long a connection may take to send its first bytes
	// before it counts as idle.
	settling = 20 * time.Millisecond
	// serving is how long a connection is protected after its first bytes were
	// read. It is time enough to answer on a busy machine. Further bytes do not
	// extend it, so an attacker that sends slowly gains nothing.
	serving = 500 * time.Millisecond
	// acceptTries and acceptPause bound the failures of Accept in a row.
	acceptTries = 100
	acceptPause = 10 * time.Millisecond
	// examined is how many of the oldest connections are looked at for an idle
	// one. It bounds the work per new connection.
	examined = 16
)

func newConnLimit(max int, note func(rejection)) *connLimit {
	return &connLimit{max: max, left: make(chan struct{}, 1), note: note}
}

// wrap returns l with the limit. Several listeners may share one limit.
func (l *connLimit) wrap(inner net.Listener) net.Listener { return &limitedListener{inner, l} }

type limitedListener struct {
	net.Listener
	limit *connLimit
}

// Accept returns the next connection. A failure may be about one connection, which
// a local attacker can bring about, so Accept tries again for about a second
// before it gives the listener up.
func (l *limitedListener) Accept() (net.Conn, error) {
	for tries := 1; ; tries++ {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			return l.limit.admit(c), nil
		case errors.Is(err, net.ErrClosed) || tries == acceptTries:
			return nil, err
		}
		time.Sleep(acceptPause)
	}
}

// conn is a connection that counts against the limit.
type conn struct {
	net.Conn
	limit     *connLimit
	entry     *list.Element // in limit.open; nil if the connection is pinned or closed
	since     time.Time
	firstRead atomic.Int64 // nanoseconds after since; 0 until the first bytes are read
	header    headerFilter // used by Read only, which net/http does not call concurrently
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446 §5.1). No HTTP
// request begins with it.
const tlsHandshake = 0x16

// Read reads what headerFilter lets through. It goes on reading while that is
// nothing; the deadline of the connection ends it.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if n > 0 && c.firstRead.CompareAndSwap(0, max(1, int64(time.Since(c.since)))) &&
			b[0] == tlsHandshake {
			c.limit.note(rejection{http.StatusBadRequest, triedTLS, atCallback})
		}
		kept, ok := c.header.filter(b[:n])
		if !ok {
			return 0, c.tooLarge()
		}
		if kept > 0 || n == 0 || err != nil {
			return kept, err
		}
	}
}

// tooLarge answers a request that headerFilter refuses. net/http would call it
// malformed. The rest of the request is read for a moment, because a browser that
// is still sending would otherwise get a reset instead of the answer.
func (c *conn) tooLarge() error {
	status := http.StatusRequestHeaderFieldsTooLarge
	c.limit.note(rejection{status, headersTooLarge, atCallback})
	_ = c.Conn.SetDeadline(time.Now().Add(serving))
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\n\r\n%[2]s: %s\n", status, http.StatusText(status), noticeTooLarge)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 8*maxSent))
	// net/http says nothing more after such an error.
	return &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
}

// busy reports whether c may be about to get its answer. Bytes that have arrived
// and are not read yet count, because that delay is the server's own.
func (c *conn) busy() bool {
	age, read := time.Since(c.since), time.Duration(c.firstRead.Load())
	if read > 0 {
		return age-read < serving
	}
	return age < settling || unread(c.Conn)
}

// admit waits until there is room for c and returns it as a counted connection.
func (l *connLimit) admit(c net.Conn) *conn {
	for {
		admitted, evicted := l.tryAdmit(c)
		if evicted != nil {
			// A reset leaves no TIME_WAIT state in the kernel.
			if tcp, ok := evicted.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = evicted.Conn.Close()
		}
		if admitted != nil {
			return admitted
		}
		// A connection can also become idle, which nothing signals.
		select {
		case <-l.left:
		case <-time.After(settling / 4):
		}
	}
}

// tryAdmit admits c if there is room. It returns the connection that was removed
// for it, which the caller closes outside the lock.
func (l *connLimit) tryAdmit(c net.Conn) (admitted, evicted *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return &conn{Conn: c, limit: l}, nil
	}
	if l.open.Len() >= l.max {
		e := l.open.Front()
		for n := 0; n < examined && e != nil && e.Value.(*conn).busy(); n++ {
			e = e.Next()
		}
		if e == nil || e.Value.(*conn).busy() {
			return nil, nil
		}
		evicted = l.open.Remove(e).(*conn)
		evicted.entry = nil
	}
	admitted = &conn{Conn: c, limit: l, since: time.Now()}
	admitted.entry = l.open.PushBack(admitted)
	return admitted, evicted
}

// release takes c out of the limit. It may be called again.
func (c *conn) release() {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.entry != nil {
		c.limit.open.Remove(c.entry)
		c.entry = nil
		select {
		case c.limit.left <- struct{}{}:
		default:
		}
	}
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

type connKey struct{}

// withConn is the http.Server.ConnContext that lets pin find the connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// pin keeps the connection of a request open, however many others come. ctx is
// the request's.
func pin(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.release()
	}
}

// close ends every connection that is not pinned, and every later one.
// http.Server.Close alone misses a connection that is being accepted.
func (l *connLimit) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for e := l.open.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*conn).Conn.Close()
	}
}
