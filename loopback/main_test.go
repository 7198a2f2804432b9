package loopback_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// TestMain is an attacker instead of a test where attack_test.go starts this binary again.
func TestMain(m *testing.M) {
	if attack := os.Getenv("LOOPBACK_TEST_ATTACK"); attack != "" {
		attacker(attack, os.Getenv("LOOPBACK_TEST_TARGET"))
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	state   = "state-canary-7d1f"
	code    = "code-canary-90ab"
	issuer  = "https://as.example"
	authURL = "https://as.example/authorize?client_id=x&state=" + state
	soon    = 20 * time.Second // a deadline for what takes milliseconds, on a machine that does other things too
)

func listen(t *testing.T, cfg loopback.Config) *loopback.Server {
	t.Helper()
	s, err := loopback.Listen(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func start(t *testing.T, cfg loopback.Config) (s *loopback.Server, ticket string) {
	t.Helper()
	s = listen(t, cfg)
	ticket, err := s.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
	require.NoError(t, err)
	return s, ticket
}

// send sends one request as a browser without Sec-Fetch headers does, on a connection of its own, and follows nothing.
func send(t testing.TB, method, url, body string, header ...string) *http.Response {
	t.Helper()
	resp, err := try(method, url, body, header...)
	require.NoError(t, err)
	return resp
}

func try(method, url, body string, header ...string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Add(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(strings.NewReader(string(b)))
	return resp, err
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

// raw sends bytes as they are and returns the status line.
func raw(t testing.TB, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(soon)))
	_, _ = io.WriteString(c, request)
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func addr(t testing.TB, s *loopback.Server) string {
	t.Helper()
	u, err := url.Parse(s.RedirectURI())
	require.NoError(t, err)
	return u.Host
}

func good(s *loopback.Server) string {
	return s.RedirectURI() + "?" + url.Values{"code": {code}, "state": {state}, "iss": {issuer}}.Encode()
}

// complete proves that the login still works: the real answer comes, the browser is sent on, and reads the page.
func complete(t testing.TB, s *loopback.Server) string {
	t.Helper()
	type answer struct {
		resp *http.Response
		err  error
	}
	held := make(chan answer, 1)
	go func() {
		resp, err := try("GET", good(s), "")
		held <- answer{resp, err}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	r, err := s.Wait(ctx)
	require.NoError(t, err)
	got, err := r.Code()
	require.NoError(t, err)
	require.Equal(t, code, got)
	r.Finish("alice@example.com", nil)
	a := <-held
	require.NoError(t, a.err)
	require.Equal(t, http.StatusSeeOther, a.resp.StatusCode)
	location, err := a.resp.Location()
	require.NoError(t, err)
	page := send(t, "GET", location.String(), "")
	require.Equal(t, http.StatusOK, page.StatusCode)
	return text(t, page)
}

// pending proves that nothing was decided.
func pending(t testing.TB, s *loopback.Server) {
	t.Helper()
	select {
	case <-answered(s):
		require.Fail(t, "the login ended")
	default:
	}
}

func answered(s *loopback.Server) <-chan struct{} { return loopback.Answered(s) }

// again starts this binary as an attacker on target.
func again(t *testing.T, attack, target string, as func(*exec.Cmd)) (*exec.Cmd, *bufio.Reader, io.WriteCloser) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LOOPBACK_TEST_ATTACK="+attack, "LOOPBACK_TEST_TARGET="+target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if as != nil {
		as(cmd)
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(out), in
}

func line(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(s)
}

func say(a ...any) { fmt.Println(a...) }
