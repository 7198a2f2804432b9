package loopback_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// S17: a body that is announced and never comes holds its connection for no longer
// than a request may take to arrive. net/http by itself would wait for it.
func TestS17ABodyThatNeverComesIsNotAwaited(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	c, err := net.Dial("tcp", addr(t, s))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(soon)))
	_, err = io.WriteString(c, "POST /callback HTTP/1.1\r\nHost: "+addr(t, s)+"\r\nContent-Length: 10\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(c) // until the listener closes the connection
	require.NoError(t, err)
	require.Contains(t, string(answer), "405 Method Not Allowed")
	complete(t, s)
}

// An error with the state of another sign-in is no error without a state: the advice
// for it would be wrong.
func TestAnErrorOfAnOlderTabIsNotWithoutState(t *testing.T) {
	t.Parallel()
	s, _ := start(t, loopback.Config{})
	require.Equal(t, 400, send(t, "GET", s.RedirectURI()+"?error=access_denied&state=older", "").StatusCode)
	require.Contains(t, loopback.LastRefused(s), "an older tab may have sent it")
	require.Empty(t, notices(s))
	complete(t, s)
}

// A request with another method is told which is allowed (RFC 9110 §15.5.6).
func TestAnotherMethodIsToldWhichIsAllowed(t *testing.T) {
	t.Parallel()
	for _, form := range []bool{false, true} {
		s, ticket := start(t, loopback.Config{FormPost: form})
		callback := map[bool]string{false: "GET", true: "GET, POST"}[form]
		page := s.RedirectURI()[:len(s.RedirectURI())-len("/callback")] + loopback.PagePath(s)
		for url, allowed := range map[string]string{ticket: "GET", page: "GET", s.RedirectURI(): callback} {
			resp := send(t, "PUT", url, "")
			require.Equal(t, 405, resp.StatusCode, url)
			require.Equal(t, allowed, resp.Header.Get("Allow"), url)
		}
		complete(t, s)
	}
}

// The bounds of a code and of an error code: length and characters.
func TestTheBoundsOfCodes(t *testing.T) {
	t.Parallel()
	want := loopback.Expect{State: "s"}
	for query, accepted := range map[string]bool{
		"code=" + strings.Repeat("c", 8<<10):   true,
		"code=" + strings.Repeat("c", 8<<10+1): false,
		"error=" + strings.Repeat("e", 200):    true,
		"error=" + strings.Repeat("e", 201):    false,
		"code=%20~":                            true, // the first and the last VSCHAR
		"code=%1f":                             false,
		"code=%7f":                             false,
		"error=%20~":                           true,
		"error=%1f":                            false,
		"error=%7f":                            false,
		"error=%22":                            false, // no NQSCHAR
		"error=%5c":                            false,
	} {
		ok, _ := loopback.Check("state=s&"+query, want)
		require.Equal(t, accepted, ok, "%.20s", query)
	}
}
