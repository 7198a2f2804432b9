package loopback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/peer"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// S4: the URL that is opened contains nothing of the authorization request,
// works once, and leads nowhere else.
//
// That is so if the system does not say which user requests it.
func TestS4TheTicketWorksOnce(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	loopback.SetOwner(s, peer.Unknown)
	require.NotContains(t, ticket, state)
	require.NotContains(t, ticket, "as.example")

	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		require.Equal(t, 405, send(t, method, ticket, "").StatusCode)
	}
	require.Equal(t, 404, send(t, "GET", ticket+"x", "").StatusCode)
	require.Equal(t, 404, send(t, "GET", ticket+"/", "").StatusCode)
	require.Equal(t, 403,
		send(t, "GET", ticket, "", "Sec-Purpose", "prefetch;prerender").StatusCode)
	require.Equal(t, 403, send(t, "GET", ticket, "", "Sec-Fetch-Dest", "image", "Sec-Fetch-Mode",
		"no-cors").StatusCode)
	require.Equal(t, 421, send(t, "GET", ticket, "", "Host", "evil.example").StatusCode)

	first := send(t, "GET", ticket, "", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
		"Sec-Fetch-Site", "none")
	require.Equal(t, 302, first.StatusCode, "none of the above used it up")
	require.Equal(t, authURL, first.Header.Get("Location"))
	require.Equal(t, "no-store", first.Header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", first.Header.Get("Referrer-Policy"))

	second := send(t, "GET", ticket, "")
	require.Equal(t, 410, second.StatusCode)
	require.Empty(t, second.Header.Get("Location"))
	complete(t, s)
}

// A ticket that does not know yet where it leads waits, and is not used up by that. It
// shows a page meanwhile, and another one if the sign-in ends.
func TestTheTicketWaitsForItsURL(t *testing.T) {
	t.Parallel()
	waiting := func(patience time.Duration) (*loopback.Server, chan *http.Response) {
		s, ticket := startPatient(t, patience, "")
		got := make(chan *http.Response, 1)
		go func() {
			resp, err := try("GET", ticket, "")
			assert.NoError(t, err)
			got <- resp
		}()
		return s, got
	}
	s, got := waiting(soon)
	select {
	case <-got:
		t.Fatal("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	require.Error(t, s.Renew("javascript:x"))
	require.NoError(t, s.Renew(authURL))
	resp := <-got
	require.Equal(t, 302, resp.StatusCode)
	require.Equal(t, authURL, resp.Header.Get("Location"))
	complete(t, s)

	s, got = waiting(time.Millisecond)
	resp = <-got
	require.Equal(t, 200, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `http-equiv="refresh"`)
	select {
	case <-s.Visited():
		t.Fatal("the waiting page is no use of the ticket")
	default:
	}

	// The browser comes when all is over.
	for _, url := range []string{"", authURL} {
		s = listen(t, loopback.Config{})
		ticket, err := s.Start(url, loopback.Expect{State: state, Issuer: issuer})
		require.NoError(t, err)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Wait(over)
		require.ErrorIs(t, err, context.Canceled)
		resp, err = try("GET", ticket, "")
		require.NoError(t, err)
		require.Equal(t, 410, resp.StatusCode)
		body, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), "Sign-in didn’t finish")
		require.NotContains(t, string(body), `http-equiv="refresh"`)
		<-s.Visited()
	}

	// The answer was pasted, and the browser comes after that.
	s = listen(t, loopback.Config{})
	ticket, err := s.Start("", loopback.Expect{State: state, Issuer: issuer})
	require.NoError(t, err)
	require.NoError(t, s.Paste(good(s)))
	require.Equal(t, 410, send(t, "GET", ticket, "").StatusCode)

	// The sign-in ends while the browser waits: it is told, before the port closes.
	s, ticket = startPatient(t, soon, "")
	browser := awaited(t, s, ticket)
	require.NoError(t, s.Close())
	page, err := io.ReadAll(browser)
	require.NoError(t, err)
	require.Contains(t, string(page), "Sign-in didn’t finish")
	<-s.Visited()
}

// S4: a launcher or a link scanner requests the ticket before the browser does.
// The same user may repeat it a few times, until the first callback. A user that
// is not known may not, whoever came first, and another user never.
func TestS4TheSameUserMayRepeatTheTicket(t *testing.T) {
	t.Parallel()
	var sender atomic.Int64
	begin := func(cfg loopback.Config, first peer.User) (*loopback.Server, func(peer.User) int) {
		s, ticket := start(t, cfg)
		loopback.SetOwners(s, func() peer.User { return peer.User(sender.Load()) })
		get := func(u peer.User) int {
			sender.Store(int64(u))
			resp := send(t, "GET", ticket, "")
			require.Equal(t, resp.StatusCode == 302, resp.Header.Get("Location") == authURL)
			return resp.StatusCode
		}
		require.Equal(t, 302, get(first))
		<-s.Visited()
		return s, get
	}

	s, get := begin(loopback.Config{}, peer.SameUser)
	for range 4 {
		require.Equal(t, 403, get(peer.OtherUser))
		require.Equal(t, 410, get(peer.Unknown))
		require.Equal(t, 302, get(peer.SameUser))
	}
	require.Equal(t, 410, get(peer.SameUser), "five times are enough")
	complete(t, s)

	s, get = begin(loopback.Config{}, peer.Unknown)
	require.Equal(t, 302, get(peer.SameUser), "an unknown scanner came first")
	complete(t, s)
	require.Equal(t, 410, get(peer.SameUser), "the sign-in has its callback")

	// AllowOtherUsers lets others use the ticket, as ever, but not repeat it.
	_, get = begin(loopback.Config{AllowOtherUsers: true}, peer.OtherUser)
	require.Equal(t, 410, get(peer.OtherUser))
}

// S4: the real system says that this process's own requests are the same user's.
func TestS4AScannerDoesNotUseUpTheTicket(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("skipped: other systems do not say which user sent a request")
	}
	s, ticket := start(t, loopback.Config{})
	require.Equal(t, 405, send(t, "HEAD", ticket, "").StatusCode)
	require.Equal(t, 302, send(t, "GET", ticket, "", "User-Agent", "scanner").StatusCode)
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode, "the browser")
	complete(t, s)
}

// Renew replaces a pushed request that the provider has forgotten (RFC 9126
// §2.2). The ticket still works once, and its URL is checked as strictly.
func TestRenewReplacesTheURL(t *testing.T) {
	t.Parallel()
	require.Error(t, listen(t, loopback.Config{}).Renew(authURL), "before Start")
	s, ticket := start(t, loopback.Config{})
	loopback.SetOwner(s, peer.Unknown)
	require.Error(t, s.Renew("javascript:alert(1)"))
	require.NoError(t, s.Renew(authURL+"&second=1"))
	select {
	case <-s.Visited():
		t.Fatal("visited before anybody came")
	default:
	}
	require.Equal(t, authURL+"&second=1", send(t, "GET", ticket, "").Header.Get("Location"))
	<-s.Visited()
	require.Equal(t, 410, send(t, "GET", ticket, "").StatusCode)
	complete(t, s)
	require.ErrorIs(t, s.Renew(authURL), os.ErrClosed)
}

// S11: DNS rebinding. Only the redirect URI's own authority is answered.
func TestS11OtherHostsAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	_, port, err := net.SplitHostPort(addr(t, s))
	require.NoError(t, err)
	for _, host := range []string{
		"evil.example", "evil.example:" + port, "localhost:" + port, "127.0.0.1", "127.0.0.1:1",
		"127.0.0.1:" + port + ".evil.example", "0.0.0.0:" + port, "127.1:" + port,
	} {
		require.Equal(t, 421, send(t, "GET", good(s), "", "Host", host).StatusCode, host)
		pending(t, s)
	}
	path := strings.TrimPrefix(good(s), "http://"+addr(t, s))
	require.Contains(t, raw(t, addr(t, s), "GET "+path+" HTTP/1.0\r\n\r\n"), "421")
	require.Contains(t, raw(t, addr(t, s), "GET "+path+" HTTP/1.1\r\n\r\n"), "400")
	require.Contains(t,
		raw(t, addr(t, s),
			"GET "+path+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\nHost: evil.example\r\n\r\n"),
		"400")
	require.Contains(t,
		raw(t, addr(t, s),
			"GET http://evil.example"+path+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n\r\n"),
		"421")
	require.Contains(t,
		raw(t, addr(t, s), "GET "+good(s)+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n\r\n"), "404",
		"a proxy's form of request")
	require.Contains(t, raw(t, addr(t, s), "GARBAGE\r\n\r\n"), "400")
	require.Contains(t,
		raw(t, addr(t, s),
			"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("\x00\r\n", 20)),
		"400")
	pending(t, s)
	complete(t, s)
}

// S12: GET on the exact path and nothing else.
func TestS12OnlyGETOnTheExactPath(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	for _, method := range []string{
		"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get",
	} {
		resp := send(t, method, good(s), "")
		require.Equal(t, 405, resp.StatusCode, method)
		require.Equal(t, "GET", resp.Header.Get("Allow"))
		require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, resp.Header.Get("Access-Control-Allow-Private-Network"))
	}
	for _, path := range []string{
		"/callback/", "/Callback", "/%63allback", "//callback", "/./callback", "/callback/..",
		"/callback;x", "/", "/favicon.ico", "/robots.txt", "/cb",
	} {
		q := "?" + strings.SplitN(good(s), "?", 2)[1]
		require.Contains(t,
			raw(t, addr(t, s), "GET "+path+q+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n\r\n"), "404",
			path)
	}
	require.Equal(t, 405, send(t, "GET", good(s), "body").StatusCode, "a GET with a body")
	pending(t, s)
	complete(t, s)
}

// S13: a request that is not a user opening a page does not consume the
// response.
func TestS13OnlyANavigationCounts(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	for _, h := range [][]string{
		{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
		{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"},
		{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
		{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Dest", "iframe"},
		{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "embed"},
		{"Sec-Fetch-Dest", "script"},
		{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch"},
		{"Sec-Purpose", "prefetch;prerender"},
		{"Purpose", "prefetch"},
		{"X-Moz", "prefetch"},
		{"Upgrade", "websocket", "Connection", "Upgrade"},
	} {
		require.Equal(t, 403, send(t, "GET", good(s), "", h...).StatusCode, h)
		pending(t, s)
	}
	complete(t, s)
}

// S14, S16, S31, S32: a bad response is refused, nothing of it is repeated, and
// the right one is still accepted.
func TestS14S16S31S32BadAnswersAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	long := strings.Repeat("x", 9000)
	for name, query := range map[string]string{
		"S14 no query":            "",
		"S14 no state":            "code=c",
		"S14 empty state":         "code=c&state=",
		"S14 wrong state":         "code=c&state=wrong",
		"S14 prefix of the state": "code=c&state=" + state[:len(state)-1],
		"S14 longer state":        "code=c&state=" + state + "x",
		"S14 other case":          "code=c&state=" + strings.ToUpper(state),
		"S14 error, wrong state":  "error=access_denied&state=wrong",
		"S14 error, no state":     "error=access_denied",
		"S14 State":               "code=c&State=" + state,
		"S16 two states":          "code=c&state=" + state + "&state=" + state,
		"S16 two states, wrong":   "code=c&state=wrong&state=" + state,
		"S16 two codes":           "code=a&code=b&state=" + state,
		"S16 two iss": "code=c&iss=" + issuer +
			"&iss=https://evil.example&state=" + state,
		"S16 two errors":          "error=a&error=b&state=" + state,
		"S16 two of another":      "code=c&x=1&x=2&state=" + state,
		"S16 code and error":      "code=c&error=access_denied&state=" + state,
		"S16 malformed":           "code=a%zz&state=" + state,
		"S16 malformed elsewhere": "code=c&state=" + state + "&x=%",
		"S16 semicolon":           "code=c;state=" + state,
		"S16 neither":             "state=" + state,
		"S31 access_token":        "code=c&access_token=t&state=" + state,
		"S31 id_token":            "id_token=t&state=" + state,
		"S32 empty code":          "code=&state=" + state,
		"S32 code with control":   "code=a%00b&state=" + state,
		"S32 code with newline":   "code=a%0Ab&state=" + state,
		"S32 code not ASCII":      "code=%C3%A9&state=" + state,
		"S32 code not UTF-8":      "code=%FF&state=" + state,
		"S32 code too long":       "code=" + long + "&state=" + state,
		"S32 empty error":         "error=&state=" + state,
		"S32 error with escape":   "error=%1B%5B2J&state=" + state,
		"S32 error too long":      "error=" + long[:201] + "&state=" + state,
		"S32 description UTF-8":   "error=x&error_description=%FF&state=" + state,
	} {
		resp := send(t, "GET", s.RedirectURI()+"?"+query, "", "Accept", "text/html")
		require.Equal(t, 400, resp.StatusCode, name)
		body := text(t, resp)
		require.NotContains(t, body, state, name)
		require.Empty(t, resp.Header.Get("Location"))
		pending(t, s)
		if query != "" {
			require.Error(t, s.Paste(s.RedirectURI()+"?"+query), name)
			pending(t, s)
		}
	}
	complete(t, s)
}

// S15: of 50 valid answers at once one counts.
func TestS15OneAnswerCounts(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	var wg sync.WaitGroup
	status := make(chan int, 50)
	for range 50 {
		wg.Go(func() {
			resp, err := try("GET", good(s), "")
			if err != nil {
				status <- -1
				return
			}
			status <- resp.StatusCode
		})
	}
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	for range 49 {
		require.Equal(t, http.StatusGone, <-status,
			"all but one are refused while that one is still held")
	}
	r.Finish("", nil)
	require.Equal(t, http.StatusSeeOther, <-status)
	wg.Wait()
	require.Equal(t, http.StatusGone, send(t, "GET", good(s), "").StatusCode)
	require.Error(t, s.Paste(good(s)))
}

// S18: a response after the deadline is refused, and the error says how far the
// browser came.
func TestS18TheErrorSaysHowFarTheBrowserCame(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before func(s *loopback.Server, ticket string)
		want   string
	}{
		"nothing": {func(*loopback.Server, string) {}, "did not ask"},
		"opened": {func(_ *loopback.Server, ticket string) {
			send(t, "GET", ticket, "")
		}, "did not come back"},
		"wrong": {func(s *loopback.Server, _ string) {
			send(t, "GET", s.RedirectURI()+"?code=c&state=old", "")
		}, "state is not this sign-in's"},
		"duplicates": {func(s *loopback.Server, _ string) {
			send(t, "GET", good(s)+"&code=2", "")
		}, "more than once"},
		"the later of two": {func(s *loopback.Server, _ string) {
			send(t, "GET", good(s)+"&code=2", "")
			send(t, "GET", good(s)+"&error=e", "")
		}, "both a code and an error"},
		"stray last": {func(s *loopback.Server, _ string) {
			send(t, "GET", good(s)+"&code=2", "")
			send(t, "GET", s.RedirectURI()+"?code=c&state=old", "")
			send(t, "GET", strings.Replace(s.RedirectURI(), "/callback", "/favicon.ico", 1), "")
		}, "more than once"},
		"path": {func(s *loopback.Server, _ string) {
			send(t, "GET", strings.Replace(good(s), "/callback", "/cb", 1), "")
		}, "path"},
	} {
		t.Run(name, func(t *testing.T) {
			s, ticket := start(t, loopback.Config{})
			tc.before(s, ticket)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := s.Wait(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, tc.want)
			for _, leak := range []string{state, code, "code=", "as.example"} {
				require.NotContains(t, err.Error(), leak)
			}
			require.Equal(t, 410, send(t, "GET", good(s), "").StatusCode, "late")
			require.Equal(t, 410, send(t, "GET", ticket, "").StatusCode, "late")
			_, again := s.Wait(t.Context())
			require.Equal(t, err, again)
			require.Error(t, s.Paste(good(s)))
		})
	}
}

// S21: the page says signed in only after Finish did.
func TestS21ThePageFollowsFinish(t *testing.T) {
	t.Parallel()
	denied := "?error=access_denied&error_description=%3Csvg+onload%3D1%3E" +
		"&error_uri=https://evil.example&state=" + state
	for name, tc := range map[string]struct {
		query, user string
		err         error
		want        string
	}{
		"done": {"?code=c&state=" + state, "alice@example.com", nil,
			"alice@example.com"},
		"done, nobody": {"?code=c&state=" + state, "", nil, "signed in"},
		"S19 markup": {"?code=c&state=" + state, "<svg onload=1>\"'&{{title}}", nil,
			"&lt;svg onload=1&gt;&#34;&#39;&amp;{{title}}"},
		"S5 controls": {"?code=c&state=" + state, "al\x1b]0;x\x07ice\u202e", nil,
			"al�]0;x�ice�"},
		"failed": {"?code=c&state=" + state, "alice@example.com",
			errors.New("<b>token endpoint 400"), "finish"},
		"denied": {denied, "", errors.New("denied"), "declined"},
		"another refusal": {strings.Replace(denied, "access_denied", "server_error", 1), "",
			errors.New("x"), "finish"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, loopback.Config{})
			go func() {
				if r, err := s.Wait(t.Context()); err == nil {
					r.Finish(tc.user, tc.err)
					r.Finish("mallory", nil) // the first call counts
				}
			}()
			held := send(t, "GET", s.RedirectURI()+tc.query, "")
			require.Equal(t, 303, held.StatusCode)
			require.Equal(t, loopback.PagePath(s)+"#", held.Header.Get("Location"),
				"S20: no parameter; and no fragment is carried over")
			body := text(t, send(t, "GET",
				strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1), ""))
			require.Contains(t, body, tc.want)
			require.NotContains(t, body, "mallory")
			require.NotContains(t, body, "token endpoint")
			require.NotContains(t, body, "<svg onload") // S19
			require.NotContains(t, body, "evil.example")
			if tc.err != nil {
				require.NotContains(t, body, "signed in<")
				require.NotContains(t, body, "alice")
			}
		})
	}
}

// S19: the headers of every kind of answer.
func TestS19EveryAnswerHasTheHeaders(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	loopback.SetOwner(s, peer.Unknown)
	page := strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1)
	all := map[string]*http.Response{
		"404":    send(t, "GET", s.RedirectURI()+"x", ""),
		"405":    send(t, "POST", s.RedirectURI(), ""),
		"421":    send(t, "GET", s.RedirectURI(), "", "Host", "x"),
		"400":    send(t, "GET", s.RedirectURI(), "", "Origin", "https://evil.example"),
		"403":    send(t, "GET", s.RedirectURI(), "", "Sec-Fetch-Dest", "image"),
		"ticket": send(t, "GET", ticket, ""),
		"410":    send(t, "GET", ticket, ""),
	}
	go func() {
		if r, err := s.Wait(t.Context()); err == nil {
			r.Finish("alice@example.com", nil)
		}
	}()
	all["303"] = send(t, "GET", good(s), "")
	all["page"] = send(t, "GET", page, "")
	all["page by POST"] = send(t, "POST", page, "")
	for name, resp := range all {
		h := resp.Header
		require.Equal(t, "no-store", h.Get("Cache-Control"), name)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), name)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), name)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), name)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"), name)
		require.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), name)
		csp := h.Get("Content-Security-Policy")
		require.True(t,
			strings.HasPrefix(csp,
				"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
			name)
		require.NotContains(t, csp, "unsafe")
		require.NotContains(t, csp, "img-src")
		for _, absent := range []string{
			"Set-Cookie", "Access-Control-Allow-Origin", "Server", "Refresh",
		} {
			require.Empty(t, h.Get(absent), name)
		}
		require.True(t, resp.Close || h.Get("Connection") == "close", "S17 no keep-alive: %s", name)
	}
	require.NotContains(t, text(t, all["page"]), "<script")
}

// S22: no parameter decides to which URL a browser is redirected.
func TestS22NoRedirector(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	evil := "next=https://evil.example&redirect_uri=https://evil.example" +
		"&error_uri=https://evil.example"
	require.Equal(t, authURL, send(t, "GET", ticket+"?"+evil, "").Header.Get("Location"))
	go func() {
		if r, err := s.Wait(t.Context()); err == nil {
			r.Finish("", nil)
		}
	}()
	require.Equal(t, loopback.PagePath(s)+"#",
		send(t, "GET", good(s)+"&"+evil, "").Header.Get("Location"))
}

// S23: a password that a 307 sends here is not read, kept or shown.
func TestS23APostedPasswordIsNotRead(t *testing.T) {
	t.Parallel()
	for _, form := range []bool{false, true} {
		s, _ := start(t, loopback.Config{FormPost: form})
		resp := send(t, "POST", good(s), "username=alice&password=password-canary", "Content-Type",
			"application/x-www-form-urlencoded")
		require.Contains(t, []int{400, 405}, resp.StatusCode)
		require.Equal(t, form, resp.StatusCode == 400)
		require.NotContains(t, text(t, resp), "canary")
		pending(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Wait(ctx)
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestFormPostIsCheckedLikeAQuery(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{FormPost: true})
	form := strings.SplitN(good(s), "?", 2)[1]
	urlencoded := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for name, tc := range map[string]struct {
		url, body string
		header    []string
		want      int
	}{
		"no type": {s.RedirectURI(), form, nil, 415},
		"json": {s.RedirectURI(), form, []string{"Content-Type", "application/json"},
			415},
		"multipart": {s.RedirectURI(), form,
			[]string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		"text/plain": {s.RedirectURI(), form, []string{"Content-Type", "text/plain"}, 415},
		"both":       {good(s), form, urlencoded, 400},
		"query only": {good(s), "", urlencoded, 400},
		"empty":      {s.RedirectURI(), "", urlencoded, 400},
		"large":      {s.RedirectURI(), form + strings.Repeat("&", 17<<10), urlencoded, 413},
		"S14":        {s.RedirectURI(), "code=c&state=wrong", urlencoded, 400},
		"S16":        {s.RedirectURI(), form + "&code=2", urlencoded, 400},
		"S13 fetch()": {s.RedirectURI(), form,
			append([]string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"}, urlencoded...),
			403},
		"S12 put": {s.RedirectURI(), "", []string{"X-HTTP-Method-Override", "GET"}, 400},
		"S11 other host": {s.RedirectURI(), form,
			append([]string{"Host", "evil.example"}, urlencoded...), 421},
	} {
		method := "POST"
		if name == "S12 put" {
			tc.want, method = 405, "PUT"
		}
		require.Equal(t, tc.want, send(t, method, tc.url, tc.body, tc.header...).StatusCode, name)
		pending(t, s)
	}
	held := make(chan *http.Response, 1)
	go func() {
		resp, _ := try("POST", s.RedirectURI(), form, append(
			[]string{
				"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest",
				"document", "Origin", "null",
			},
			urlencoded...)...)
		held <- resp
	}()
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	got, err := r.Code()
	require.NoError(t, err)
	require.Equal(t, code, got)
	r.Finish("alice", nil)
	require.Equal(t, 303, (<-held).StatusCode)
}

// A form that arrives slowly, or is cut off, does not stop the login.
func TestASlowFormPostDoesNotStopALogin(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{FormPost: true})
	for range 20 {
		c, err := net.Dial("tcp", addr(t, s))
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c,
			"POST /callback HTTP/1.1\r\nHost: %s\r\n"+
				"Content-Type: application/x-www-form-urlencoded\r\n"+
				"Content-Length: 1000\r\n\r\ncode=",
			addr(t, s))
		require.NoError(t, err)
	}
	complete(t, s)
}

// S29: the cases of RFC 9207, for responses with the right state.
func TestS29AWrongIssuerEndsTheSignIn(t *testing.T) {
	t.Parallel()
	const ok, over = "taken", "over"
	for _, tc := range []struct {
		iss     string // "-": absent
		require bool
		want    string
	}{
		{issuer, false, ok}, {issuer, true, ok}, {"-", false, ok},
		{"-", true, over}, {"", false, over}, {"", true, over},
		{issuer + "/", false, over}, {issuer + " ", false, over},
		{"https://as.exampl", false, over},
		{"https://AS.example", false, over}, {"HTTPS://as.example", false, over},
		{"https://as.example:443", false, over},
		{"https://evil.example", false, over}, {"https://evil.example", true, over},
	} {
		for _, kind := range []string{"code=c", "error=access_denied"} {
			for _, paste := range []bool{false, true} {
				s := listen(t, loopback.Config{})
				_, err := s.Start(authURL,
					loopback.Expect{State: state, Issuer: issuer, RequireIssuer: tc.require})
				require.NoError(t, err)
				query := kind + "&state=" + state
				if tc.iss != "-" {
					query += "&iss=" + url.QueryEscape(tc.iss)
				}
				wrong := strings.Replace(query, state, "wrong", 1)
				require.Equal(t, 400, send(t, "GET", s.RedirectURI()+"?"+wrong, "").StatusCode)
				pending(t, s) // S14 comes first

				go func() {
					if r, err := s.Wait(t.Context()); err == nil {
						r.Finish("", nil)
					}
				}()
				if paste {
					err := s.Paste(s.RedirectURI() + "?" + query)
					require.Equal(t, tc.want == over, errors.Is(err, loopback.ErrIssuer))
				} else {
					held := send(t, "GET", s.RedirectURI()+"?"+query, "")
					require.Equal(t, 303, held.StatusCode)
					body := text(t, send(t, "GET",
						strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1), ""))
					require.Equal(t, tc.want == ok, strings.Contains(body, "signed in<"), body)
				}
				r, err := s.Wait(t.Context())
				if tc.want == ok {
					require.NoError(t, err)
					require.NotNil(t, r)
				} else {
					require.ErrorIs(t, err, loopback.ErrIssuer, tc.iss)
					require.NotContains(t, err.Error(), "evil")
					require.Nil(t, r)
				}
				require.Equal(t, 410, send(t, "GET", good(s), "").StatusCode)
				require.NoError(t, s.Close())
			}
		}
	}
}

// S32: a provider's refusal is a typed error, its text fit for a terminal.
func TestS32AProvidersErrorIsTyped(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	require.NoError(t,
		s.Paste("error=access_denied&error_description=no%0D%0Ado%1B%5D0%3Bx%07&state="+state))
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	got, err := r.Code()
	require.Empty(t, got)
	var refused *loopback.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, &loopback.Error{Code: "access_denied", Description: "no  do�]0;x�"}, refused)
	require.EqualError(t, err, "the provider refused the sign-in: access_denied: no  do�]0;x�")
}

func TestPasteIsCheckedLikeARequest(t *testing.T) {
	t.Parallel()
	unstarted := listen(t, loopback.Config{})
	require.Error(t, unstarted.Paste("code=c&state="+state))
	for _, form := range []string{"%s", "  %s \n", "%s#", "%s#_=_"} {
		s, _ := start(t, loopback.Config{})
		for _, bad := range []string{
			"", "hello", "https://evil.example/callback?code=c&state=" + state, code,
			strings.Repeat("x", 1<<20),
		} {
			err := s.Paste(bad)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "evil")
			pending(t, s)
		}
		require.NoError(t, s.Paste(fmt.Sprintf(form, good(s))))
		r, err := s.Wait(t.Context())
		require.NoError(t, err)
		got, err := r.Code()
		require.NoError(t, err)
		require.Equal(t, code, got)
		r.Finish("", nil)
		started := time.Now()
		require.NoError(t, s.Close())
		require.Less(t, time.Since(started), soon, "no browser waits for a page")
	}
}

// A pasted text has 64 KiB at most, without the blanks around it.
func TestPasteIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	longest := good(s) + "#"
	longest += strings.Repeat("x", 64<<10-len(longest))
	require.ErrorContains(t, s.Paste(longest+"x"), "too long")
	pending(t, s)
	require.NoError(t, s.Paste(" "+longest+"\n"))
}

// A browser may show the address without its scheme, or with https. A user
// copies what the browser shows.
func TestPasteAcceptsAnyScheme(t *testing.T) {
	t.Parallel()
	for _, localhost := range []bool{false, true} {
		for _, scheme := range []string{"http://", "https://", "", "HTTPS://"} {
			s, _ := start(t, loopback.Config{Localhost: localhost})
			answer := strings.TrimPrefix(good(s), "http://")
			for _, bad := range []string{
				"ftp://" + answer, "https://https://" + answer, "evil.example/" + answer,
				"https://evil.example@" + answer, "javascript:" + answer, "://" + answer,
				strings.Replace(scheme+answer, "/callback", "/other", 1),
				strings.Replace(scheme+answer, state, "another", 1),
			} {
				require.Error(t, s.Paste(bad), bad)
				pending(t, s)
			}
			require.NoError(t, s.Paste(scheme+answer))
			r, err := s.Wait(t.Context())
			require.NoError(t, err)
			got, err := r.Code()
			require.NoError(t, err)
			require.Equal(t, code, got)
		}
	}
}

// notices returns the messages that were sent so far.
func notices(s *loopback.Server) (all []string) {
	for {
		select {
		case text := <-s.Notices():
			all = append(all, text)
		default:
			return all
		}
	}
}

// A provider that forgets the state sends an error that may be anybody's. It ends
// nothing, and the user learns of it in our words, not in the provider's.
func TestAnErrorWithoutStateIsRecognised(t *testing.T) {
	t.Parallel()
	const canary = "text-of-the-server"
	for _, form := range []string{"", "state=&"} {
		s, _ := start(t, loopback.Config{FormPost: true})
		require.Empty(t, notices(s))
		query := form + "error=access_denied&error_description=" + canary
		resp := send(t, "GET", s.RedirectURI()+"?"+query, "", "Accept", "text/html")
		require.Equal(t, 400, resp.StatusCode)
		body := text(t, resp)
		require.Contains(t, body, "An error came back")
		require.Equal(t, 400, send(t, "POST", s.RedirectURI(), query, "Content-Type",
			"application/x-www-form-urlencoded").StatusCode)
		said := notices(s)
		require.Len(t, said, 1, "once, however often it comes")
		require.Contains(t, said[0], "without the state")
		pasted := s.Paste(s.RedirectURI() + "?" + query)
		require.ErrorContains(t, pasted, "an error but no state")
		pending(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		other, _ := start(t, loopback.Config{})
		send(t, "GET", other.RedirectURI()+"?"+query, "")
		_, err := other.Wait(ctx)
		require.ErrorContains(t, err, "an error but no state")
		for _, shown := range []string{body, said[0], pasted.Error(), err.Error()} {
			require.NotContains(t, shown, canary)
			require.NotContains(t, shown, "access_denied")
		}
		complete(t, s)
	}
}

// A browser that insists on https greets with TLS. It gets its answer at once, so
// that it can try http, and the user learns why nothing loads.
func TestATLSGreetingIsRecognised(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	for range 2 {
		begun := time.Now()
		_, err := try("GET", strings.Replace(ticket, "http:", "https:", 1), "")
		require.Error(t, err)
		require.Less(t, time.Since(begun), soon)
	}
	said := notices(s)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "HTTPS-only")
	require.Contains(t, loopback.LastRefused(s), "https")
	pending(t, s)
	require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode)
	complete(t, s)
}

// A response before Start is refused.
func TestNothingIsTakenBeforeStart(t *testing.T) {
	t.Parallel()
	s := listen(t, loopback.Config{})
	require.Equal(t, 404, send(t, "GET", good(s), "").StatusCode)
	pending(t, s)
	_, err := s.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
	require.NoError(t, err)
	complete(t, s)
}

// Close lets a held browser load the failure page, and does not wait for one
// that has left.
func TestCloseDeliversThePage(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	held := make(chan *http.Response, 1)
	go func() {
		resp, _ := try("GET", good(s), "")
		held <- resp
	}()
	_, err := s.Wait(t.Context())
	require.NoError(t, err)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	resp := <-held
	require.Equal(t, 303, resp.StatusCode)
	location, err := resp.Location()
	require.NoError(t, err)
	// A browser that takes longer than a second may find the port closed. This
	// one does not.
	if page, err := try("GET", location.String(), "", "Accept-Language", "de"); err == nil {
		require.Contains(t, text(t, page), "nicht abgeschlossen")
	}
	require.NoError(t, <-closed)
}

func TestCloseDoesNotWaitForABrowserThatLeft(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	c := awaited(t, s, good(s))
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return loopback.Settled(s) }, soon, time.Millisecond)
	r.Finish("alice", nil)
	require.NoError(t, s.Close())
}

// S66: printing shows neither state nor code nor ticket.
func TestS66PrintingShowsNoSecret(t *testing.T) {
	t.Parallel()
	s, ticket := start(t, loopback.Config{})
	require.NoError(t, s.Paste(good(s)))
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	expect := loopback.Expect{State: state, Issuer: issuer}
	for _, v := range []any{
		s, r, *r, expect, &expect, struct{ E loopback.Expect }{expect},
		struct{ R *loopback.Response }{r}, []any{s, r, expect},
	} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb, v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, leak := range []string{
			state, code, ticket[strings.LastIndex(ticket, "/")+1:], fmt.Sprintf("%x", state),
		} {
			require.NotContains(t, out.String(), leak, "%T", v)
		}
	}
}

func TestWaitFailsAfterClose(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	go s.Close()
	_, err := s.Wait(t.Context())
	require.ErrorIs(t, err, os.ErrClosed)
}

// If a sign-in takes long after the response, the browser leaves the address
// with the code and gets a page that waits.
func TestASlowSignInGetsAWaitingPage(t *testing.T) {
	t.Parallel()
	s, _ := startPatient(t, 10*time.Millisecond, authURL)
	require.Equal(t, 303, send(t, "GET", good(s), "").StatusCode, "though nothing is finished")
	page := strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1)
	body := text(t, send(t, "GET", page, ""))
	require.Contains(t, body,
		`<meta http-equiv="refresh" content="1; url=`+loopback.PagePath(s)+`">`)
	require.NotContains(t, body, "signed in<")
	send(t, "GET", page, "") // what follows the first answer is likely to have happened by now
	require.False(t, loopback.Settled(s))
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	r.Finish("alice@example.com", nil)
	body = text(t, send(t, "GET", page, ""))
	require.Contains(t, body, "alice@example.com")
	require.NotContains(t, body, "refresh")
	require.Eventually(t, func() bool { return loopback.Settled(s) }, soon, time.Millisecond)
}

// S17: a browser that waits for its page does not lose it to a flood.
func TestS17AFloodDoesNotTakeTheWaitingPage(t *testing.T) {
	t.Parallel()
	s, _ := startPatient(t, soon, authURL)
	require.NoError(t, s.Paste(good(s)))
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	browser := awaited(t, s, strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1))
	crowd(t, s, 2*loopback.MaxConns)
	send(t, "GET", s.RedirectURI(), "") // by now all of them were let in
	r.Finish("alice@example.com", nil)
	page, err := io.ReadAll(browser)
	require.NoError(t, err)
	require.Contains(t, string(page), "alice@example.com")
}

// Only a browser gets a page if it is refused. Others get a line.
func TestARefusalIsALineForPrograms(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	for accept, kind := range map[string]string{
		"": "text/plain", "*/*": "text/plain", "text/html, */*": "text/html",
	} {
		resp := send(t, "GET", s.RedirectURI()+"?code=c&state=old", "", "Accept", accept)
		require.Equal(t, 400, resp.StatusCode)
		require.Equal(t, kind+"; charset=utf-8", resp.Header.Get("Content-Type"), accept)
		require.Equal(t, kind == "text/plain", text(t, resp) == "Bad Request\n")
	}
	complete(t, s)
}

// S69: the return from a provider's sign-out is recognised by its state. It has
// no code, and is refused if it has one.
func TestS69ASignOutReturnsWithoutACode(t *testing.T) {
	t.Parallel()
	s := listen(t, loopback.Config{})
	_, err := s.Start("https://as.example/end", loopback.Expect{State: state, SignOut: true})
	require.NoError(t, err)
	for _, query := range []string{
		"", "state=wrong", "state=" + state + "&code=c", "state=" + state + "&error=x",
		"state=" + state + "&state=" + state,
	} {
		require.Equal(t, 400, send(t, "GET", s.RedirectURI()+"?"+query, "").StatusCode, query)
		pending(t, s)
	}
	go func() {
		if r, err := s.Wait(t.Context()); err == nil {
			r.Finish("", nil)
		}
	}()
	require.Equal(t, 303, send(t, "GET", s.RedirectURI()+"?state="+state, "").StatusCode)
	r, err := s.Wait(t.Context())
	require.NoError(t, err)
	got, err := r.Code()
	require.NoError(t, err)
	require.Empty(t, got)
	body := text(t,
		send(t, "GET", strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1), ""))
	require.Contains(t, body, "signed out<")
}
