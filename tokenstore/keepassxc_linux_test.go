package tokenstore_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// longThought is longer than an unattended call may take.
const longThought = tokenstore.Unattended + 2*time.Second

// user answers a dialog of KeePassXC in the background, after a while. done fails
// the test if the dialog did not appear.
func user(t *testing.T, after time.Duration, answer func() error) (done func()) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		time.Sleep(after)
		result <- answer()
	}()
	return func() {
		t.Helper()
		select {
		case err := <-result:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Fatal("the dialog did not appear")
		}
	}
}

// storedBefore stores an item as an earlier process of this program did. KeePassXC
// asks nothing of the process that made an item.
func storedBefore(t *testing.T, k *realparts.KeePassXC, key, value string) {
	t.Helper()
	tool := realparts.Need(t, "secret-tool")[0]
	cmd := exec.Command(tool, "store", "--label=x", "service", "nativeoauth", "username", key)
	cmd.Env = k.Environ()
	cmd.Stdin = strings.NewReader("nativeoauth1:text:" + value)
	require.NoError(t, cmd.Run())
}

// KeePassXC shows a dialog before it replaces an item, even if no access has to be
// confirmed. The user may take longer than an unattended call, and the value is
// then stored.
func TestKeePassXCPutWaitsForTheUser(t *testing.T) {
	k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{})
	k.Setenv(t)
	var told atomic.Int32
	store := &tokenstore.Keyring{OnPrompt: func() { told.Add(1) }}
	get, put, err := store.Prompts(t.Context())
	require.NoError(t, err)
	require.False(t, get)
	require.True(t, put, "it is known before the first prompt")
	storedBefore(t, k, "a", "old")
	done := user(t, longThought, k.AllowAccess)
	require.NoError(t, store.Put(t.Context(), "a", []byte("new")))
	done()
	require.Equal(t, int32(1), told.Load())
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	// The answer is remembered for this program.
	require.NoError(t, store.Put(t.Context(), "a", []byte("newer")))
	require.Zero(t, k.Dialogs())
}

// If each access has to be confirmed, the first read waits for the user too.
func TestKeePassXCGetWaitsForTheUser(t *testing.T) {
	k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{ConfirmAccess: true})
	k.Setenv(t)
	var told atomic.Int32
	store := &tokenstore.Keyring{OnPrompt: func() { told.Add(1) }}
	storedBefore(t, k, "a", "value")
	done := user(t, longThought, k.AllowAccess)
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "value", string(got))
	done()
	require.Equal(t, int32(1), told.Load())
}

// Two processes of the program write and read one key at once. The user allows what
// KeePassXC asks. No value is torn and none is lost.
func TestKeePassXCTwoPrograms(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for name, confirms := range map[string]bool{"defaults": true, "ConfirmAccessItem is off": false} {
		t.Run(name, func(t *testing.T) {
			k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{ConfirmAccess: confirms})
			stop := k.AllowAll()
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					cmd := exec.Command(self, "-test.run=^TestKeyringChild$")
					cmd.Env = append(k.Environ(), keyringChild+"=1")
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
			both.Wait()
			allowed, err := stop()
			require.NoError(t, err)
			t.Logf("the user allowed %d accesses", allowed)
			require.Positive(t, allowed)
			require.Len(t, sealedFiles(t, k.Session), 1)
		})
	}
}

// KeePassXC without a database is an error that says so, and shows no dialog.
func TestKeePassXCWithoutADatabase(t *testing.T) {
	k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{NoDatabase: true})
	k.Setenv(t)
	store := &tokenstore.Keyring{OnPrompt: func() { t.Error("there is nothing to answer") }}
	_, get := store.Get(t.Context(), "a")
	_, _, prompts := store.Prompts(t.Context())
	for i, err := range []error{
		get, prompts, store.Probe(t.Context()), store.Put(t.Context(), "a", []byte("x")), store.Delete(t.Context(), "a"),
	} {
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, i)
		require.ErrorContains(t, err, "no default keyring; make one", i)
	}
	require.Zero(t, k.Dialogs())
}

// A locked database is unlocked by Probe, before anything depends on it. What
// Prompts says of it shows no dialog.
func TestKeePassXCLocked(t *testing.T) {
	k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{Locked: true})
	k.Setenv(t)
	var told atomic.Int32
	store := &tokenstore.Keyring{OnPrompt: func() { told.Add(1) }}
	for range 3 {
		get, put, err := store.Prompts(t.Context())
		require.NoError(t, err)
		require.True(t, get)
		require.True(t, put)
	}
	require.Zero(t, k.Dialogs())
	require.Zero(t, told.Load())

	done := user(t, 1500*time.Millisecond, k.DismissUnlock)
	_, err := store.Get(t.Context(), "a")
	done()
	require.ErrorIs(t, err, tokenstore.ErrDismissed)
	require.NotErrorIs(t, err, tokenstore.ErrNotFound)
	require.Equal(t, int32(1), told.Load())

	done = user(t, longThought, k.Unlock)
	require.NoError(t, store.Probe(t.Context()))
	done()
	get, _, err := store.Prompts(t.Context())
	require.NoError(t, err)
	require.False(t, get)
	require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
}
