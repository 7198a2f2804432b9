package sqlitestore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

func open(t *testing.T, dir string) *Store {
	store, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// The contract of a store, the lock and the journal with it.
func TestContract(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a path%3f with #")
	storetest.Run(t, func(t *testing.T) tokenstore.Store { return open(t, dir) })
}

// A sealed store passes, too, and the database has no readable value.
func TestSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=")
	require.NoError(t, err)
	plain := open(t, dir)
	require.NoError(t, tokenstore.Seal(plain, key).Put(t.Context(), "session", []byte("secret")))
	data, err := plain.Get(t.Context(), "session")
	require.NoError(t, err)
	require.NotContains(t, string(data), "secret")
}

// TestMain lets this binary be another process that takes a lock and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LOCK_IN"); dir != "" {
		store, err := Open(dir)
		if err == nil {
			_, _, err = store.Lock(context.Background(), "session")
		}
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test kills it
	}
	os.Exit(m.Run())
}

// The lock of a process that was killed is free.
func TestKilledProcessReleasesItsLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LOCK_IN="+dir)
	stdin, err := cmd.StdinPipe() // stays open as long as the test
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", line)

	store := open(t, dir)
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err = store.Lock(soon, "session")
	require.ErrorIs(t, err, context.DeadlineExceeded, "the other process has it")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	_, unlock, err := store.Lock(t.Context(), "session")
	require.NoError(t, err)
	require.NoError(t, unlock())
}

// Eight clients share a session with a token that expires. One refreshes; a strict provider
// would end the session if two did.
func TestClientsShareASession(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	cfg, dir := server.Config(), t.TempDir()
	client := func() *oauthclient.Client {
		cfg.Store = open(t, dir)
		c, err := oauthclient.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}
	_, err := client().Login(t.Context(), nil)
	require.NoError(t, err)
	before := server.Requests("token")
	var all sync.WaitGroup
	for range 8 {
		session, err := client().Session(t.Context(), "")
		require.NoError(t, err)
		all.Go(func() {
			if err := session.Refresh(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Logf("%d token requests for 8 clients", server.Requests("token")-before)
	_, err = client().Session(t.Context(), "")
	require.NoError(t, err)
}
