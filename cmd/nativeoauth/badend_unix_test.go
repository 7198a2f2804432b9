//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// If the reader of stdout has gone away, every command prints one line and exits with
// 1. It neither dies of SIGPIPE nor reports success.
func TestBrokenPipeIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	for _, line := range []string{
		"--help", "login --help", "help token", "version", "completion bash", "completion zsh", "token", "token --format json", "token --id-token", "status", "status --json", "userinfo",
		"request " + p.http.URL + "/api/me", "request -i " + p.http.URL + "/api/me", "inspect " + p.http.URL, "inspect --json " + p.http.URL, "exec-credential",
		"profile list", "profile list --json", "profile show default",
	} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		cmd := p.command(nil, strings.Fields(line)...)
		cmd.Stdout, cmd.Stderr = w, cmd
		require.NoError(t, cmd.Start())
		require.NoError(t, w.Close())
		require.Equal(t, exitError, cmd.code(), "%s: %s", line, cmd.text())
		require.Equal(t, "nativeoauth: nobody reads the output (broken pipe)\n", cmd.text(), line)
	}
	// A broken stderr does not keep a command from its work.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for _, args := range [][]string{{"refresh"}, {"logout"}, {"login"}, {"logout"}} {
		cmd := p.command(nil, args...)
		cmd.Stdout, cmd.Stderr = &cmd.stdout, w
		require.NoError(t, cmd.Start())
		require.Equal(t, 0, cmd.code(), args)
	}
	require.NoError(t, w.Close())
	require.Zero(t, p.Alive())
}

// If a standard stream is closed, a file that is opened later may get its descriptor.
// No output may end up in the session's file.
func TestClosedDescriptorsDoNotDamageTheSession(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	for _, how := range []string{"token >&-", "token <&- >&- 2>&-", "refresh 2>&-", "status >&-"} {
		cmd := exec.Command("sh", "-c", "exec nativeoauth "+how)
		cmd.Env, cmd.Dir = p.env, p.home
		_ = cmd.Run() // what it wrote is lost, as in /dev/null
		require.NotEqual(t, -1, cmd.ProcessState.ExitCode(), how)
		again := p.start(nil, "refresh")
		require.Equal(t, 0, again.code(), "after %s: %s", how, again.text())
	}
}

// On a terminal too, a signal ends a login with one line and the signal's exit code.
func TestSignalsEndALoginOnATerminal(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		for _, args := range [][]string{{"login"}, {"login", "--device"}, {"login", "--no-browser"}} {
			cmd, _ := p.terminal([]string{"BROWSER_USER=nobody"}, args...)
			cmd.await("Waiting ")
			require.NoError(t, cmd.Process.Signal(sig))
			require.Equal(t, code, cmd.code(), "%v %v", sig, args)
			cmd.await("nativeoauth: stopped by a signal")
			require.Equal(t, 1, strings.Count(cmd.text(), "stopped by a signal"))
		}
	}
	require.Equal(t, exitLoginRequired, p.start(nil, "token").code())
}

// If the terminal vanishes at a prompt, or while a pasted address is awaited, the
// command ends as after SIGHUP.
func TestVanishedTerminalEndsAPrompt(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	for prompt, c := range map[string]struct{ env, args []string }{
		"New passphrase": {[]string{"NATIVEOAUTH_KEY_FILE="}, []string{"login"}},
		"paste that":     {nil, []string{"login", "--no-browser"}},
	} {
		cmd, tty := p.terminal(c.env, c.args...)
		cmd.await(prompt)
		require.NoError(t, tty.Close())
		require.Equal(t, 129, cmd.code(), "%s: %s", prompt, cmd.text())
	}
	require.Equal(t, exitLoginRequired, p.start(nil, "token").code())
}

// If a session has expired and cannot be refreshed, each command says that a login is
// required, and exits with 4.
func TestExpiredSessionRequiresALogin(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{AccessTokenLifetime: time.Second, IDTokenLifetime: time.Second})
	login := p.start(nil, "login", "--scope", "openid")
	require.Equal(t, 0, login.code(), login.text())
	require.Contains(t, login.text(), "gave no refresh token")
	time.Sleep(1100 * time.Millisecond)
	for _, args := range [][]string{{"token"}, {"token", "--id-token"}, {"userinfo"}, {"refresh"}, {"request", p.http.URL + "/api/me"}, {"exec-credential"}} {
		cmd := p.start(nil, args...)
		require.Equal(t, exitLoginRequired, cmd.code(), "%v: %s", args, cmd.text())
		require.Empty(t, cmd.stdout.String(), args)
		require.Regexp(t, `^nativeoauth: [^\n]*; run: nativeoauth login[^\n]*\n$`, cmd.text(), args)
	}
	for _, args := range [][]string{{"status"}, {"status", "--profile", "default"}} {
		cmd := p.start(nil, args...)
		require.Equal(t, exitLoginRequired, cmd.code(), args)
		require.Contains(t, cmd.stdout.String(), "expired; sign in again")
		require.Contains(t, cmd.text(), "run: nativeoauth login")
	}
	cmd := p.start(nil, "status", "--json")
	require.Equal(t, exitLoginRequired, cmd.code())
	require.Contains(t, cmd.stdout.String(), `"login_required": true`)
	cmd = p.start(nil, "logout")
	require.Equal(t, 0, cmd.code(), cmd.text())
}

// A host name that cannot be resolved is an error that names the network.
func TestUnknownHostIsExplained(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	env := []string{"NATIVEOAUTH_ISSUER=https://provider.invalid", "HTTPS_PROXY="}
	cmd := p.start(env, "login")
	require.Equal(t, exitError, cmd.code())
	require.Regexp(t, `^nativeoauth: [^\n]*cannot be resolved; check the network[^\n]*\n$`, cmd.text())
	cmd = p.start(env, "inspect", "https://provider.invalid")
	require.Equal(t, exitError, cmd.code())
	require.Contains(t, cmd.stdout.String(), "cannot be resolved")
}

// If the launcher fails, at once or later, or if the browser never fetches the page,
// the command says so, and shows the address to open by hand.
func TestMissingBrowserIsReported(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	bin := t.TempDir()
	for name, script := range map[string]string{"fails at once": "exit 4", "fails later": "sleep 3; exit 4", "never comes": "exit 0"} {
		dir := bin + "/" + strings.ReplaceAll(name, " ", "-")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(dir+"/xdg-open", []byte("#!/bin/sh\n"+script+"\n"), 0o700))
		require.NoError(t, os.WriteFile(dir+"/open", []byte("#!/bin/sh\n"+script+"\n"), 0o700))
		cmd := p.start([]string{"PATH=" + dir + ":" + os.Getenv("PATH")}, "login")
		cmd.await(`open this address(?s:.*)` + "\n  " + `http://127\.0\.0\.1:\d+/authorize\?|Open this address(?s:.*)http`)
		cmd.await("nativeoauth: warning: (the browser was not opened|no browser has asked for the sign-in page yet)")
		switch name {
		case "fails at once":
			require.NotContains(t, cmd.text(), "Your browser has been opened")
		case "fails later":
			cmd.await("the browser was not opened.*exit status 4")
		case "never comes":
			require.NotContains(t, cmd.text(), "was not opened")
		}
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		require.Equal(t, 130, cmd.code())
	}
}
