package tokenstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zalando/go-keyring"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// The whole contract on a real Secret Service, with the item limit of each system.
func TestKeyringKeepsTheContract(t *testing.T) {
	for name, limit := range map[string]int{"linux": 0, "macos": 2900, "windows": 2560, "all in files": 1} {
		t.Run(name, func(t *testing.T) {
			realparts.SecretService(t, realparts.Unlocked).Setenv(t)
			storetest.Run(t, func(*testing.T) tokenstore.Store {
				// The contract is not about time, and a loaded machine is slow.
				return tokenstore.SetItemLimit(&tokenstore.Keyring{Timeout: time.Minute}, limit)
			})
		})
	}
}

// S64: if something is wrong with the Secret Service, the caller soon gets an error
// with a sentinel, a cause and a remedy.
func TestS64KeychainTrouble(t *testing.T) {
	stale := func(t *testing.T) {
		s := realparts.SecretService(t, realparts.Unlocked)
		s.Setenv(t)
		s.StopBus()
	}
	in := func(state realparts.Keyring) func(*testing.T) {
		return func(t *testing.T) { realparts.SecretService(t, state).Setenv(t) }
	}
	for _, test := range []struct {
		name  string
		enter func(*testing.T)
		want  error
		says  []string
	}{
		{"no bus", func(t *testing.T) { bareEnvironment(t) }, tokenstore.ErrUnavailable, []string{"no session bus", "DBUS_SESSION_BUS_ADDRESS", "sealed file"}},
		{"no bus, autolaunch", func(t *testing.T) {
			bareEnvironment(t)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "autolaunch:")
		}, tokenstore.ErrUnavailable, []string{"no session bus", "dbus-run-session"}},
		{"stale address", stale, tokenstore.ErrUnavailable, []string{"cannot be reached", "correct DBUS_SESSION_BUS_ADDRESS"}},
		{"nonsense address", func(t *testing.T) {
			bareEnvironment(t)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "\x1b[31mnonsense")
		}, tokenstore.ErrUnavailable, []string{"cannot be reached"}},
		{"no service", in(realparts.NoService), tokenstore.ErrUnavailable, []string{"no secret service runs", "gnome-keyring", "sealed file"}},
		{"no collection", in(realparts.NoCollection), tokenstore.ErrUnavailable, []string{"no default keyring", "make one"}},
		{"locked, no display", in(realparts.Locked), tokenstore.ErrLocked, []string{"locked", "no display", "gnome-keyring-daemon --unlock"}},
		{"service that does not start", func(t *testing.T) {
			realparts.StartableService(t, "/bin/false").Setenv(t)
		}, tokenstore.ErrUnavailable, []string{"cannot be started", "start it by hand"}},
		{"service that starts for ever", func(t *testing.T) {
			realparts.StartableService(t, "/bin/sleep 60").Setenv(t)
		}, tokenstore.ErrUnavailable, []string{"did not answer within"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.enter(t)
			t.Setenv(launchedBy, rand.Text())
			defer func() { require.Zero(t, launchedBuses(t), "session buses were left running") }()
			store := &tokenstore.Keyring{Dir: t.TempDir(), Timeout: 3 * time.Second}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, get := store.Get(ctx, "a")
			for call, err := range map[string]error{
				"Get": get, "Put": store.Put(ctx, "a", []byte("canary")), "Delete": store.Delete(ctx, "a"), "Probe": store.Probe(ctx),
			} {
				require.ErrorIs(t, err, test.want, call)
				for _, part := range test.says {
					require.ErrorContains(t, err, part, call)
				}
				require.NotErrorIs(t, err, tokenstore.ErrNotFound, call) // S61: a store that cannot be read is not empty
				require.NotErrorIs(t, err, context.DeadlineExceeded, call)
				var pending *tokenstore.Pending
				require.False(t, errors.As(err, &pending), "%s: nothing was sent", call)
				require.NotContains(t, err.Error(), "canary")
				require.NotContains(t, err.Error(), "\x1b")
			}
		})
	}
}

// The package example takes the keychain if it works, and the file otherwise. It
// keeps its choice even if the keychain does not work any more.
func TestExampleChoosesAStore(t *testing.T) {
	sealed := tokenstore.NewFile(t.TempDir(), key(t, "ab"))
	realparts.SecretService(t, realparts.Unlocked).Setenv(t)
	store, setting := openStore(t.Context(), "", sealed)
	require.IsType(t, &tokenstore.Keyring{}, store)
	require.Equal(t, "keychain", setting)

	realparts.SecretService(t, realparts.NoService).Setenv(t)
	store, _ = openStore(t.Context(), setting, sealed)
	require.IsType(t, &tokenstore.Keyring{}, store)
	require.ErrorIs(t, store.Put(t.Context(), "a", nil), tokenstore.ErrUnavailable)
	store, setting = openStore(t.Context(), "", sealed)
	require.Same(t, sealed, store)
	require.Equal(t, "file", setting)
}

// A service that is not running yet is started by the bus.
func TestKeyringStartsTheService(t *testing.T) {
	daemon := realparts.Need(t, "gnome-keyring-daemon")[0]
	s := realparts.StartableService(t, daemon+" --start --foreground --components=secrets")
	s.Setenv(t)
	err := (&tokenstore.Keyring{}).Probe(t.Context())
	require.ErrorIs(t, err, tokenstore.ErrUnavailable)
	require.ErrorContains(t, err, "no default keyring") // so it runs now
}

// A stopped daemon never answers. The first call ends in time, the others end at
// once, and they hold one goroutine, not a hundred. When the daemon goes on, the
// calls succeed again.
func TestKeyringStoppedDaemonHoldsOneGoroutine(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: 3 * time.Second}
	require.NoError(t, store.Put(t.Context(), "a", []byte("old")))

	s.FreezeKeyring()
	_, err := store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrUnavailable)
	require.ErrorContains(t, err, "did not answer within 3s")
	before := runtime.NumGoroutine()
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := store.Get(ctx, "a")
		cancel()
		require.Error(t, err)
		require.NotErrorIs(t, err, tokenstore.ErrNotFound)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, 10*time.Millisecond)
	s.ThawKeyring()
	require.Eventually(t, func() bool {
		got, err := store.Get(t.Context(), "a")
		return err == nil && string(got) == "old"
	}, 10*time.Second, 10*time.Millisecond)
}

// gnome-keyring aborts if a client sends too much before the first answer while the
// daemon is busy with another client, and the user's keys are then lost from its
// memory. So many clients come at once, and some of them write.
func TestKeyringServiceOutlivesItsClients(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	require.NoError(t, new(tokenstore.Keyring).Put(t.Context(), "a", []byte("value")))
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			store := &tokenstore.Keyring{Timeout: time.Minute}
			for range 150 {
				if i < 4 {
					if err := store.Put(t.Context(), "w"+strconv.Itoa(i), []byte("value")); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
				}
				if got, err := store.Get(t.Context(), "a"); err != nil || string(got) != "value" {
					t.Errorf("Get: %q, %v", got, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// The daemon stops after the keychain was opened and before the call is answered.
// Put and Delete return a Pending, and other calls get ErrBusy at once. One
// goroutine waits. When the daemon goes on, the change happens before Done is
// closed.
func TestKeyringLateChangeIsPending(t *testing.T) {
	for _, size := range []int{10, sizeOver} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := realparts.SecretService(t, realparts.Unlocked)
			s.Setenv(t)
			store := &tokenstore.Keyring{Timeout: time.Minute}
			require.NoError(t, store.Put(t.Context(), "a", bytes.Repeat([]byte("o"), size)))
			tokenstore.BeforeChange(store, s.FreezeKeyring)
			store.Timeout = 2 * time.Second // enough to open the keychain on a loaded machine

			updated := bytes.Repeat([]byte("n"), size)
			err := store.Put(t.Context(), "a", updated)
			var pending *tokenstore.Pending
			require.ErrorAs(t, err, &pending)
			require.ErrorIs(t, err, tokenstore.ErrUnavailable)
			require.ErrorContains(t, err, "may still take effect")
			before := runtime.NumGoroutine()
			started := time.Now()
			for range 100 {
				_, err := store.Get(t.Context(), "a")
				require.ErrorIs(t, err, tokenstore.ErrBusy)
				require.ErrorIs(t, store.Put(t.Context(), "b", nil), tokenstore.ErrBusy)
				require.ErrorIs(t, store.Delete(t.Context(), "a"), tokenstore.ErrBusy)
				require.ErrorIs(t, store.Probe(t.Context()), tokenstore.ErrBusy)
			}
			require.Less(t, time.Since(started), 30*time.Second)
			require.LessOrEqual(t, runtime.NumGoroutine(), before)
			// Another handle can neither write the same value now nor sweep its file.
			other := &tokenstore.Keyring{Timeout: 200 * time.Millisecond}
			require.Error(t, other.Put(t.Context(), "a", []byte("other")))
			// Locks, journals and the index need no keychain.
			_, unlock, err := store.Lock(t.Context(), "a")
			require.NoError(t, err)
			require.NoError(t, store.WriteJournal(t.Context(), "a", []byte("j")))
			require.NoError(t, unlock())
			keys, err := store.List(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, []string{"a"}, keys)

			select {
			case <-pending.Done:
				t.Fatal("Done is closed while the daemon is stopped")
			default:
			}
			tokenstore.BeforeChange(store, nil)
			s.ThawKeyring()
			within(t, pending.Done)
			got, err := store.Get(t.Context(), "a")
			require.NoError(t, err)
			require.Equal(t, updated, got, "the late write landed, and its file is there")

			tokenstore.BeforeChange(store, s.FreezeKeyring)
			err = store.Delete(t.Context(), "a")
			require.ErrorAs(t, err, &pending)
			tokenstore.BeforeChange(store, nil)
			s.ThawKeyring()
			within(t, pending.Done)
			store.Timeout = time.Minute
			_, err = store.Get(t.Context(), "a")
			require.ErrorIs(t, err, tokenstore.ErrNotFound)
			require.NoError(t, store.Delete(t.Context(), "a"), "a second Delete finishes the first")
			require.Empty(t, sealedFiles(t, s))
		})
	}
}

// The caller's ctx ends a call, with the caller's error.
func TestKeyringReturnsTheCallersError(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	tokenstore.BeforeChange(store, s.FreezeKeyring)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := store.Put(ctx, "a", []byte("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, tokenstore.ErrUnavailable)
	var pending *tokenstore.Pending
	require.ErrorAs(t, err, &pending)
	s.ThawKeyring()
	within(t, pending.Done)
}

// The session bus hangs.
func TestKeyringSurvivesAStoppedBus(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	s.FreezeBus()
	store := &tokenstore.Keyring{Timeout: 300 * time.Millisecond}
	for range 20 {
		_, err := store.Get(t.Context(), "a")
		require.True(t, errors.Is(err, tokenstore.ErrUnavailable) || errors.Is(err, tokenstore.ErrBusy), "%v", err)
	}
	s.ContinueBus()
	require.Eventually(t, func() bool {
		_, err := store.Get(t.Context(), "a")
		return errors.Is(err, tokenstore.ErrNotFound)
	}, 10*time.Second, 10*time.Millisecond)
}

// The daemon is killed and restarted between write and read, and between reads.
func TestKeyringSurvivesARestartedDaemon(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	for _, size := range []int{10, sizeOver} {
		data := bytes.Repeat([]byte("x"), size)
		require.NoError(t, store.Put(t.Context(), "a", data))
		s.StopKeyring()
		_, err := store.Get(t.Context(), "a")
		require.ErrorIs(t, err, tokenstore.ErrUnavailable)
		s.StartKeyring(realparts.Unlocked)
		got, err := store.Get(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, data, got, "durable on nil")
	}
	s.StopKeyring()
	s.StartKeyring(realparts.Locked)
	_, err := store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrLocked, "locked is not absent")
	require.ErrorIs(t, store.Delete(t.Context(), "a"), tokenstore.ErrLocked)
	require.Len(t, sealedFiles(t, s), 1, "a failed call sweeps nothing")
}

// Each Put of a value over the limit makes a new file. The previous file is deleted
// after the read-back, and no other file is.
func TestKeyringSweepsOnlyOldFiles(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	canary := bytes.Repeat([]byte("canary"), sizeOver/6)
	require.NoError(t, store.Put(t.Context(), "a", canary))
	require.NoError(t, store.Put(t.Context(), "a.b", canary))
	first := sealedFiles(t, s)
	require.Len(t, first, 2)
	for _, name := range first {
		sealed, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "canary")
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	item, err := keyring.Get("nativeoauth", "a")
	require.NoError(t, err)

	// A crash after the file and before the item: the old value stands.
	orphan := filepath.Join(filesDir(s), "key-a."+strings.Repeat("0", 32)+".sealed")
	require.NoError(t, os.WriteFile(orphan, []byte("half"), 0o600))
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, canary, got)
	require.FileExists(t, orphan, "reading sweeps nothing")

	require.NoError(t, store.Put(t.Context(), "a", canary))
	require.NoFileExists(t, orphan)
	require.Len(t, sealedFiles(t, s), 2)
	updated, err := keyring.Get("nativeoauth", "a")
	require.NoError(t, err)
	require.NotEqual(t, item, updated)

	// Another key's file does not open under this one (S65).
	files, err := filepath.Glob(filepath.Join(filesDir(s), "key-a.b.*.sealed"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.Rename(files[0], strings.Replace(files[0], "key-a.b.", "key-a.", 1)))
	item, err = keyring.Get("nativeoauth", "a.b")
	require.NoError(t, err)
	require.NoError(t, keyring.Set("nativeoauth", "a", item))
	_, err = store.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)

	// A missing file is not "nothing stored", and a Put mends it.
	_, err = store.Get(t.Context(), "a.b")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	require.ErrorContains(t, err, "is missing")
	require.NoError(t, store.Put(t.Context(), "a.b", []byte("small")))
	got, err = store.Get(t.Context(), "a.b")
	require.NoError(t, err)
	require.Equal(t, "small", string(got))
	for _, key := range []string{"a", "a.b"} {
		require.NoError(t, store.Delete(t.Context(), key))
	}
	require.Empty(t, sealedFiles(t, s))
}

// What another program stored under our name is no session and names no file.
func TestKeyringRefusesForeignItems(t *testing.T) {
	realparts.SecretService(t, realparts.Unlocked).Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	for _, text := range []string{"", "secret", "nativeoauth2:text:x", "nativeoauth1:file:../../../etc/passwd:" + strings.Repeat("A", 43)} {
		require.NoError(t, keyring.Set("nativeoauth", "a", text))
		_, err := store.Get(t.Context(), "a")
		require.ErrorIs(t, err, tokenstore.ErrWrongKey)
		require.NotContains(t, err.Error(), "secret")
	}
	require.NoError(t, store.Put(t.Context(), "a", []byte("ours")))
	got, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "ours", string(got))
}

// A lost index loses no session, and reading a value restores its row.
func TestKeyringRestoresALostIndex(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	require.NoError(t, store.Put(t.Context(), "a", []byte("canary")))
	row := filepath.Join(filesDir(s), "key-a.row")
	info, err := os.Stat(row)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.Zero(t, info.Size())
	require.NoError(t, os.Remove(row))
	keys, err := store.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, keys)
	_, err = store.Get(t.Context(), "a")
	require.NoError(t, err)
	keys, err = store.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, keys)

	// The row is made before the item, so that no secret is ever without a row.
	tokenstore.BeforeChange(store, func() {
		keys, err := store.List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, keys)
	})
	require.NoError(t, store.Put(t.Context(), "b", nil))
}

// The directory has the files of a thousand keys. gnome-keyring itself takes 4 ms
// to read one of 1,000 items and 70 ms to write one, because it encrypts all of
// them again.
func TestKeyringKeepsAThousandKeysApart(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	store := &tokenstore.Keyring{Timeout: time.Minute}
	require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
	for i := range 1000 {
		for _, kind := range []string{"row", "lock", "write", "journal", strings.Repeat("0", 32) + ".sealed"} {
			require.NoError(t, os.WriteFile(filepath.Join(filesDir(s), fmt.Sprintf("key-k%d.%s", i, kind)), nil, 0o600))
		}
	}
	started := time.Now()
	for range 20 {
		require.NoError(t, store.Put(t.Context(), "a", []byte("x")))
	}
	t.Logf("Put: %v", time.Since(started)/20)
	started = time.Now()
	for range 20 {
		_, err := store.Get(t.Context(), "a")
		require.NoError(t, err)
	}
	t.Logf("Get: %v", time.Since(started)/20)
	started = time.Now()
	keys, err := store.List(t.Context(), "k")
	require.NoError(t, err)
	t.Logf("List: %v", time.Since(started))
	require.Len(t, keys, 1000)
	require.Len(t, sealedFiles(t, s), 1000, "other keys' files are not swept")
}

// Two services are two stores, however odd their names are.
func TestKeyringKeepsServicesApart(t *testing.T) {
	realparts.SecretService(t, realparts.Unlocked).Setenv(t)
	services := []string{"", "a", "A", "a:b", `a"; rm -rf /`, `a\`, "../../x", "ä", strings.Repeat("s", 65), strings.Repeat("s", 5000), "sha256-x", "con", "."}
	for _, service := range services {
		require.NoError(t, (&tokenstore.Keyring{Service: service, Timeout: time.Minute}).Put(t.Context(), "k", []byte(service)), service)
	}
	for _, service := range services {
		store := &tokenstore.Keyring{Service: service, Timeout: time.Minute}
		got, err := store.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, service, string(got))
		keys, err := store.List(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"k"}, keys)
	}
}

const keyringChild = "TOKENSTORE_KEYRING_CHILD"

// TestKeyringChild is another process of the same user. It writes and reads one
// key.
func TestKeyringChild(t *testing.T) {
	if os.Getenv(keyringChild) == "" {
		return
	}
	store := tokenstore.SetItemLimit(&tokenstore.Keyring{Timeout: time.Minute}, 2560)
	fmt.Println("ready")
	for i := range 20 {
		size := []int{100, 5000}[i%2]
		require.NoError(t, store.Put(t.Context(), "shared", bytes.Repeat([]byte{byte('a' + i)}, size)))
		got, err := store.Get(t.Context(), "shared")
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat(got[:1], len(got)), got)
		_, unlock, err := store.Lock(t.Context(), "shared")
		require.NoError(t, err)
		require.NoError(t, unlock())
	}
}

// Several processes write one key. No value is torn and no file is left over. A
// process that is killed while it writes leaves a whole value too.
func TestKeyringProcessesTearNothing(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	self, err := os.Executable()
	require.NoError(t, err)
	child := func() *exec.Cmd {
		cmd := exec.Command(self, "-test.run=^TestKeyringChild$")
		cmd.Env = append(s.Environ(), keyringChild+"=1")
		return cmd
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			out, err := child().CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	all.Wait()
	store := tokenstore.SetItemLimit(&tokenstore.Keyring{Timeout: time.Minute}, 2560)
	for i := range 10 {
		cmd := child()
		ready, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = ready.Read(make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(time.Duration(i*3) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		got, err := store.Get(t.Context(), "shared")
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat(got[:1], len(got)), got)
	}
	require.NoError(t, store.Put(t.Context(), "shared", make([]byte, 5000)))
	require.Len(t, sealedFiles(t, s), 1)
}
