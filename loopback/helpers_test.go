package loopback_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// TestMain runs attacker instead of the tests if startAttacker started this
// binary.
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
	// soon is a deadline for what takes milliseconds on an idle machine.
	soon = 20 * time.Second
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

// startPatient is start with another patience. The ticket's URL may be "".
func startPatient(
	t *testing.T, patience time.Duration, authURL string,
) (s *loopback.Server, ticket string) {
	t.Helper()
	s = listen(t, loopback.Config{})
	loopback.SetPatience(s, patience)
	ticket, err := s.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
	require.NoError(t, err)
	return s, ticket
}

// crowd opens n connections that say nothing.
func crowd(t *testing.T, s *loopback.Server, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", addr(t, s))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		conns[i] = c
	}
	return conns
}

// awaited returns a connection on which a browser waits for the answer to a
// request for url.
func awaited(t *testing.T, s *loopback.Server, url string) net.Conn {
	t.Helper()
	c := crowd(t, s, 1)[0]
	require.NoError(t, c.SetDeadline(time.Now().Add(soon)))
	open := func(n int) {
		require.Eventually(t, func() bool { return loopback.Open(s) == n }, soon, time.Millisecond)
	}
	open(1)
	path := strings.TrimPrefix(url, "http://"+addr(t, s))
	_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+addr(t, s)+"\r\n\r\n")
	require.NoError(t, err)
	open(0) // who waits does not count
	return c
}

// send sends one request on its own connection, like a browser without Sec-Fetch
// headers, and follows no redirect.
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
	client := &http.Client{
		Transport: tr,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	resp, err := client.Do(req)
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

// raw sends bytes unchanged and returns the status line.
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
	return s.RedirectURI() + "?" + url.Values{
		"code": {code}, "state": {state}, "iss": {issuer},
	}.Encode()
}

// complete checks that the sign-in still works: the real response arrives, and
// the browser is redirected and loads the page, which complete returns.
func complete(t testing.TB, s *loopback.Server) string {
	t.Helper()
	type answer struct {
		resp *http.Response
		err  error
	}
	held := make(chan answer, 1)
	go func() {
		resp, err := try("GET", good(s), "")
		if err != nil { // in a flood
			resp, err = try("GET", good(s), "")
		}
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

// pending checks that the sign-in still waits for its response.
func pending(t testing.TB, s *loopback.Server) {
	t.Helper()
	select {
	case <-loopback.Decided(s):
		require.Fail(t, "the login ended")
	default:
	}
}

// startAttacker starts this binary again, as an attacker on target.
func startAttacker(t *testing.T, attack, target string, as func(*exec.Cmd)) (*bufio.Reader,
	io.WriteCloser) {
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
	return bufio.NewReader(out), in
}

func line(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(s)
}

func say(a ...any) { fmt.Println(a...) }

// has reports whether the machine has the loopback address ip.
func has(ip string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err == nil {
		l.Close()
	}
	return err == nil
}

// page completes a sign-in and returns the page and its policy.
func page(t *testing.T, cfg loopback.Config, user string, failure error) (body,
	policy string) {
	t.Helper()
	s, _ := start(t, cfg)
	go func() {
		if r, err := s.Wait(t.Context()); err == nil {
			r.Finish(user, failure)
		}
	}()
	require.Equal(t, 303, send(t, "GET", good(s), "").StatusCode)
	resp := send(t, "GET", strings.Replace(s.RedirectURI(), "/callback", loopback.PagePath(s), 1), "")
	require.Equal(t, 200, resp.StatusCode)
	return text(t, resp), resp.Header.Get("Content-Security-Policy")
}

// attacker attacks target, "host:port path?query", from a process of its own. It
// ends when its standard input ends.
func attacker(attack, target string) {
	host, path, _ := strings.Cut(target, " ")
	request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	switch attack {
	case "listen": // no attack, but a Listen in another network namespace
		if listenIn != nil {
			listenIn(target)
		}
	case "get": // one request; the status it got
		say(status(host, request))
	case "vanish": // closes before the listener can look up its owner
		for _, linger := range []int{-1, 0} {
			for range 20 {
				if c, err := net.Dial("tcp", host); err == nil {
					_ = c.(*net.TCPConn).SetLinger(linger)
					_, _ = io.WriteString(c, request)
					_ = c.Close()
				}
			}
		}
		say("vanished")
	case "flood":
		flood(host, request)
	case "slow": // connections that send a request a byte at a time
		n := 0
		for range 50 {
			if c, err := net.Dial("tcp", host); err == nil {
				n++
				go func() {
					for _, b := range []byte(request) {
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(200 * time.Millisecond)
					}
				}()
			}
		}
		say(n)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

// listenIn is set by netns_linux_test.go. It is nil on systems without network
// namespaces.
var listenIn func(mode string)

func status(host, request string) string {
	c, err := net.Dial("tcp", host)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(c, request)
	s, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(s)
}

// flood sends junk of every kind as fast as it can, from 64 goroutines, each
// request on its own connection, because the listener answers one request per
// connection. It prints the number of requests once a second.
func flood(host, request string) {
	junk := newJunk(host, []byte(request))
	var sent atomic.Int64
	for i := range 64 {
		go func() {
			for n := i; ; n++ {
				if err := junk(n % 8); err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				sent.Add(1)
			}
		}()
	}
	tick := time.NewTicker(time.Second)
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for {
		select {
		case <-tick.C:
			say(sent.Swap(0))
		case <-ended:
			return
		}
	}
}

// tab is what a real Chromium says of its one page.
type tab struct{ Type, Title, URL string }

// chromium opens rawURL in a real browser, and returns a function that reports
// the page it shows.
func chromium(t *testing.T, rawURL string) (current func() tab) {
	t.Helper()
	path := realparts.Need(t, "chromium")[0]
	profile, err := os.MkdirTemp("", "loopback-chromium")
	require.NoError(t, err)
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--lang=en", "--user-data-dir="+profile,
		"--remote-debugging-port=0", "--host-resolver-rules=MAP *.example 127.0.0.1", rawURL)
	ownGroup(cmd)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		killGroup(cmd)
		_ = cmd.Wait()
		for range 50 { // its children go on writing for a moment
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() tab {
		b, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if err != nil {
			return tab{}
		}
		resp, err := try("GET", "http://127.0.0.1:"+strings.Fields(string(b))[0]+"/json/list", "")
		if err != nil {
			return tab{}
		}
		var tabs []tab
		_ = json.NewDecoder(resp.Body).Decode(&tabs)
		for _, tab := range tabs {
			if tab.Type == "page" {
				return tab
			}
		}
		return tab{}
	}
}
