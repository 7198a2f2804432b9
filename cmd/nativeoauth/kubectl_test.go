package main

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// Kubectl itself starts the plugin, and sends the ID token to its API server over
// https.
func TestKubectlGetsTheTokenFromThePlugin(t *testing.T) {
	t.Parallel()
	kubectl := realparts.Need(t, "kubectl")[0]
	p := newProvider(t, authserver.Config{AutoUser: "alice"})
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	key := filepath.Join(dir, "key")
	newKeyFile(t, key)

	var mu sync.Mutex
	var sent []string
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success","message":"hello"}`)
	}))
	defer api.Close()
	asked := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(sent)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	config := filepath.Join(dir, "kubeconfig")
	write := func(version string) {
		require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: me}}]
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/%s
      command: nativeoauth
      args: [exec-credential]
      interactiveMode: Never
`, api.URL, base64.StdEncoding.EncodeToString(ca), version), 0o600))
	}
	write("v1beta1") // which every kubectl of today knows
	env := append(os.Environ(),
		"HOME="+dir, "USERPROFILE="+dir, "XDG_CONFIG_HOME=", "DISPLAY=:0", "NO_PROXY=*", "KUBECONFIG="+config, "KUBECACHEDIR="+filepath.Join(dir, "cache"),
		"NATIVEOAUTH_STORE=file", "NATIVEOAUTH_KEY_FILE="+key,
	)
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Dir = env, dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// Before the login, kubectl shows the command to run, and sends nothing.
	out, err := run(kubectl, "get", "--raw", "/version")
	require.Error(t, err)
	require.Contains(t, out, "Give --issuer")
	require.Empty(t, asked())

	out, err = run("nativeoauth", "login", "--issuer", p.http.URL, "--client-id", "cli")
	require.NoError(t, err, out)
	idToken, err := run("nativeoauth", "token", "--id-token")
	require.NoError(t, err)
	out, err = run(kubectl, "get", "--raw", "/version")
	require.NoError(t, err, out)
	require.Contains(t, out, "hello")
	require.NotEmpty(t, asked())
	for _, header := range asked() { // a dispatcher of several versions asks for the server's first
		require.Equal(t, "Bearer "+strings.TrimSpace(idToken), header)
	}
	write("v1")
	out, err = run(kubectl, "get", "--raw", "/version")
	if err != nil {
		require.Contains(t, out, `apiVersion "client.authentication.k8s.io/v1"`, "only a kubectl before 1.22 does not know it")
	}
	before := len(asked())

	// After the logout it is the same as before the login.
	out, err = run("nativeoauth", "logout")
	require.NoError(t, err, out)
	out, err = run(kubectl, "get", "--raw", "/version")
	require.Error(t, err)
	require.Contains(t, out, "run: nativeoauth login")
	require.Len(t, asked(), before)
}
