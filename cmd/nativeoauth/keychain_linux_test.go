package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// With a real gnome-keyring and no --store, processes share the session through the
// keychain. The demo stores its session there too, and removes it.
func TestKeychainKeepsTheSession(t *testing.T) {
	t.Parallel()
	session := realparts.SecretService(t, realparts.Unlocked)
	p := newProvider(t, authserver.Config{AutoUser: "alice"})
	run := func(display string, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command("nativeoauth", args...)
		cmd.Env = append(session.Environ(), "DISPLAY="+display, "PATH="+os.Getenv("PATH"), "NO_PROXY=*")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		require.NoError(t, cmd.Run(), errs.String())
		return out.String(), errs.String()
	}
	_, said := run(":0", "login", "--issuer", p.http.URL, "--client-id", "cli")
	require.Contains(t, said, "The session is in the keychain.")
	token, _ := run("", "token")
	require.Regexp(t, `^at_\S+\n$`, token)

	_, said = run("", "login", "--demo")
	require.Contains(t, said, "the session is in the system's keychain")
	require.NotContains(t, said, "warning")

	again, _ := run("", "token")
	require.Equal(t, token, again, "the demo touched a real session")
	run("", "logout")
	require.Zero(t, p.Alive())
}

// If the keychain is locked, each command says so in one line and exits with 1, and no
// browser opens. After it is unlocked, the session is still there.
func TestLockedKeychainIsReported(t *testing.T) {
	t.Parallel()
	session := realparts.SecretService(t, realparts.Unlocked)
	p := newProvider(t, authserver.Config{AutoUser: "alice"})
	log := filepath.Join(t.TempDir(), "browser.log")
	run := func(args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.Command("nativeoauth", args...)
		cmd.Env = append(session.Environ(), "DISPLAY=:0", "PATH="+os.Getenv("PATH"), "NO_PROXY=*", "BROWSER_LOG="+log)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}
	code, _, said := run("login", "--issuer", p.http.URL, "--client-id", "cli")
	require.Zero(t, code, said)
	_, token, _ := run("token")
	require.Eventually(t, func() bool { _, err := os.Stat(log); return err == nil }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, os.Remove(log))

	session.StopKeyring()
	session.StartKeyring(realparts.Locked)
	for _, args := range [][]string{{"token"}, {"refresh"}, {"userinfo"}, {"request", p.http.URL + "/api/me"}, {"exec-credential"}, {"login"}, {"logout"}} {
		code, stdout, said := run(args...)
		require.Equal(t, exitError, code, "%v: %s", args, said)
		require.Empty(t, stdout, args)
		// A prompt cannot be shown here, which the command learns only after it has asked for one.
		require.Regexp(t, `^(Waiting for the keychain: [^\n]*\n)?nativeoauth: [^\n]*locked[^\n]*\n$`, said, args)
	}
	code, stdout, said := run("status") // reads no secret
	require.Zero(t, code, said)
	require.Contains(t, stdout, "alice")
	require.NoFileExists(t, log, "a browser was opened, though nothing can be kept")
	require.Equal(t, 1, p.Alive())

	session.StopKeyring()
	session.StartKeyring(realparts.Unlocked)
	code, again, said := run("token")
	require.Zero(t, code, said)
	require.Equal(t, token, again)
}

// Two commands at once use one session in each keychain, at a provider that ends the
// session if a refresh token is used twice. The user allows what KeePassXC asks.
func TestTwoCommandsShareAKeychain(t *testing.T) {
	t.Parallel()
	keepass := func(t *testing.T, settings realparts.KeePassXCSettings) []string {
		k := realparts.StartKeePassXC(t, settings)
		stop := k.AllowAll()
		t.Cleanup(func() {
			allowed, err := stop()
			require.NoError(t, err)
			t.Logf("the user allowed %d accesses", allowed)
		})
		return k.Environ()
	}
	for name, start := range map[string]func(*testing.T) []string{
		"gnome-keyring": func(t *testing.T) []string {
			return append(realparts.SecretService(t, realparts.Unlocked).Environ(), "DISPLAY=:0")
		},
		"KeePassXC, defaults": func(t *testing.T) []string {
			return keepass(t, realparts.KeePassXCSettings{ConfirmAccess: true})
		},
		"KeePassXC, ConfirmAccessItem is off": func(t *testing.T) []string {
			return keepass(t, realparts.KeePassXCSettings{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, authserver.Config{AccessTokenLifetime: time.Second})
			env := append(start(t), "PATH="+os.Getenv("PATH"), "NO_PROXY=*", "GORACE=atexit_sleep_ms=0",
				"NATIVEOAUTH_ISSUER="+p.http.URL, "NATIVEOAUTH_CLIENT_ID=cli")
			run := func(args ...string) *process {
				p.env = env // without the sealed file of a place
				return p.start(nil, args...)
			}
			ok := func(cmd *process) {
				t.Helper()
				require.Equal(t, 0, cmd.code(), cmd.text())
			}
			ok(run("login"))
			for range 2 {
				one, two := run("token"), run("refresh")
				ok(one)
				ok(two)
			}
			require.GreaterOrEqual(t, p.Stats().Refreshes, 2)
			require.Zero(t, p.Stats().Reuses)
			require.Equal(t, 1, p.Alive())
			ok(run("logout"))
			require.Zero(t, p.Alive())
			require.Equal(t, exitLoginRequired, run("token").code())
		})
	}
}
