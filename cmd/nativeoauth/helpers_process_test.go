package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// place is a home directory and a provider for processes of the command.
type place struct {
	*provider
	t    *testing.T
	home string
	env  []string
}

func newPlace(t *testing.T, cfg authserver.Config) *place {
	t.Helper()
	if cfg.AutoUser == "" {
		cfg.AutoUser = "alice"
	}
	p := &place{provider: newProvider(t, cfg), t: t, home: t.TempDir()}
	require.NoError(t, os.Chmod(p.home, 0o700))
	key := filepath.Join(p.home, "key")
	newKeyFile(t, key)
	p.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.home, "DISPLAY=:0", "TERM=xterm", "NO_PROXY=*",
		"GORACE=atexit_sleep_ms=0", // with the race detector, each would wait a second before it ends
		"NATIVEOAUTH_STORE=file", "NATIVEOAUTH_KEY_FILE=" + key, "NATIVEOAUTH_ISSUER=" + p.http.URL, "NATIVEOAUTH_CLIENT_ID=cli",
	}
	if runtime.GOOS == "windows" {
		p.env = append(append(os.Environ(), p.env...), "USERPROFILE="+p.home,
			"AppData="+filepath.Join(p.home, "AppData", "Roaming"),
			"LocalAppData="+filepath.Join(p.home, "AppData", "Local"))
	}
	return p
}

// process is one run of the command.
type process struct {
	*exec.Cmd
	t      *testing.T
	stdout bytes.Buffer
	mu     sync.Mutex
	said   bytes.Buffer // stderr, or the terminal
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// await waits for stderr, or the terminal, to match pattern, and returns the matches.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.text()); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%q did not come; it said: %s", pattern, p.text())
		}
	}
}

// code waits for the process and returns its exit code; -1: a signal killed it.
func (p *process) code() int {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		return p.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		_ = p.Process.Kill()
		p.t.Fatalf("it did not end; it said: %s", p.text())
		return 0
	}
}

// command returns a process that has not started.
func (p *place) command(env []string, args ...string) *process {
	cmd := &process{Cmd: exec.Command("nativeoauth", args...), t: p.t}
	cmd.Env = append(append([]string{}, p.env...), env...)
	cmd.Dir = p.home
	return cmd
}

// start starts the command without a terminal.
func (p *place) start(env []string, args ...string) *process {
	p.t.Helper()
	cmd := p.command(env, args...)
	cmd.Stdout, cmd.Stderr = &cmd.stdout, cmd
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// login signs in with the fake browser.
func (p *place) login() {
	p.t.Helper()
	cmd := p.start(nil, "login")
	require.Equal(p.t, 0, cmd.code(), cmd.text())
}

// paste signs in without a browser of this machine, which works on every system.
func (p *place) paste() {
	p.t.Helper()
	cmd := p.command(nil, "login", "--no-browser")
	cmd.Stdout, cmd.Stderr = &cmd.stdout, cmd
	stdin, err := cmd.StdinPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() { _ = cmd.Process.Kill() })
	address := cmd.await(`(http://127\.0\.0\.1:\d+/authorize\?\S+)`)[1]
	_, err = io.WriteString(stdin, elsewhere(p.t, address)+"\n")
	require.NoError(p.t, err)
	require.Equal(p.t, 0, cmd.code(), cmd.text())
}

// elsewhere opens the address in a browser on another machine, and returns the one at
// which it ends and which it cannot load.
func elsewhere(t *testing.T, address string) (ended string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Get(address)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	ended = resp.Header.Get("Location")
	require.Contains(t, ended, "code=")
	return ended
}
