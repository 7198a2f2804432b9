package fetch_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// network is a network with one TLS server, in memory. After cut, what is open is
// dead and nothing says so, as after a change of network. New connections work.
type network struct {
	accepted chan net.Conn
	cuts     atomic.Int32
	dials    atomic.Int32
	open     atomic.Int32
	pool     *tls.Config
}

func newNetwork(t *testing.T, http2 bool, h http.HandlerFunc) *network {
	t.Helper()
	ca := newAuthority(t)
	n := &network{accepted: make(chan net.Conn), pool: &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}}
	s := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "op.example", time.Now().Add(time.Hour))}}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(!http2)
	s.Protocols.SetHTTP2(http2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ServeTLS(listener{n, make(chan struct{})}, "", "")
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return n
}

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	n.dials.Add(1)
	n.open.Add(1)
	ours, theirs := net.Pipe()
	n.accepted <- theirs
	return &link{Conn: ours, network: n, born: n.cuts.Load()}, nil
}

func (n *network) cut() { n.cuts.Add(1) }

type listener struct {
	*network
	closed chan struct{}
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { close(l.closed); return nil }
func (l listener) Addr() net.Addr { return &net.TCPAddr{} }

// link is the client's end of a connection.
type link struct {
	net.Conn
	network *network
	born    int32
	closed  sync.Once
}

func (l *link) Close() error {
	l.closed.Do(func() { l.network.open.Add(-1) })
	return l.Conn.Close()
}

func (l *link) Write(b []byte) (int, error) {
	if l.network.cuts.Load() != l.born {
		return len(b), nil // as a kernel that still retransmits
	}
	return l.Conn.Write(b)
}

func (l *link) Read(b []byte) (int, error) {
	for {
		n, err := l.Conn.Read(b)
		if err != nil || l.network.cuts.Load() == l.born {
			return n, err
		}
	}
}

// clients are the transports of the SDK: its own behind the guard, a program's
// behind the guard, its own alone, and a program's alone.
func (n *network) clients(t *testing.T, timeout time.Duration) map[string]*fetch.Client {
	t.Helper()
	own := func() *http.Transport {
		tr := fetch.NewTransport()
		tr.Proxy, tr.DialContext, tr.TLSClientConfig = nil, n.dial, n.pool.Clone()
		return tr
	}
	programs := func() *http.Transport {
		return &http.Transport{DialContext: n.dial, TLSClientConfig: n.pool.Clone(), ForceAttemptHTTP2: true}
	}
	all := map[string]*fetch.Client{}
	for name, rt := range map[string]interface {
		http.RoundTripper
		CloseIdleConnections()
	}{
		"guarded": fetch.NewGuard(own(), "op.example"), "own": own(),
		"program's, guarded": fetch.NewGuard(programs(), "op.example"), "program's": programs(),
		"opaque, guarded": fetch.NewGuard(opaque{programs()}, "op.example"),
	} {
		t.Cleanup(rt.CloseIdleConnections)
		all[name] = &fetch.Client{Transport: rt, Timeout: timeout}
	}
	return all
}

// opaque hides that it is an *http.Transport, as a tracing wrapper does.
type opaque struct{ tr *http.Transport }

func (o opaque) RoundTrip(r *http.Request) (*http.Response, error) { return o.tr.RoundTrip(r) }
func (o opaque) CloseIdleConnections()                             { o.tr.CloseIdleConnections() }

// A connection that died without a word costs one request, over both versions
// of HTTP. Without its defence HTTP/2 loses all eight.
func TestDeadConnectionCostsOneRequest(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, name := range []string{"guarded", "program's, guarded", "own", "program's", "opaque, guarded"} {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, http2, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, r.Proto)
				})
				c := n.clients(t, time.Second)[name] // sooner than the pings notice
				resp, err := post(t, c, "https://op.example")
				require.NoError(t, err)
				require.Equal(t, map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2], string(resp.Body))
				n.cut()
				lost := 0
				for range 8 {
					if _, err := post(t, c, "https://op.example"); err != nil {
						lost++
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Logf("%s, HTTP/2 %v: %d of 8 lost", name, http2, lost)
				require.Equal(t, 1, lost, "%s, HTTP/2 %v", name, http2)
				require.EqualValues(t, 2, n.dials.Load())
			})
		}
	}
}

// Pings find a dead HTTP/2 connection in 4.5 seconds if a request waits on it, and
// if none does.
func TestPingsFindADeadConnection(t *testing.T) {
	for _, name := range []string{"guarded", "program's, guarded", "own"} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, true, func(http.ResponseWriter, *http.Request) {})
			c := n.clients(t, 30*time.Second)[name]
			call := func() error { _, err := post(t, c, "https://op.example"); return err }
			require.NoError(t, call())
			time.Sleep(60 * time.Second)
			require.NoError(t, call())
			require.EqualValues(t, 1, n.dials.Load(), "a quiet connection that works is kept")

			n.cut()
			start := time.Now()
			err := call()
			require.Error(t, err, name)
			require.True(t, sent(t, err))
			require.LessOrEqual(t, time.Since(start), 4500*time.Millisecond, name)
			require.NoError(t, call())

			n.cut()
			time.Sleep(5 * time.Second)
			require.NoError(t, call(), "nothing is lost on a connection that died while it was idle")
		})
	}
}

// A timeout at one slow endpoint does not end the requests beside it. Requests
// that time out on one connection together make one new connection, and the old
// one is closed in the end.
func TestTimeoutLeavesOtherRequestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, true, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if strings.HasPrefix(r.URL.Path, "/slow") {
				time.Sleep(10 * time.Second)
			}
		})
		c := n.clients(t, 0)["program's, guarded"]
		slow := func(timeout time.Duration) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := post(t, &fetch.Client{Transport: c.Transport, Timeout: timeout}, "https://op.example/slow")
				done <- err
			}()
			synctest.Wait()
			return done
		}
		patient, first, second := slow(20*time.Second), slow(time.Second), slow(2*time.Second)
		for _, impatient := range []<-chan error{first, second} {
			require.ErrorIs(t, <-impatient, context.DeadlineExceeded)
			_, err := post(t, c, "https://op.example")
			require.NoError(t, err)
			require.EqualValues(t, 2, n.dials.Load())
		}
		require.NoError(t, <-patient)
		require.EqualValues(t, 2, n.open.Load())
		time.Sleep(fetch.Timeout)
		require.EqualValues(t, 1, n.open.Load(), "a program's transport may have no IdleConnTimeout")
	})
}
