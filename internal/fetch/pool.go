// Gives up connections that may be dead.
//
// After a change of network, or when a VPN comes up, no reset arrives: what is
// sent on an open connection is lost, and nothing says so. Over HTTP/1.1,
// net/http closes a connection whose request has timed out. Over HTTP/2 it
// keeps the connection, because other requests may be under way on it, and every
// later request is lost too.

package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// An HTTP/2 connection that was silent for pingAfter is pinged, and closed if no
// answer comes within pingWait. So a dead connection costs 4.5 seconds: a user who
// signs in waits no longer for the end of it. That also leaves time to send a
// refresh token once more, well inside the 20 seconds of a refresh and the 30
// seconds in which providers commonly accept the old one again. pingWait is enough
// for a ping that is lost twice. An idle connection lives for 90 seconds, so it is
// pinged at most 45 times.
const (
	pingAfter = 2 * time.Second
	pingWait  = 2500 * time.Millisecond
)

// pool sends requests over one *http.Transport until a request times out. Then
// a new one with the same settings takes over, so that the next request dials.
// Requests that are under way are not disturbed: only one endpoint may be slow.
type pool struct {
	mu      sync.Mutex
	used    bool // a transport that is not sets itself up to close what it has not
	current *http.Transport
	retired []*http.Transport // requests may still be under way on them
}

// newPool returns a pool over t, which it owns. It adds what the transport of a
// program may lack: pings, and errors that name a proxy.
func newPool(t *http.Transport) *pool {
	if t.HTTP2 == nil {
		t.HTTP2 = &http.HTTP2Config{}
	}
	if t.HTTP2.SendPingTimeout == 0 {
		t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = pingAfter, pingWait
	}
	own := t.OnProxyConnectResponse
	t.OnProxyConnectResponse = func(
		ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response,
	) error {
		if own != nil {
			if err := own(ctx, proxy, req, resp); err != nil {
				return err
			}
		}
		return proxyAnswered(ctx, proxy, req, resp)
	}
	return &pool{current: t}
}

// RoundTrip implements [http.RoundTripper].
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	t := p.current
	p.used = true
	p.mu.Unlock()
	resp, err := t.RoundTrip(req)
	if err != nil && timedOut(req.Context()) {
		p.retire(t)
	}
	return resp, err
}

// retire replaces t, unless another request has done so: several may time out on
// one dead connection, and the new connections must outlive the last of them.
func (p *pool) retire(t *http.Transport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != t {
		return
	}
	p.current = t.Clone()
	p.retired = append(p.retired, t)
	t.CloseIdleConnections()
	// No request is under way for longer than that. Without this, a program's
	// transport without IdleConnTimeout would keep the connection for ever.
	time.AfterFunc(Timeout, func() {
		t.CloseIdleConnections()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.retired = slices.DeleteFunc(p.retired, func(r *http.Transport) bool { return r == t })
	})
}

// CloseIdleConnections closes the connections that no request uses.
func (p *pool) CloseIdleConnections() {
	p.mu.Lock()
	all, used := append(slices.Clone(p.retired), p.current), p.used
	p.mu.Unlock()
	if !used {
		return
	}
	for _, t := range all {
		t.CloseIdleConnections()
	}
}

// closeIdle closes the idle connections of a program's own transport after a
// timeout. It does so again a moment later: net/http takes the request off an
// HTTP/2 connection in a goroutine of its own, and until then the connection is
// not idle.
func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
		time.AfterFunc(10*time.Millisecond, c.CloseIdleConnections)
	}
}

// timedOut reports that the deadline of ctx has passed. A caller that went away
// says nothing about the connection.
func timedOut(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

var _ http.RoundTripper = (*pool)(nil)
