package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// With a real gnome-keyring, and no --store: login, token and logout are processes of their own, and the demo keeps its session there too,
// and nothing of it afterwards.
func TestKeychain(t *testing.T) {
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
