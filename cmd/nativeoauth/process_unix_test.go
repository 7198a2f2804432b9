//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func TestSignalsEndALogin(t *testing.T) {
	t.Parallel()
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, authserver.Config{})
			cmd := p.start([]string{"BROWSER_USER=nobody"}, "login")
			cmd.await("Your browser has been opened")
			require.NoError(t, cmd.Process.Signal(sig))
			require.Equal(t, code, cmd.code())
			require.Contains(t, cmd.text(), "nativeoauth: stopped by a signal")
			require.Empty(t, cmd.stdout.String())
			require.NoFileExists(t, filepath.Join(p.home, ".config", "nativeoauth", "config.json"))
			require.Equal(t, exitLoginRequired, p.start(nil, "token").code())
		})
	}
}

// A refresh under way is stored before Ctrl-C ends the process: if a rotated refresh
// token were lost, the session would be lost (S59).
func TestInterruptedRefreshIsKept(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	before := p.Requests(authserver.Token)
	release := p.Hold(authserver.Token)
	defer release()
	cmd := p.start(nil, "refresh")
	require.Eventually(t, func() bool { return p.Requests(authserver.Token) > before }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	time.Sleep(100 * time.Millisecond) // a process that gave in at once would be gone
	release()
	require.Equal(t, 130, cmd.code())
	require.Equal(t, 1, p.Stats().Refreshes)

	again := p.start(nil, "refresh")
	require.Equal(t, 0, again.code(), again.text())
	require.Zero(t, p.Stats().Reuses, "the rotated refresh token was lost")
}

// The second Ctrl-C kills the process.
func TestSecondInterruptKills(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	before := p.Requests(authserver.Token)
	defer p.Hold(authserver.Token)()
	cmd := p.start(nil, "refresh")
	require.Eventually(t, func() bool { return p.Requests(authserver.Token) > before }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, -1, cmd.code())
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGINT, status.Signal())
}

// SIGHUP stays ignored if it was ignored at the start, as under nohup.
func TestIgnoredHangupStaysIgnored(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	cmd := &process{Cmd: exec.Command("sh", "-c", `trap "" HUP; exec nativeoauth login --timeout 2s`), t: t}
	cmd.Env, cmd.Dir = append(p.env, "BROWSER_USER=nobody"), p.home
	cmd.Stderr = cmd
	require.NoError(t, cmd.Start())
	cmd.await("Your browser has been opened")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	require.Equal(t, exitError, cmd.code())
	require.Contains(t, cmd.text(), "--timeout")
}

// A failed write to stdout is one line with its reason, and exit code 1.
func TestFailedOutputIsAnError(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	outputs := map[string]*os.File{"broken pipe": w}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		outputs["no space left"] = full
	}
	for want, out := range outputs {
		cmd := p.command(nil, "token")
		cmd.Stdout, cmd.Stderr = out, cmd
		require.NoError(t, cmd.Start())
		require.Equal(t, exitError, cmd.code())
		require.Regexp(t, `^nativeoauth: [^\n]*`+want+`[^\n]*\n$`, cmd.text())
		require.NoError(t, out.Close())
	}
}

// With --no-browser the user opens the address elsewhere, and pastes the one at which
// the browser ends. A wrong text is refused, and the user may paste again.
func TestPastedAddressSignsIn(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	cmd := p.command([]string{"DISPLAY="}, "login", "--no-browser")
	cmd.Stdout, cmd.Stderr = &cmd.stdout, cmd
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	address := cmd.await(`(http://127\.0\.0\.1:\d+/authorize\?\S+)`)[1]
	require.NotContains(t, cmd.text(), "warning")
	_, err = io.WriteString(stdin, "https://example.com/?code=x&state=y\n")
	require.NoError(t, err)
	cmd.await("That was not it")
	_, err = io.WriteString(stdin, elsewhere(t, address)+"\n")
	require.NoError(t, err)
	require.Equal(t, 0, cmd.code(), cmd.text())
	require.Contains(t, cmd.text(), "Signed in as alice")
}

// On a terminal one line counts down, and is erased at the end. A dumb terminal gets a
// line that does not change.
func TestTerminalCountsDown(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	cmd, tty := p.terminal([]string{"BROWSER_USER=nobody"}, "login")
	cmd.await(`Waiting for you: [45]:\d\d left, Ctrl-C cancels`)
	cmd.await(`4:5\d left(?s:.*)4:5\d left`)
	_, err := tty.Write([]byte{3})
	require.NoError(t, err)
	require.Equal(t, 130, cmd.code())
	cmd.await(`\x1b\[K(\^C)?nativeoauth: stopped by a signal`)

	cmd, _ = p.terminal([]string{"BROWSER_USER=nobody", "TERM=dumb"}, "login", "--timeout", "3s")
	cmd.await("Waiting until")
	require.Equal(t, exitError, cmd.code())
	cmd.await("--timeout")
	require.NotContains(t, cmd.text(), "\x1b")
}

// On a narrow terminal the line that counts down does not wrap, because it could not
// be erased then. Other text breaks between words.
func TestNarrowTerminalBreaksLines(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	for _, columns := range []uint16{20, 40} {
		cmd, tty := p.terminalOf(columns, []string{"BROWSER_USER=nobody"}, "login")
		cmd.await(`(?s)\d:\d\d left, Ctrl-C.*\d:\d\d left, Ctrl-C`)
		_, err := tty.Write([]byte{3})
		require.NoError(t, err)
		require.Equal(t, 130, cmd.code())
		for _, line := range strings.FieldsFunc(cmd.text(), func(r rune) bool { return r == '\r' || r == '\n' }) {
			line = strings.TrimSuffix(regexp.MustCompile(`\x1b\[[0-9;]*[Km]`).ReplaceAllString(line, ""), "^C")
			if !strings.HasPrefix(line, "  http") && !strings.HasPrefix(line, "nativeoauth: ") { // lines to copy stay whole
				require.LessOrEqual(t, utf8.RuneCountInString(line), int(columns), "%q", line)
			}
		}
	}
}

// The device flow shows a code, and on a terminal a QR code too.
func TestDeviceFlowShowsACode(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{DeviceInterval: time.Second})
	cmd := p.start(nil, "login", "--device")
	found := cmd.await(`On any device, open\n  (\S+)\nand enter the code\n  (\S+)\n`)
	resp, err := http.Get(found[1] + "?user_code=" + found[2])
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 0, cmd.code(), cmd.text())
	require.Contains(t, cmd.text(), "Signed in as alice")

	onTerminal, _ := p.terminal(nil, "login", "--device")
	onTerminal.await("█|▀|▄")
	onTerminal.await("Waiting for you")
}

// A terminal that vanishes ends a login as SIGHUP does, and nothing is stored.
func TestVanishedTerminalEndsALogin(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	cmd, tty := p.terminal([]string{"BROWSER_USER=nobody"}, "login")
	cmd.await("Waiting for you")
	require.NoError(t, tty.Close())
	require.Equal(t, 129, cmd.code())
	require.Equal(t, exitLoginRequired, p.start(nil, "token").code())
}

// A passphrase opens the session file. The terminal never shows it.
func TestPassphraseIsNotShown(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	env := []string{"NATIVEOAUTH_KEY_FILE="}
	cmd, tty := p.terminal(env, "login")
	answer := func(cmd *process, tty io.Writer, prompt, text string) {
		cmd.await(prompt)
		_, err := io.WriteString(tty, text+"\n")
		require.NoError(t, err)
	}
	answer(cmd, tty, "New passphrase", "short")
	answer(cmd, tty, "too short(?s:.*)New passphrase", "correct horse battery")
	answer(cmd, tty, "The same again", "correct horse battery")
	require.Equal(t, 0, cmd.code(), cmd.text())
	require.NotContains(t, cmd.text(), "horse")

	cmd, tty = p.terminal(env, "token")
	answer(cmd, tty, "Passphrase of", "wrong horse battery")
	require.Equal(t, exitError, cmd.code(), cmd.text())

	cmd, tty = p.terminal(env, "token")
	answer(cmd, tty, "Passphrase of", "correct horse battery")
	require.Equal(t, 0, cmd.code(), cmd.text())
	cmd.await(`\nat_\S+`)

	cmd, tty = p.terminal(env, "token")
	cmd.await("Passphrase of")
	_, err := tty.Write([]byte{3})
	require.NoError(t, err)
	require.Equal(t, 130, cmd.code(), cmd.text())
}

// The demo ends without a user. If it is stopped at any step, it leaves nothing behind.
func TestDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	tmp := filepath.Join(p.home, "tmp")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	env := []string{"DISPLAY=", "TMPDIR=" + tmp, "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent", "NATIVEOAUTH_STORE=", "NATIVEOAUTH_KEY_FILE=", "NATIVEOAUTH_ISSUER=", "NATIVEOAUTH_CLIENT_ID="}
	demo := p.start(env, "login", "--demo")
	require.Equal(t, 0, demo.code(), demo.text())
	steps := []string{"Provider", "Metadata", "Listener", "Browser", "plays the user", "Code", "Exchange", "Verified", "signed in as alice", "Kept", "in memory, for", "Expiry", "Refresh", "API call", "hello, alice", "Logout", "POST /revoke → 200", "sign in again"}
	rest := demo.text()
	for _, step := range steps {
		_, after, ok := strings.Cut(rest, step)
		require.True(t, ok, "%q is missing or out of order in:\n%s", step, demo.text())
		rest = after
	}
	before, _, _ := strings.Cut(demo.text(), "Code  ")
	require.Contains(t, before, "Request  ", "it is pushed beside the opening of the browser")
	for _, at := range []string{"Metadata", "Listener", "Exchange", "Expiry"} { // later it may be over before the signal comes
		cmd := p.start(env, "login", "--demo")
		cmd.await(at)
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		code := cmd.code()
		require.Equal(t, 130, code, "at %s: %s", at, cmd.text())
	}
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoDirExists(t, filepath.Join(p.home, ".local"))
	require.NoDirExists(t, filepath.Join(p.home, ".config"))
}
