//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// S95: the environment may name another provider or client than the profile that names
// the registry. The other one's token is not for the registry.
func TestS95AnotherProvidersTokenIsNotForTheRegistry(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	run := func(env []string, args ...string) (string, int) {
		cmd := p.command(env, args...)
		cmd.Stdin = strings.NewReader("registry.example.com")
		cmd.Stdout, cmd.Stderr = &cmd.stdout, cmd
		require.NoError(t, cmd.Start())
		code := cmd.code()
		return cmd.stdout.String(), code
	}
	must := func(env []string, args ...string) string {
		t.Helper()
		out, code := run(env, args...)
		require.Zero(t, code, out)
		return out
	}
	other := []string{"NATIVEOAUTH_CLIENT_ID=other-path"}
	must(nil, "login", "--profile", "work", "--docker-registry", "registry.example.com")
	must(other, "login", "--profile", "x", "--account", "work", "--redirect-path", "/elsewhere")
	require.NotEmpty(t, must(other, "token", "--profile", "work"), "the other client has a session under this name")

	require.Contains(t, must(nil, "docker-credential", "get"), `"Secret": "at_`)
	out, code := run(other, "docker-credential", "get")
	require.Equal(t, "credentials not found in native keychain\n", out)
	require.Equal(t, 1, code)
}
