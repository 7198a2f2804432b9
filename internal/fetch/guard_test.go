package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// internet is a transport with every connection to one server in this process.
// It notes the addresses that it was told to dial.
type internet struct {
	*http.Transport
	mu     sync.Mutex
	dialed []string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	t.Cleanup(s.Close)
	in := &internet{Transport: NewTransport()}
	in.Proxy = nil
	in.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		in.mu.Lock()
		in.dialed = append(in.dialed, addr)
		in.mu.Unlock()
		conn, err := (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		if err != nil {
			return nil, err
		}
		if host, _, _ := net.SplitHostPort(addr); host == "op.public.example" {
			return elsewhere{conn, "93.184.216.34:443"}, nil
		}
		return conn, nil
	}
	return in
}

func (in *internet) log() (all []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	all, in.dialed = in.dialed, nil
	return all
}

// elsewhere is a connection that reports another address.
type elsewhere struct {
	net.Conn
	remote string
}

func (e elsewhere) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(e.remote))
}

// get calls over http, which package oauth would refuse. The guard looks at
// addresses only.
func get(t *testing.T, rt http.RoundTripper, to string) (string, error) {
	t.Helper()
	req, err := http.NewRequest("GET", to, nil)
	require.NoError(t, err)
	resp, err := (&Client{Transport: rt}).Do(t.Context(), req)
	if err != nil {
		return "", err
	}
	return string(resp.Body), nil
}

func names(table map[string][]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) (out []netip.Addr, err error) {
		for _, a := range table[host] {
			out = append(out, netip.MustParseAddr(a))
		}
		if out == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return out, nil
	}
}

// S43: an address that is not public is not dialled, however it is spelt.
func TestS43PrivateAddressIsNotDialled(t *testing.T) {
	in := newInternet(t)
	g := NewGuard(in.Transport, "")
	t.Cleanup(g.CloseIdleConnections)
	table := map[string][]string{"public.example": {"93.184.216.34"}, "six.example": {"2606:2800:220:1::1"}, "mapped.example": {"::ffff:93.184.216.34"}}
	for i, a := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1",
		"2002:a00:1::1", "2001::1", "2001:db8::1", "100::1",
	} {
		name := fmt.Sprintf("private%d.example", i)
		table[name] = []string{a}
		table["mixed-"+name] = []string{"93.184.216.34", a}
		g.lookup = names(table)
		host := a
		if strings.Contains(a, ":") {
			host = "[" + a + "]"
		}
		for _, to := range []string{host, host + ":8080", name, "mixed-" + name} {
			_, err := get(t, g, "http://"+to+"/latest/meta-data")
			require.ErrorIs(t, err, ErrAddress, "%s %s", to, a)
			var fe *Error
			require.ErrorAs(t, err, &fe)
			require.False(t, fe.Sent)
			require.ErrorContains(t, err, "private")
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST", "localhost.", "x.localhost", "127.1", "2130706433", "0x7f000001", "0x7f.1", "010.0.0.1", "10.1."} {
		_, err := get(t, g, "http://"+host+"/")
		require.ErrorIs(t, err, ErrAddress, host)
	}
	require.Empty(t, in.log(), "nothing was dialled")

	for _, to := range []string{"public.example", "six.example", "mapped.example", "93.184.216.34", "[64:ff9b::93.184.216.34]"} {
		host, err := get(t, g, "http://"+to+"/")
		require.NoError(t, err, to)
		require.Equal(t, to, host, "the name stays what the request is for")
	}
	require.ElementsMatch(t, []string{"93.184.216.34:80", "93.184.216.34:80", "[2606:2800:220:1::1]:80", "93.184.216.34:80", "[64:ff9b::5db8:d822]:80"}, in.log())
	_, err := get(t, g, "http://nobody.example/")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
}

// S43: the name is looked up once a connection, and the address that was
// checked is the one that is dialled.
func TestS43CheckedAddressIsDialled(t *testing.T) {
	in := newInternet(t)
	g := NewGuard(in.Transport, "")
	t.Cleanup(g.CloseIdleConnections)
	asked := 0
	g.lookup = func(context.Context, string) ([]netip.Addr, error) {
		asked++
		if asked == 1 {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}
	_, err := get(t, g, "http://rebind.example/")
	require.NoError(t, err)
	require.Equal(t, []string{"93.184.216.34:80"}, in.log(), "not the name: it has another address by now")
	g.CloseIdleConnections()
	_, err = get(t, g, "http://rebind.example/")
	require.ErrorIs(t, err, ErrAddress)
	require.Empty(t, in.log())
	require.Equal(t, 2, asked)
}

// S43: if the issuer's name points at a private address with another server,
// the other hosts stay guarded.
func TestS43HomeIsWhatAnswers(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer inside.Close()
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	base := NewTransport()
	base.Proxy = nil
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, inside.Addr().String())
	}
	g := NewGuard(base, "op.example")
	t.Cleanup(g.CloseIdleConnections)
	_, err = get(t, g, "https://op.example/")
	require.Error(t, err)
	_, err = get(t, g, "https://10.0.0.1/")
	require.ErrorIs(t, err, ErrAddress)
}

// S43: the configured issuer may have any address. The hosts that it names may
// be private only if it is itself.
func TestS43HomeMayBeAnywhere(t *testing.T) {
	in := newInternet(t)
	lookup := names(map[string][]string{"inside.example": {"10.0.0.2"}, "public.example": {"93.184.216.34"}})

	g := NewGuard(in.Transport, "OP.public.example")
	g.lookup = lookup
	t.Cleanup(g.CloseIdleConnections)
	_, err := get(t, g, "http://op.public.example/")
	require.NoError(t, err)
	_, err = get(t, g, "http://inside.example/")
	require.ErrorIs(t, err, ErrAddress, "a public issuer names a private host")
	_, err = get(t, g, "http://169.254.169.254/")
	require.ErrorIs(t, err, ErrAddress)
	_, err = get(t, g, "http://public.example/")
	require.NoError(t, err)
	require.Equal(t, []string{"op.public.example:80", "93.184.216.34:80"}, in.log())
	for to, want := range map[string]error{
		"https://op.public.example/": nil, "https://public.example/": nil, "https://nobody.example/": nil,
		"https://inside.example/": ErrAddress, "https://[::1]:8080/": ErrAddress, "https://localhost/": ErrAddress,
	} {
		u, err := url.Parse(to)
		require.NoError(t, err)
		require.Equal(t, want, g.Check(t.Context(), u), to)
	}
	require.Empty(t, in.log(), "a check sends nothing")

	g = NewGuard(in.Transport, "op.corp.example") // in connects to 127.0.0.1, like a company's own provider
	g.lookup = lookup
	t.Cleanup(g.CloseIdleConnections)
	_, err = get(t, g, "http://inside.example/")
	require.ErrorIs(t, err, ErrAddress, "nothing is known of the issuer yet")
	for _, to := range []string{"op.corp.example", "inside.example", "10.0.0.3"} {
		_, err = get(t, g, "http://"+to+"/")
		require.NoError(t, err, to)
	}
	for _, home := range []string{"127.0.0.1", "localhost", "10.0.0.1"} {
		g = NewGuard(in.Transport, home)
		t.Cleanup(g.CloseIdleConnections)
		_, err = get(t, g, "http://10.0.0.9/")
		require.NoError(t, err, home)
		require.NoError(t, g.Check(t.Context(), &url.URL{Scheme: "https", Host: "10.0.0.9"}), home)
	}
}

// After a dead address the next one is tried.
func TestGuardTriesEachAddress(t *testing.T) {
	in := newInternet(t)
	through := in.DialContext
	in.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "[2606") {
			return nil, errors.New("no route")
		}
		return through(ctx, network, addr)
	}
	g := NewGuard(in.Transport, "")
	g.lookup = names(map[string][]string{"op.example": {"2606:2800:220:1::1", "93.184.216.34"}, "dead.example": {"2606:2800:220:1::1"}})
	t.Cleanup(g.CloseIdleConnections)
	_, err := get(t, g, "http://op.example/")
	require.NoError(t, err)
	_, err = get(t, g, "http://dead.example/")
	require.Error(t, err)
}

// If the address does not show, the name is checked as far as possible.
func TestS43ProxyAndOpaque(t *testing.T) {
	in := newInternet(t)
	lookup := names(map[string][]string{"inside.example": {"10.0.0.2"}, "public.example": {"93.184.216.34"}})
	in.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://10.0.0.99:3128") } // a company's proxy has a private address
	g := NewGuard(in.Transport, "")
	g.lookup = lookup
	t.Cleanup(g.CloseIdleConnections)
	for _, to := range []string{"169.254.169.254", "[::ffff:10.0.0.1]", "localhost", "127.1", "2130706433"} {
		_, err := get(t, g, "http://"+to+"/")
		require.ErrorIs(t, err, ErrAddress, to)
	}
	_, err := get(t, g, "http://public.example/")
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.99:3128"}, in.log())
	require.ErrorIs(t, g.Check(t.Context(), &url.URL{Scheme: "https", Host: "127.1"}), ErrAddress)
	require.NoError(t, g.Check(t.Context(), &url.URL{Scheme: "https", Host: "inside.example"}), "the proxy resolves names")
	in.Proxy = nil

	wrapped := struct{ http.RoundTripper }{in.Transport}
	for name, base := range map[string]http.RoundTripper{"wrapped": wrapped, "dials TLS": dialsItself(in)} {
		learned, configured := NewGuard(base, ""), NewGuard(base, "op.public.example")
		learned.lookup, configured.lookup = lookup, lookup
		for _, to := range []string{"169.254.169.254", "inside.example", "localhost"} {
			for _, g := range []*Guard{learned, configured} {
				_, err := get(t, g, "http://"+to+"/")
				require.ErrorIs(t, err, ErrAddress, "%s %s", name, to)
			}
		}
		for _, g := range []*Guard{learned, configured} {
			_, err := get(t, g, "http://public.example/")
			require.NoError(t, err)
		}
		_, err = get(t, configured, "http://op.public.example/")
		require.NoError(t, err)
		_, err = get(t, configured, "http://unknown-here.example/")
		require.NoError(t, err, "its own proxy may know the name")
		_, err = get(t, learned, "http://unknown-here.example/")
		require.Error(t, err)
		learned.CloseIdleConnections()
	}
	in.CloseIdleConnections()
}

func dialsItself(in *internet) *http.Transport {
	t := in.Clone()
	t.DialTLSContext = t.DialContext
	return t
}

// The caller's transport is not changed, and HTTP/2 is not lost.
func TestGuardKeepsTheCallersTransport(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	base := &http.Transport{TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	g := NewGuard(base, "127.0.0.1")
	proto, err := get(t, g, s.URL)
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0", proto)
	require.Nil(t, base.DialContext)
	g.CloseIdleConnections()
	base.CloseIdleConnections()

	body := &closing{Reader: strings.NewReader("x")}
	req, err := http.NewRequest("POST", "https://10.0.0.1/", body)
	require.NoError(t, err)
	_, err = NewGuard(struct{ http.RoundTripper }{base}, "").RoundTrip(req)
	require.ErrorIs(t, err, ErrAddress)
	require.True(t, body.closed, "a RoundTripper closes the body")

	own := NewGuard(nil, "")
	_, err = get(t, own, "http://10.0.0.1/")
	require.ErrorIs(t, err, ErrAddress)
	own.CloseIdleConnections()
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
