package loopback_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// S17: another process opens 50 connections that send slowly, and this one
// opens as many that send nothing. The response still gets through at once.
func TestS17SlowConnectionsDoNotDelayTheAnswer(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	out, _ := startAttacker(t, "slow", addr(t, s)+" /callback?code=c&state=wrong", nil)
	require.Equal(t, "50", line(t, out))
	crowd(t, s, 50)
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode)
	complete(t, s)
}

// S17: with more silent connections than the limit, the oldest make room, and
// their number is bounded.
func TestS17IdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	conns := crowd(t, s, 2*loopback.MaxConns)
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode)
	require.LessOrEqual(t, loopback.Open(s), loopback.MaxConns)
	for _, c := range conns[:loopback.MaxConns] {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(soon)))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "closed by the listener")
	}
	complete(t, s)
}

// S17: a browser that is held for its page is not among those that make room.
func TestS17AHeldBrowserIsNotEvicted(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	held := make(chan *http.Response, 1)
	go func() {
		resp, _ := try("GET", good(s), "")
		held <- resp
	}()
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	time.Sleep(2 * loopback.Serving) // it is not the time that a request is given which protects it
	crowd(t, s, 2*loopback.MaxConns)
	send(t, "GET", s.RedirectURI(), "") // by now all of them were let in
	r.Finish("alice", nil)
	resp := <-held
	require.NotNil(t, resp)
	require.Equal(t, 303, resp.StatusCode)
}

// S17: what is too large is refused. Cookies are not: they are other servers' and
// are thrown away as they come.
func TestS17LargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	big := strings.Repeat("x", 17<<10)
	require.Contains(t,
		raw(t, addr(t, s), "GET /callback?"+big+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n\r\n"), "431")
	huge := strings.Repeat(big, 61) // more than 1 MiB
	for _, header := range []string{
		"X: " + huge, "Cookie: " + huge, huge + ": x", strings.Repeat("X: y\r\n", 4<<10) + "X: y",
		"X: y" + strings.Repeat("\r\n y", 32<<10),
	} {
		require.Contains(t,
			raw(t, addr(t, s),
				"GET /callback HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n"+header+"\r\n\r\n"),
			"431", "%.20q", header)
	}
	require.Contains(t, loopback.LastRefused(s), "headers were too large")
	require.Len(t, notices(s), 1)
	require.Contains(t,
		raw(t, addr(t, s), "GET /callback HTTP/1.1\r\nHost: "+addr(t, s)+"\r\nX: "+big+"\r\n\r\n"),
		"400")
	require.Contains(t,
		raw(t, addr(t, s),
			"GET /callback HTTP/1.1\r\nHost: "+addr(t, s)+"\r\nX: "+big[:14<<10]+"\r\n\r\n"),
		"400", "a browser with many cookies is fine")
	pending(t, s)
	complete(t, s)
}

// S17: cookies ignore ports, so the browser sends those of every other server on
// 127.0.0.1, up to 180 of 4 KiB. The sign-in works all the same, and they are not
// kept in memory.
func TestS17CookiesOfOtherServers(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	cookie := strings.Repeat("session.0="+strings.Repeat("x", 4000)+"; ", 180)
	require.Greater(t, len(cookie), 256<<10)
	require.Equal(t, 302, send(t, "GET", ticket, "", "Cookie", cookie).StatusCode)
	require.Equal(t, 400, send(t, "GET", s.RedirectURI(), "", "Cookie", cookie).StatusCode)
	require.Equal(t, 403, send(t, "GET", ticket, "", "Cookie", cookie, "Sec-Fetch-Dest", "image",
		"Sec-Purpose", "prefetch").StatusCode, "what follows the cookies counts")
	require.Equal(t, 302, send(t, "GET", ticket, "", "X", cookie).StatusCode)

	go func() {
		if r, err := s.Wait(t.Context()); err == nil {
			r.Finish("alice", nil)
		}
	}()
	answer := send(t, "GET", good(s), "", "Cookie", cookie, "Cookie", cookie[:200<<10])
	require.Equal(t, 303, answer.StatusCode)
	page := strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1)
	require.Contains(t, text(t, send(t, "GET", page, "", "Cookie", cookie)), "alice")
}

// S17: what is left of a request, in whatever pieces it arrives.
func TestS17HeadersAreShortened(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 600)
	for request, want := range map[string]string{
		"GET /" + long + " HTTP/1.1\r\nHost: a\r\n\r\n":       "GET /" + long + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"G\r\nCookie: a=b\r\nHost: a\r\n\r\nCookie: body":     "G\r\nCookie:\nHost: a\r\n\r\nCookie: body",
		"G\ncOOKIE: a\nA: b\n\nCookie: body":                  "G\ncOOKIE:\nA: b\n\nCookie: body",
		"G\r\nCookies: a\r\nCooki: b\r\nXCookie: c\r\n\r\n":   "G\r\nCookies: a\r\nCooki: b\r\nXCookie: c\r\n\r\n",
		"G\r\nCookie: a\r\n b\r\n\tc\r\nA: b\r\n\r\n":         "G\r\nCookie:\n \n\t\nA: b\r\n\r\n",
		"G\r\nA:" + long + "\r\nB:" + long[:500] + "\r\n\r\n": "G\r\nA:" + long[:512] + "\nB:" + long[:500] + "\r\n\r\n",
		"G\r\nA: b\r\n" + long + "\r\n\r\n" + long:            "G\r\nA: b\r\n" + long + "\r\n\r\n" + long,
		"G\r\nCookie : a\r\nCookie\x1a: b\r\n\r\n":            "G\r\nCookie : a\r\nCookie\x1a: b\r\n\r\n",
		"\x16\x03\x01" + long:                                 "\x16\x03\x01" + long,
	} {
		for _, size := range []int{1, 2, 7, 1 << 20} {
			got, ok := loopback.Filter(request, size)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
	}
}

// S17: another process sends more than 10,000 junk requests a second, and a
// login completes.
func TestS17AFloodDoesNotStopALogin(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	s, ticket := start(t, loopback.Config{})
	// The attacker also keeps the machine busy. A bare listener shows what that
	// alone costs.
	bare, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer bare.Close()
	beside := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = beside.Serve(bare) }()
	defer beside.Close()

	out, in := startAttacker(t, "flood", addr(t, s)+" /callback?code=junk&state=junk", nil)
	rate := 0
	for range 2 {
		n, err := strconv.Atoi(line(t, out))
		require.NoError(t, err)
		rate = max(rate, n)
	}
	// This program starves too. A connection on which it is slow to send its request
	// makes room for others, and a browser's user would load the page again.
	reloaded := func(url string) *http.Response {
		for range 5 {
			if resp, err := try("GET", url, ""); err == nil {
				return resp
			}
		}
		return send(t, "GET", url, "")
	}
	var ours, control []time.Duration
	most := 0
	until := time.Now().Add(3 * time.Second)
	for n := 0; n < 50 && (n < 5 || time.Now().Before(until)); n++ {
		begun := time.Now()
		require.Equal(t, 404, send(t, "GET", "http://"+bare.Addr().String(), "").StatusCode)
		control = append(control, time.Since(begun))
		begun = time.Now()
		require.Equal(t, 400, reloaded(s.RedirectURI()+"?code=c&state=wrong").StatusCode)
		ours = append(ours, time.Since(begun))
		most = max(most, runtime.NumGoroutine())
	}
	begun := time.Now()
	require.Equal(t, 302, reloaded(ticket).StatusCode)
	require.Contains(t, complete(t, s), "alice@example.com")
	whole := time.Since(begun)
	begun = time.Now()
	require.NoError(t, s.Close())
	closed := time.Since(begun)
	require.NoError(t, in.Close())
	slices.Sort(ours)
	slices.Sort(control)
	t.Logf("junk requests a second: %d; a request: median %v, slowest %v "+
		"(a bare listener beside: %v, %v); whole login %v; Close %v; goroutines at most %d",
		rate, ours[len(ours)/2], ours[len(ours)-1], control[len(ours)/2], control[len(ours)-1],
		whole, closed, most)
	require.Less(t, most, 4*loopback.MaxConns, "what is kept is bounded")
	require.Less(t, whole, soon)
}

// Chromium opens connections in advance and sends nothing on them. Neither a
// response nor Close waits for them.
func TestSilentConnectionsDelayNothing(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	for range 6 {
		c, err := net.Dial("tcp", addr(t, s))
		require.NoError(t, err)
		defer c.Close()
	}
	begun := time.Now()
	complete(t, s)
	require.NoError(t, s.Close())
	require.Less(t, time.Since(begun), 4*time.Second,
		"less than the time a silent connection is given")
}

// Junk from several goroutines while the login runs does not race and decides
// nothing.
func TestConcurrentJunkDecidesNothing(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{FormPost: true})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				switch (i + n) % 4 {
				case 0:
					_, _ = try("GET", s.RedirectURI()+"?state=x&code="+strconv.Itoa(n), "")
				case 1:
					_, _ = try("POST", s.RedirectURI(), "state=x", "Content-Type",
						"application/x-www-form-urlencoded")
				case 2:
					_, _ = try("HEAD", ticket, "")
				case 3:
					_ = s.Paste(fmt.Sprint("code=c&state=", n))
				}
			}
		})
	}
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode)
	complete(t, s)
	cancel()
	wg.Wait()
}
