//go:build unix

package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// Every command trusts --ca-file, and the profile keeps it. A file that others can change
// is refused: it decides who the provider is.
func TestACompanysCertificates(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	mux := http.NewServeMux()
	secure := httptest.NewTLSServer(mux)
	t.Cleanup(secure.Close)
	as, err := authserver.New(authserver.Config{
		Issuer: secure.URL, AutoUser: "alice",
		Clients: []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}},
	})
	require.NoError(t, err)
	mux.Handle("/", as)
	ca := filepath.Join(p.home, "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o644))
	p.env = append(p.env, "NATIVEOAUTH_ISSUER="+secure.URL, "BROWSER_CA="+ca)
	run := func(code int, args ...string) string {
		t.Helper()
		cmd := p.start(nil, args...)
		require.Equal(t, code, cmd.code(), cmd.text())
		return cmd.stdout.String() + cmd.text()
	}
	require.Contains(t, run(1, "login"), "certificate")
	require.Contains(t, run(1, "inspect", secure.URL), "certificate")
	require.Contains(t, run(0, "inspect", secure.URL, "--ca-file", ca), "can sign in here safely")
	require.NoError(t, os.WriteFile(filepath.Join(p.home, "none.pem"), []byte("x"), 0o600))
	require.Contains(t, run(1, "login", "--ca-file", "none.pem"), "has no certificate")
	require.NoError(t, os.Chmod(ca, 0o666))
	require.Contains(t, run(1, "login", "--ca-file", "ca.pem"), "--ca-file")
	require.NoError(t, os.Chmod(ca, 0o644))

	run(0, "login", "--ca-file", "ca.pem", "--trace")
	for _, args := range [][]string{{"refresh"}, {"userinfo"}, {"inspect"}, {"logout"}} {
		run(0, args...)
	}
}

// A command ends after --timeout, which the profile may have.
func TestTimeoutOfACommand(t *testing.T) {
	t.Parallel()
	p := newPlace(t, authserver.Config{})
	p.login()
	release := p.Hold(authserver.Token)
	defer release()
	set := p.start(nil, "profile", "set", "default", "--timeout", "1s")
	require.Equal(t, 0, set.code(), set.text())
	// Together, because each waits a while for the answer to its refresh.
	for _, cmd := range []*process{
		p.start(nil, "refresh"), p.start(nil, "token", "--min-ttl", "1h"),
		p.start(nil, "refresh", "--timeout", "2s"),
	} {
		require.Equal(t, 1, cmd.code(), cmd.text())
		require.Contains(t, cmd.text(), "or wait longer with --timeout")
	}
}
