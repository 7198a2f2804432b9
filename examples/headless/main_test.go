//go:build unix

// On Windows a program does not start without the variables of the system.

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// This binary is also the program.
func TestMain(m *testing.M) {
	if os.Getenv("HEADLESS") == "1" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The program runs as in a container: it has no browser, no keychain and no terminal.
// The user opens the shown URL elsewhere, and pastes the address at which that
// browser ended. The second run needs nobody.
func TestHeadless(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })))
	defer api.Close()
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(keyFile,
		[]byte("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k="), 0o600))
	self, err := os.Executable()
	require.NoError(t, err)
	program := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), self, server.URL, server.Config().ClientID, api.URL)
		cmd.Env = []string{
			"HEADLESS=1", "PATH=" + dir, "HOME=" + dir, "KEY_FILE=" + keyFile,
			"STATE_DIR=" + filepath.Join(dir, "sessions"),
		}
		return cmd
	}

	first := program()
	stdin, err := first.StdinPipe()
	require.NoError(t, err)
	stderr, err := first.StderrPipe()
	require.NoError(t, err)
	var stdout bytes.Buffer
	first.Stdout = &stdout
	require.NoError(t, first.Start())
	said := elsewhere(t, stderr, stdin)
	require.NoError(t, first.Wait(), said)
	require.Equal(t, "hello", stdout.String())

	second := program()
	var quiet bytes.Buffer
	second.Stderr = &quiet
	out, err := second.Output()
	require.NoError(t, err, quiet.String())
	require.Equal(t, "hello", string(out))
	require.Empty(t, quiet.String())
}

// elsewhere opens the first URL that the program shows, and pastes the address of
// the last redirect. It returns what the program wrote.
func elsewhere(t *testing.T, stderr io.Reader, stdin io.Writer) string {
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	var said strings.Builder
	pasted := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		url, ok := strings.CutPrefix(lines.Text(), "  http")
		if pasted || !ok {
			continue
		}
		resp, err := browser.Get("http" + url)
		require.NoError(t, err)
		resp.Body.Close()
		fmt.Fprintln(stdin, resp.Header.Get("Location"))
		pasted = true
	}
	return said.String()
}
