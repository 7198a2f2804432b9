package loopback_test

import (
	"io"
	"net"
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
