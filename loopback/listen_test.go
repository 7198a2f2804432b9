package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// S6: the listener has a free port of the loopback address and is not reachable
// at any other address of the machine.
func TestS6OnlyLoopbackIsReachable(t *testing.T) {
	t.Parallel()
	s := listen(t, loopback.Config{})
	require.Regexp(t, `^http://(127\.0\.0\.1|\[::1\]):\d+/callback$`, s.RedirectURI())
	_, port, err := net.SplitHostPort(addr(t, s))
	require.NoError(t, err)
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		_, err := net.Dial("tcp", net.JoinHostPort(ip.String(), port))
		require.Error(t, err, ip)
	}
}

// S6: [::1] works as an address too.
func TestS6IPv6Works(t *testing.T) {
	t.Parallel()
	s, err := loopback.Listen(t.Context(), loopback.Config{Addr: "[::1]:0"})
	if err != nil {
		t.Skip("skipped: this machine has no IPv6 loopback address")
	}
	defer s.Close()
	require.Regexp(t, `^http://\[::1\]:\d+/callback$`, s.RedirectURI())
	_, err = s.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
	require.NoError(t, err)
	complete(t, s)
}

// S7: "localhost" holds the port on both families. If another program has it on
// either, another port is chosen.
func TestS7LocalhostHoldsBothFamilies(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{Localhost: true})
	require.Regexp(t, `^http://localhost:\d+/callback$`, s.RedirectURI())
	_, port, _ := net.SplitHostPort(addr(t, s))
	for _, ip := range []string{"127.0.0.1", "::1"} {
		if !has(ip) {
			continue
		}
		_, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		require.Error(t, err, "the port is held on %s", ip)
		require.Contains(t,
			raw(t, net.JoinHostPort(ip, port),
				"GET /x HTTP/1.1\r\nHost: localhost:"+port+"\r\n\r\n"),
			"404")
		require.Contains(t,
			raw(t, net.JoinHostPort(ip, port),
				"GET /x HTTP/1.1\r\nHost: 127.0.0.1:"+port+"\r\n\r\n"),
			"421")
	}
	complete(t, s)
}

// S7: another program has many ports of [::1]. None of them is chosen.
func TestS7ASquattedPortIsNotChosen(t *testing.T) {
	if !has("::1") {
		t.Skip("skipped: this machine has no IPv6 loopback address")
	}
	squatted := map[string]bool{}
	for range 2000 {
		l, err := net.Listen("tcp6", "[::1]:0")
		require.NoError(t, err)
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		squatted[port] = true
	}
	for range 50 {
		s, err := loopback.Listen(t.Context(), loopback.Config{Localhost: true})
		require.NoError(t, err)
		_, port, _ := net.SplitHostPort(addr(t, s))
		require.False(t, squatted[port])
		require.NoError(t, s.Close())
	}
	port := strconv.Itoa(int(realparts.FreePort(t)))
	l, err := net.Listen("tcp6", "[::1]:"+port)
	require.NoError(t, err)
	defer l.Close()
	_, err = loopback.Listen(t.Context(), loopback.Config{Localhost: true, Addr: "127.0.0.1:" + port})
	require.ErrorIs(t, err, loopback.ErrPortTaken)
	require.ErrorContains(t, err, "[::1]:"+port)
}

// S8, S9: no other process gets the port, by any option. A port in use is a
// typed error that names it.
func TestS8S9ATakenPortIsATypedError(t *testing.T) {
	t.Parallel()
	s := listen(t, loopback.Config{Addr: "127.0.0.1:0"})
	_, err := net.Listen("tcp", addr(t, s))
	require.Error(t, err)
	require.Error(t, bindReusing(addr(t, s)),
		"SO_REUSEADDR and SO_REUSEPORT do not get in beside us")
	_, err = loopback.Listen(t.Context(), loopback.Config{Addr: addr(t, s)})
	require.ErrorIs(t, err, loopback.ErrPortTaken)
	require.ErrorContains(t, err, addr(t, s))
}

// S8: a fixed port works for one login after another, although the first leaves
// connections in TIME_WAIT.
func TestS8AFixedPortCanBeUsedAgain(t *testing.T) {
	fixed := fmt.Sprintf("127.0.0.1:%d", realparts.FreePort(t))
	for range 3 {
		s, err := loopback.Listen(t.Context(), loopback.Config{Addr: fixed})
		require.NoError(t, err)
		_, err = s.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
		require.NoError(t, err)
		require.Contains(t, complete(t, s), "alice@example.com")
		require.NoError(t, s.Close())
	}
}

// S10: nothing listens on the port after Close. goleak checks for goroutines.
func TestS10NothingListensAfterClose(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*loopback.Server){
		"unused":   func(*loopback.Server) {},
		"complete": func(s *loopback.Server) { complete(t, s) },
		"cancelled": func(s *loopback.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := s.Wait(ctx)
			require.ErrorIs(t, err, context.Canceled)
		},
		"idle connections": func(s *loopback.Server) {
			for range 20 {
				c, err := net.Dial("tcp", addr(t, s))
				require.NoError(t, err)
				t.Cleanup(func() { c.Close() })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := start(t, loopback.Config{})
			end(s)
			require.NoError(t, s.Close())
			_, err := net.Dial("tcp", addr(t, s))
			require.Error(t, err)
			_, err = s.Wait(t.Context())
			if name != "complete" && name != "cancelled" {
				require.ErrorIs(t, err, os.ErrClosed)
			}
			_, err = s.Start(authURL, loopback.Expect{State: state})
			require.ErrorIs(t, err, os.ErrClosed)
			require.NoError(t, s.Close(), "twice is fine")
		})
	}
}

// S30: with a fixed port, the path tells one issuer's answer from another's.
func TestS30PathsTellIssuersApart(t *testing.T) {
	t.Parallel()
	a, _ := start(t, loopback.Config{Path: "/callback/a"})
	b, _ := start(t, loopback.Config{Path: "/callback/b"})
	require.True(t, strings.HasSuffix(a.RedirectURI(), "/callback/a"))
	cross := strings.Replace(good(b), addr(t, b), addr(t, a), 1)
	require.Equal(t, 404, send(t, "GET", cross, "").StatusCode)
	require.Equal(t, 421,
		send(t, "GET", strings.Replace(good(a), "/a?", "/a?", 1), "", "Host", addr(t, b)).StatusCode)
	pending(t, a)
	pending(t, b)
	complete(t, a)
	complete(t, b)
}

func TestRedirectURIBehindAProxy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg                    loopback.Config
		host, ticket, location string
	}{
		{loopback.Config{RedirectURI: "http://127.0.0.1:8765/callback"}, "127.0.0.1:8765",
			"http://127.0.0.1:8765/", "/"},
		{loopback.Config{RedirectURI: "https://Code.example/proxy/9/callback", Path: "/callback"},
			"code.example", "https://code.example/proxy/9/", "/proxy/9/"},
		{loopback.Config{RedirectURI: "https://code.example:443/"}, "code.example",
			"https://code.example/", "/"},
		{
			loopback.Config{
				RedirectURI: "http://localhost:8765/cb", Addr: "0.0.0.0:0", AllowOtherUsers: true,
			},
			"localhost:8765", "http://localhost:8765/", "/"},
	} {
		s := listen(t, tc.cfg)
		ticket, err := s.Start(authURL, loopback.Expect{State: state})
		require.NoError(t, err)
		require.Equal(t, tc.cfg.RedirectURI, s.RedirectURI(), "to the byte")
		require.True(t, strings.HasPrefix(ticket, tc.ticket), ticket)

		at := "http://" + loopback.Bound(s)
		path := tc.cfg.Path
		if path == "" {
			path = tc.cfg.RedirectURI[strings.LastIndex(tc.cfg.RedirectURI, "/"):]
		}
		tail := ticket[strings.LastIndex(ticket, "/"):]
		require.Equal(t, 421, send(t, "GET", at+tail, "", "Host", "evil.example").StatusCode)
		require.Equal(t, 302, send(t, "GET", at+tail, "", "Host", tc.host).StatusCode)
		go func() {
			if r, err := s.Wait(t.Context()); err == nil {
				r.Finish("", nil)
			}
		}()
		held := send(t, "GET", at+path+"?code=c&state="+state, "", "Host", tc.host)
		require.Equal(t, 303, held.StatusCode)
		location := held.Header.Get("Location")
		require.True(t, strings.HasPrefix(location, tc.location), location)
		page := strings.TrimSuffix(strings.TrimPrefix(location, tc.location), "#")
		require.Equal(t, 200, send(t, "GET", at+"/"+page, "", "Host", tc.host).StatusCode)
	}
}

func TestConfigMistakesAreErrors(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]loopback.Config{
		"wildcard":            {Addr: "0.0.0.0:0"},
		"IPv6 wildcard":       {Addr: "[::]:0"},
		"network":             {Addr: "192.0.2.1:0"},
		"no port":             {Addr: "127.0.0.1"},
		"name":                {Addr: "localhost:0"},
		"zone":                {Addr: "[::1%lo]:0"},
		"localhost elsewhere": {Addr: "127.0.0.2:0", Localhost: true},
		"relative path":       {Path: "callback"},
		"query":               {Path: "/callback?x=1"},
		"dots":                {Path: "/a/../b"},
		"slashes":             {Path: "//evil.example"},
		"escape":              {Path: "/%63allback"},
		"header":              {Path: "/a\r\nX: y"},
		"redirect http":       {RedirectURI: "http://h.example/callback"},
		"redirect script":     {RedirectURI: "javascript:x"},
		"redirect query":      {RedirectURI: "https://h.example/callback?x"},
		"redirect path":       {RedirectURI: "https://h.example/other", Path: "/callback"},
		"redirect prefix":     {RedirectURI: "https://h.example/a%0d/callback", Path: "/callback"},
		"accent": {
			Page: loopback.Page{Accent: "red;}*{background:url(//evil.example)"},
		},
		"logo": {Page: loopback.Page{Logo: []byte("<html><script>")}},
		"large logo": {Page: loopback.Page{
			Logo: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 1<<20)...),
		}},
	} {
		_, err := loopback.Listen(t.Context(), cfg)
		require.Error(t, err, name)
		require.Contains(t, err.Error(), "loopback: ", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := loopback.Listen(ctx, loopback.Config{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestStartMistakesAreErrors(t *testing.T) {
	t.Parallel()
	s := listen(t, loopback.Config{})
	for _, bad := range []string{
		"javascript:x", "http://h.example/", "https://u:p@h/", "https://h/#x",
		"https://h/\r\nX: y",
	} {
		_, err := s.Start(bad, loopback.Expect{State: state})
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
	}
	_, err := s.Start(authURL, loopback.Expect{})
	require.ErrorContains(t, err, "State")
	_, err = s.Start(authURL, loopback.Expect{State: state, RequireIssuer: true})
	require.ErrorContains(t, err, "Issuer")
	_, err = s.Start(authURL, loopback.Expect{State: state})
	require.NoError(t, err)
	_, err = s.Start(authURL, loopback.Expect{State: state})
	require.ErrorContains(t, err, "before")
}

// Of several ports the first that is free is used, and never one that was not named:
// the provider does not know it.
func TestPortsAreTriedInOrder(t *testing.T) {
	t.Parallel()
	occupied := func() uint16 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return uint16(l.Addr().(*net.TCPAddr).Port)
	}
	first, second, third := occupied(), realparts.FreePort(t), occupied()
	for _, localhost := range []bool{false, true} {
		cfg := loopback.Config{Ports: []uint16{first, third}, Localhost: localhost}
		_, err := loopback.Listen(t.Context(), cfg)
		require.ErrorIs(t, err, loopback.ErrPortTaken)

		cfg.Ports = []uint16{first, second, third}
		s, err := loopback.Listen(t.Context(), cfg)
		require.NoError(t, err)
		require.Contains(t, s.RedirectURI(), fmt.Sprintf(":%d/callback", second))
		require.NoError(t, s.Close())
	}
	for _, cfg := range []loopback.Config{
		{Ports: []uint16{}}, {Ports: []uint16{0}}, {Ports: []uint16{second}, Addr: "127.0.0.1:1"},
		{Ports: []uint16{second}, RedirectURI: "http://127.0.0.1:1/callback"},
	} {
		_, err := loopback.Listen(t.Context(), cfg)
		require.ErrorContains(t, err, "Config.Ports")
	}
}

// brokenListener fails a number of times, as a listener does if its network is
// gone; then it is a listener.
type brokenListener struct {
	net.Listener
	failures int
}

var errBroken = errors.New("the network is gone")

func (b *brokenListener) Accept() (net.Conn, error) {
	if b.failures--; b.failures >= 0 {
		return nil, errBroken
	}
	return b.Listener.Accept()
}

// A listener that can accept no connection ends the sign-in, and does not let the
// user wait for an answer that cannot come. One that fails for some connections
// goes on.
func TestABrokenListenerEndsTheSignIn(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	s := listen(t, loopback.Config{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		loopback.Accept(s, &brokenListener{l, 20})
	}()
	require.Contains(t, raw(t, l.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "421")
	require.NoError(t, s.Close())
	<-served

	s = listen(t, loopback.Config{})
	loopback.Accept(s, &brokenListener{l, 1000})
	_, err = s.Wait(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "sign in again")
}
