package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const key = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=" // of the test's sealed files

// This binary is also the daemon, with a sealed file and without its long waits.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DAEMON_STORE"); dir != "" {
		client, err := oauthclient.New(oauthclient.Config{
			Issuer: os.Args[1], ClientID: os.Args[2], Store: store(dir),
		})
		if err != nil {
			panic(err)
		}
		d := daemon{client: client, api: os.Args[3], every: time.Hour, poll: 20 * time.Millisecond}
		d.run(context.Background())
	}
	os.Exit(m.Run())
}

func store(dir string) tokenstore.Store {
	k, err := tokenstore.ParseKey(key)
	if err != nil {
		panic(err)
	}
	return tokenstore.NewFile(dir, k)
}

// The test is the program that signs in and out; the daemon is another process.
func TestDaemonFollowsTheUser(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, &oauthtest.Options{
		Users: map[string]map[string]any{"bob": {"preferred_username": "bob"}},
	})
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })))
	defer api.Close()
	cfg := server.Config()
	dir := filepath.Join(t.TempDir(), "sessions")
	cfg.Store = store(dir)
	client, err := oauthclient.New(cfg)
	require.NoError(t, err)
	defer client.Close()

	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, cfg.Issuer, cfg.ClientID, api.URL)
	cmd.Env = append(os.Environ(), "DAEMON_STORE="+dir)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stderr)
	says := func(want string) {
		t.Helper()
		require.True(t, lines.Scan(), "the daemon ended; expected %q", want)
		require.True(t, strings.HasSuffix(lines.Text(), want), "%q, not %q", lines.Text(), want)
	}
	login := func(user string, replace bool) {
		t.Helper()
		_, err := client.Login(t.Context(), &oauthclient.LoginOptions{
			LoginHint: user, ReplaceUser: replace, Prompt: "login",
		})
		require.NoError(t, err)
	}

	says("waiting: no session is stored: sign in again")
	login("alice", false)
	says("working for alice")
	says("done")
	login("bob", true)
	says("another user has signed in; forgetting what belongs to alice")
	says("working for bob")
	says("done")
	require.NoError(t, client.Logout(t.Context(), "", nil))
	says("stopped: the session was signed out: sign in again")
	says("waiting: the session was signed out: sign in again")
}

// After a suspend the wall clock is far ahead of the monotonic clock.
func TestWorkIsDueAfterSuspend(t *testing.T) {
	t.Parallel()
	last := time.Now()
	now := last.Add(time.Second)
	require.False(t, due(last, now, time.Minute))
	woken := last.Round(0).Add(8 * time.Hour) // without a monotonic reading
	require.True(t, due(last, woken, time.Minute))
	require.True(t, due(time.Time{}, now, time.Minute), "the first time")
}
