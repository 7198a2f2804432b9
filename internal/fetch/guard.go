// Keeps a provider from pointing the program at its own network (S43).
//
// Metadata name the endpoints that the program calls next. A hostile document
// could name a router, a cloud's metadata service, or a server behind the
// firewall. So the address of every host that the network named is checked
// where it is dialled.

package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrAddress is matched if a server that the network named has an address that
// is not a public one (S43).
var ErrAddress = errors.New("the provider names a server with a private address")

// Guard is a transport that connects to a host other than the home host only at
// a public address. The address is checked when it is dialled, so a name that
// resolves to another address the next time gains nothing. A Guard is safe for
// concurrent use.
//
// The home host is the host of the issuer that the program itself configured.
// It may have any address, as a company's own provider has. Once it has
// answered from a private address, the hosts that it names may have private
// addresses too.
//
// Two kinds of connection show no address. A proxy resolves and decides by
// itself, so only literal addresses are checked here. Under a transport that is
// no *http.Transport, or that dials TLS itself, the name is resolved and
// checked beforehand; a name that is rebound in between gets past that.
type Guard struct {
	home        string // lower case; "": there is none, everything is checked
	homePrivate atomic.Bool

	direct, proxied *pool
	proxy           func(*http.Request) (*url.URL, error)
	opaque          http.RoundTripper // instead of the three above
	lookup          func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewGuard returns a guard over base, which is not changed; nil means
// [NewTransport]. home is the host of the issuer that the program configured.
// It is "" if the issuer itself was learned from the network.
func NewGuard(base http.RoundTripper, home string) *Guard {
	resolve := func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	g := &Guard{home: wire.LowerHost(home), lookup: resolve}
	g.homePrivate.Store(home != "" && !mayBePublic(home))
	if base == nil {
		base = NewTransport()
	}
	t, ok := base.(*http.Transport)
	if !ok || dialsTLS(t) {
		g.opaque = base
		return g
	}
	dial := t.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	t = t.Clone()
	t.DisableCompression = true // see asksForGzip
	g.proxy = t.Proxy
	g.proxied = newPool(t)
	direct := t.Clone()
	direct.Proxy = nil
	direct.ForceAttemptHTTP2 = true // net/http drops HTTP/2 if it sees a foreign dialer
	direct.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return g.dial(ctx, dial, network, addr)
	}
	g.direct = newPool(direct)
	return g
}

// dialsTLS reports a transport with a dialer of its own that cannot be given an
// address in place of a name.
func dialsTLS(t *http.Transport) bool {
	//lint:ignore SA1019 a program may still set them
	return t.DialTLSContext != nil || t.DialTLS != nil || t.DialContext == nil && t.Dial != nil
}

// RoundTrip implements [http.RoundTripper].
func (g *Guard) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	if g.opaque != nil {
		if g.guarded(host) {
			// Its own proxy may resolve a name that this machine cannot. A
			// learned issuer gets no such benefit.
			_, err := g.public(req.Context(), host)
			if errors.Is(err, ErrAddress) || err != nil && g.home == "" {
				return nil, refuse(req, err)
			}
		}
		resp, err := g.opaque.RoundTrip(req)
		if err != nil && timedOut(req.Context()) {
			closeIdle(g.opaque)
		}
		return resp, err
	}
	if g.proxy != nil {
		if via, err := g.proxy(req); err != nil || via != nil {
			if g.guarded(host) && err == nil && !mayBePublic(host) {
				return nil, refuse(req, ErrAddress)
			}
			return g.proxied.RoundTrip(req)
		}
	}
	if !strings.EqualFold(host, g.home) || g.homePrivate.Load() {
		return g.direct.RoundTrip(req)
	}
	return g.visitHome(req)
}

// visitHome sends req to the home host and notices if that has a private
// address. Only an answer counts, which came over TLS: a connection alone could
// be to any machine that the name was pointed at.
func (g *Guard) visitHome(req *http.Request) (*http.Response, error) {
	var at net.Addr
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { at = c.Conn.RemoteAddr() },
	})
	resp, err := g.direct.RoundTrip(req.WithContext(ctx))
	if err == nil && at != nil {
		if addr, perr := netip.ParseAddrPort(at.String()); perr == nil && !public(addr.Addr()) {
			g.homePrivate.Store(true)
		}
	}
	return resp, err
}

// Check returns ErrAddress if g would refuse a request to u for its address, else
// nil. It may resolve the name, and sends nothing. A name that cannot be resolved
// is no error. A name that resolves to another address later is still refused
// then, by RoundTrip.
func (g *Guard) Check(ctx context.Context, u *url.URL) error {
	host := u.Hostname()
	if !g.guarded(host) {
		return nil
	}
	if g.proxy != nil {
		via, err := g.proxy(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
		if err == nil && via != nil { // the proxy resolves names
			if !mayBePublic(host) {
				return ErrAddress
			}
			return nil
		}
	}
	if _, err := g.public(ctx, host); errors.Is(err, ErrAddress) {
		return ErrAddress
	}
	return nil
}

// CloseIdleConnections closes the connections that are kept open for the next
// request.
func (g *Guard) CloseIdleConnections() {
	if g.opaque != nil {
		if c, ok := g.opaque.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
		return
	}
	g.direct.CloseIdleConnections()
	g.proxied.CloseIdleConnections()
}

// refuse closes the body of req and returns err. A RoundTripper must close it
// even if it sends nothing.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

// guarded reports whether the address of host must be a public one.
func (g *Guard) guarded(host string) bool {
	return g.home == "" || !strings.EqualFold(host, g.home) && !g.homePrivate.Load()
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects to addr ("host:port") with dial, at an address that was
// checked.
func (g *Guard) dial(ctx context.Context, dial dialFunc, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if !g.guarded(host) {
		return dial(ctx, network, addr)
	}
	addrs, err := g.public(ctx, host)
	if err != nil {
		return nil, err
	}
	// The checked addresses are dialled, not the name: a second look-up could
	// bring others.
	return race(ctx, addrs, func(ctx context.Context, a netip.Addr) (net.Conn, error) {
		return dial(ctx, network, net.JoinHostPort(a.String(), port))
	})
}

// public returns the addresses of host, all of them public. A single private
// one gives ErrAddress: an honest name has no such mixture.
func (g *Guard) public(ctx context.Context, host string) ([]netip.Addr, error) {
	if !mayBePublic(host) {
		return nil, ErrAddress
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := g.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	for i, a := range addrs {
		if !public(a) {
			return nil, ErrAddress
		}
		addrs[i] = a.Unmap() // the resolver gives IPv4 addresses in IPv6's form
	}
	return addrs, nil
}

// mayBePublic reports whether host can have a public address, as far as that
// shows without a look-up.
func mayBePublic(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return public(a)
	}
	name := strings.TrimSuffix(wire.LowerHost(host), ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	// 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers and
	// proxies. No top-level domain looks like that.
	numeric := last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
	return !numeric && last != "localhost"
}

// special lists the prefixes that the IANA registries of special-purpose
// addresses (RFC 6890) call not globally reachable, as far as netip does not
// know them.
var special = [...]string{
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "3fff::/20",
}

// within reports whether a is in prefix. Parsing it at each dial is cheap
// beside the dial, and keeps the work out of the program's start.
func within(a netip.Addr, prefix string) bool { return netip.MustParsePrefix(prefix).Contains(a) }

// public reports whether a is a public unicast address.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	b := a.As16()
	switch {
	case within(a, "64:ff9b::/96"): // NAT64: an IPv6-only network reaches IPv4 here
		return public(netip.AddrFrom4([4]byte(b[12:16])))
	case within(a, "2002::/16"): // 6to4
		return public(netip.AddrFrom4([4]byte(b[2:6])))
	case a.Is6() && !within(a, "2000::/3"):
		return false
	}
	for _, p := range special {
		if within(a, p) {
			return false
		}
	}
	return true
}

var _ http.RoundTripper = (*Guard)(nil)
