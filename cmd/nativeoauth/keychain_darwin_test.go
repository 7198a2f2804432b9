package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// newMac returns a place whose sessions are in the keychain of
// internal/macos/security.
func newMac(t *testing.T) (p *place, keychain string) {
	t.Helper()
	security := os.Getenv("NATIVEOAUTH_SECURITY")
	if security == "" {
		t.Skip("skipped: the user's own keychain is not for tests; internal/macos runs this on Linux")
	}
	p, keychain = newPlace(t, authserver.Config{}), t.TempDir()
	p.env = append(p.env, "NATIVEOAUTH_SECURITY="+security, "NATIVEOAUTH_KEYCHAIN="+keychain,
		"NATIVEOAUTH_STORE=", "NATIVEOAUTH_KEY_FILE=")
	return p, keychain
}

// Login, token, status, refresh and logout with the keychain and open(1).
func TestKeychainStory(t *testing.T) {
	t.Parallel()
	p, keychain := newMac(t)
	run := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := p.start(nil, args...)
		require.Equal(t, code, cmd.code(), "%v: %s", args, cmd.text())
		return cmd.stdout.String(), cmd.text()
	}
	run(exitLoginRequired, "token")
	_, said := run(0, "login")
	require.Contains(t, said, "The session is in the keychain.")
	token, _ := run(0, "token")
	require.Regexp(t, `^at_\S+\n$`, token)
	status, _ := run(0, "status")
	require.Contains(t, status, "alice")
	run(0, "refresh")
	fresh, _ := run(0, "token")
	require.NotEqual(t, token, fresh)
	require.Equal(t, 1, p.Alive())

	locked := filepath.Join(keychain, "locked")
	require.NoError(t, os.WriteFile(locked, nil, 0o600))
	for _, verb := range []string{"token", "refresh", "login", "logout"} {
		_, said := run(exitError, verb)
		require.Contains(t, said, "security unlock-keychain", verb)
	}
	require.Equal(t, 1, p.Alive(), "a browser was opened, or the session was ended")
	require.NoError(t, os.Remove(locked))

	run(0, "logout")
	run(exitLoginRequired, "token")
	require.Zero(t, p.Alive())
	items, err := filepath.Glob(filepath.Join(keychain, "item.*"))
	require.NoError(t, err)
	require.Empty(t, items)
}

// Ctrl-C comes while the rotated refresh token is being written. The terminal sends
// it to the command and to every process in its group.
func TestKeychainWriteSurvivesCtrlC(t *testing.T) {
	t.Parallel()
	p, keychain := newMac(t)
	p.login()
	held := filepath.Join(keychain, "held.add")
	require.NoError(t, os.WriteFile(filepath.Join(keychain, "hold.add"), nil, 0o600))
	cmd := p.command(nil, "refresh")
	cmd.Stdout, cmd.Stderr = &cmd.stdout, cmd
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.Eventually(t, func() bool {
		_, err := os.Stat(held)
		return err == nil
	}, 30*time.Second, 2*time.Millisecond)
	require.Equal(t, 1, p.Stats().Refreshes, "the token was rotated")
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	require.NoError(t, os.Remove(held))
	require.Equal(t, 130, cmd.code(), cmd.text())

	again := p.start(nil, "refresh")
	require.Equal(t, 0, again.code(), again.text())
	require.Zero(t, p.Stats().Reuses, "the rotated refresh token was lost")
}
