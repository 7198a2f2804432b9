package main

import (
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// Git itself starts the helper, for an https server that accepts only the provider's
// tokens.
func TestGitGetsTheTokenFromTheHelper(t *testing.T) {
	t.Parallel()
	git := realparts.Need(t, "git")[0]
	execPath, err := exec.Command(git, "--exec-path").Output()
	require.NoError(t, err)
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		realparts.Missing(t, "git-http-backend")
	}

	p := newProvider(t, authserver.Config{AutoUser: "alice"})
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	key := filepath.Join(dir, "key")
	newKeyFile(t, key)
	env := append(os.Environ(),
		"HOME="+dir, "USERPROFILE="+dir, "XDG_CONFIG_HOME=", "DISPLAY=:0", "NO_PROXY=*", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",
		"NATIVEOAUTH_STORE=file", "NATIVEOAUTH_KEY_FILE="+key,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	)
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Dir = env, dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(name string, args ...string) string {
		t.Helper()
		out, err := run(name, args...)
		require.NoError(t, err, out)
		return out
	}
	must(git, "init", "--bare", "-q", "-b", "main", "srv/repo.git")

	api := p.Protect(authserver.Resource{}, &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(dir, "srv"), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=alice"}})
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, token, ok := r.BasicAuth(); ok { // the token comes as a password, as git sends it
			r.Header.Set("Authorization", "Bearer "+token)
			api.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer web.Close()
	ca := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600))
	host := strings.TrimPrefix(web.URL, "https://")
	env = append(env, "GIT_SSL_CAINFO="+ca)
	must(git, "config", "--global", "credential.helper", "!nativeoauth git-credential --host "+host)

	// Before the login, git fails and shows the command to run.
	out, err := run(git, "clone", "-q", web.URL+"/repo.git", "early")
	require.Error(t, err)
	require.Contains(t, out, "Give --issuer")

	must("nativeoauth", "login", "--issuer", p.http.URL, "--client-id", "cli")
	must(git, "clone", "-q", web.URL+"/repo.git", "one")
	must(git, "-C", "one", "commit", "-q", "--allow-empty", "-m", "first")
	must(git, "-C", "one", "push", "-q", "origin", "HEAD:main")
	require.Contains(t, must(git, "ls-remote", web.URL+"/repo.git"), "refs/heads/main")

	// If the server refuses the token, git erases it, and the next try has a new one.
	p.Expire()
	_, err = run(git, "ls-remote", web.URL+"/repo.git")
	require.Error(t, err)
	must(git, "ls-remote", web.URL+"/repo.git")

	// Another server gets nothing.
	asked := make(chan string, 10)
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	_, err = run(git, "-c", "http.sslVerify=false", "ls-remote", other.URL+"/repo.git")
	require.Error(t, err)
	close(asked)
	for sent := range asked {
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(sent, "Basic "))
		require.NotContains(t, string(raw), "at_")
	}
}
