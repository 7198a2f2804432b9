package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// This binary is also the program, and the browser that it opens.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "xdg-open":
		resp, err := http.Get(os.Args[len(os.Args)-1])
		if err != nil {
			os.Exit(1)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		os.Exit(0)
	case os.Getenv("QUICKSTART") == "1":
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The program as it is, with a real keychain: it signs in the first time, and not the second.
func TestSignsInOnce(t *testing.T) {
	t.Parallel()
	session := realparts.SecretService(t, realparts.Unlocked)
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	defer web.Close()
	as, err := authserver.New(authserver.Config{
		Issuer: web.URL, AutoUser: "alice", Clients: []authserver.Client{{ID: "my-cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
	})
	require.NoError(t, err)
	mux.Handle("/", as)
	mux.Handle("/me", as.Protect(authserver.Resource{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		_, _ = io.WriteString(w, "hello, "+g.Subject)
	})))

	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "xdg-open")))
	for range 2 {
		cmd := exec.Command(self, web.URL, "my-cli", web.URL+"/me")
		cmd.Env = append(session.Environ(), "QUICKSTART=1", "DISPLAY=:0", "PATH="+bin+":"+os.Getenv("PATH"))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		require.NoError(t, cmd.Run(), stderr.String())
		require.Equal(t, "hello, alice", stdout.String())
		require.Empty(t, stderr.String())
	}
	require.Equal(t, 1, as.Stats().Logins)
}
