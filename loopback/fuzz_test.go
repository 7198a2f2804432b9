package loopback_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// FuzzCheck checks that only a response to this request is accepted, whatever
// its parameters are.
func FuzzCheck(f *testing.F) {
	f.Add("code=c&state=" + state)
	f.Add("error=access_denied&iss=https://as.example&state=" + state)
	f.Add("code=a%zz&code=b;state=" + state)
	f.Add("code=c&iss=x&state=" + state)
	f.Add("state=" + state + "&access_token=t&code=%00")
	want := loopback.Expect{State: state, Issuer: issuer}
	f.Fuzz(func(t *testing.T, query string) {
		ok, wrongIssuer := loopback.Check(query, want)
		require.False(t, ok && wrongIssuer)
		q, err := url.ParseQuery(query)
		if !ok && !wrongIssuer {
			return
		}
		require.NoError(t, err)
		require.Equal(t, []string{state}, q["state"])
		for name, values := range q {
			require.Len(t, values, 1, name)
		}
		require.NotEqual(t, q.Has("code"), q.Has("error"))
		require.False(t, q.Has("access_token"))
		require.Equal(t, wrongIssuer, q.Has("iss") && q.Get("iss") != issuer)
		require.Regexp(t, `^[\x20-\x7e]+$`, q.Get("code")+q.Get("error"))
	})
}

// FuzzRequest sends bytes as another local program can. None of them may end
// the login except the response itself. Every reply has the headers of S19 and
// does not contain the state.
func FuzzRequest(f *testing.F) {
	const host = "127.0.0.1:7"
	for _, seed := range []string{
		"GET /callback?code=c&state=x HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n",
		"POST /callback HTTP/1.1\r\nHost: 127.0.0.1:7\r\n" +
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\nstate=x&",
		"HEAD / HTTP/1.0\r\n\r\n",
		"GET /callback HTTP/1.1\r\nHost: 127.0.0.1:7\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /callback HTTP/1.1\r\nHost: 127.0.0.1:7\r\n" +
			"Accept-Language: de;q=1,*\r\nSec-Fetch-Dest: document\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add(seed)
	}
	s, err := loopback.Listen(f.Context(),
		loopback.Config{RedirectURI: "http://" + host + "/callback", FormPost: true})
	require.NoError(f, err)
	f.Cleanup(func() { _ = s.Close() })
	_, err = s.Start(authURL, loopback.Expect{State: state})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, request string) {
		if strings.Contains(request, state) {
			return
		}
		c, err := net.Dial("tcp", loopback.Bound(s))
		require.NoError(t, err)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(soon))
		go func() {
			_, _ = io.WriteString(c, request)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		b, _ := io.ReadAll(c)
		pending(t, s)
		require.NotContains(t, string(b), state)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(b))), nil)
		if err != nil {
			return // net/http hung up
		}
		defer resp.Body.Close()
		require.GreaterOrEqual(t, resp.StatusCode, 400)
		require.Empty(t, resp.Header.Get("Location"))
		require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
	})
}

func FuzzLanguage(f *testing.F) {
	f.Add("de-CH, fr;q=0.9")
	f.Add("zh-Hant;q=1,*;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		require.Contains(t, loopback.Languages(), loopback.LanguageFor(accept))
	})
}

// What headerFilter leaves of a request that net/http accepts is the same request
// without cookies, with values that may be cut.
func FuzzHeaderFilter(f *testing.F) {
	f.Add("GET /callback?a HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nSec-Fetch-Mode: cors\r\n\r\nbody", 3)
	f.Add("GET / HTTP/1.1\nHost: a\nCookie: a\n b\n\tc\nX:"+strings.Repeat("y", 600)+"\n z\nA: b\n\n", 1)
	f.Add("GET / HTTP/1.1\r\nHost: a\r\nA:\r\n\r\r\n\rCookie: b\r\n\r\n", 100)
	f.Fuzz(func(t *testing.T, request string, size int) {
		parse := func(s string) (*http.Request, error) {
			return http.ReadRequest(bufio.NewReader(strings.NewReader(s)))
		}
		whole, err := parse(request)
		if err != nil || len(request) > 16<<10 {
			return
		}
		kept, ok := loopback.Filter(request, max(size, 1))
		require.True(t, ok)
		got, err := parse(kept)
		require.NoError(t, err)
		require.Equal(t, whole.Method, got.Method)
		require.Equal(t, whole.RequestURI, got.RequestURI)
		require.True(t, strings.HasPrefix(whole.Host, got.Host))
		require.Len(t, got.Header, len(whole.Header))
		for name, values := range whole.Header {
			require.Len(t, got.Header[name], len(values))
			for i, v := range values {
				short := strings.TrimRight(got.Header[name][i], " ")
				require.True(t, strings.HasPrefix(v, short), name)
				switch {
				case name == "Cookie":
					require.Empty(t, short)
				case len(v) <= 400:
					require.Equal(t, strings.TrimRight(v, " "), short)
				}
			}
		}
	})
}
