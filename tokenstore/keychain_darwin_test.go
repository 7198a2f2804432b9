package tokenstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// The whole contract on the Keychain, under a service name of the test, and again
// with every value over the limit of an item.
func TestKeyringKeepsTheContract(t *testing.T) {
	for name, limit := range map[string]int{"items": 0, "all in files": 1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			storetest.Run(t, func(*testing.T) tokenstore.Store {
				return tokenstore.SetItemLimit(
					&tokenstore.Keyring{Service: "nativeoauth-test", Dir: dir, Timeout: time.Minute}, limit)
			})
		})
	}
}

// standIn is the keychain of internal/macos/security, which misbehaves on demand.
type standIn struct {
	t     *testing.T
	dir   string
	files string
}

func startStandIn(t *testing.T) *standIn {
	t.Helper()
	if os.Getenv("NATIVEOAUTH_SECURITY") == "" {
		t.Skip("skipped: a real keychain does not misbehave on demand; internal/macos runs this on Linux")
	}
	s := &standIn{t: t, dir: t.TempDir(), files: t.TempDir()}
	t.Setenv("NATIVEOAUTH_KEYCHAIN", s.dir)
	t.Setenv("SSH_CONNECTION", "")
	return s
}

// set makes or removes a file that controls the stand-in.
func (s *standIn) set(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

func (s *standIn) unset(name string) {
	s.t.Helper()
	require.NoError(s.t, os.Remove(filepath.Join(s.dir, name)))
}

// awaitHeld waits until a command is held.
func (s *standIn) awaitHeld(command string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "held."+command))
		return err == nil
	}, 30*time.Second, 2*time.Millisecond)
}

func (s *standIn) keyring(timeout time.Duration) *tokenstore.Keyring {
	return &tokenstore.Keyring{Dir: s.files, Timeout: timeout}
}

func (s *standIn) sealed() int {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.files, "*", "*.sealed"))
	require.NoError(s.t, err)
	return len(names)
}

// Values of every length near the limit keep their bytes. None is cut, and a write
// that fails is an error at every length.
func TestKeychainSizesNearTheLimit(t *testing.T) {
	s := startStandIn(t)
	k := s.keyring(time.Minute)
	for _, key := range []string{"a", "aa", "aaa", "aaaa"} { // base64 has steps of four
		inItem := 0
		for size := 2990; size <= 3010; size++ {
			want := strings.Repeat(`"`, size-2) + `\'`
			require.NoError(t, k.Put(t.Context(), key, []byte(want)), size)
			got, err := s.keyring(time.Minute).Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, want, string(got), size)
			if s.sealed() == 0 {
				inItem = size
			}
			s.set("status.add", "-25308")
			err = k.Put(t.Context(), key, []byte("x"+want[1:]))
			require.ErrorContains(t, err, "unlock-keychain", size)
			s.unset("status.add")
		}
		require.NoError(t, k.Delete(t.Context(), key))
		require.Zero(t, s.sealed())
		require.Greater(t, inItem, 2990)
		require.Less(t, inItem, 3010)
	}
}

// Each thing that goes wrong has its error, whatever language the texts are in.
func TestKeychainTrouble(t *testing.T) {
	s := startStandIn(t)
	k := s.keyring(time.Minute)
	ctx := t.Context()
	check := func(what string, want error, ops ...error) {
		t.Helper()
		for i, err := range ops {
			require.ErrorIs(t, err, want, "%s: %d", what, i)
		}
	}
	get := func(key string) error { _, err := k.Get(ctx, key); return err }
	put := func(key string) error { return k.Put(ctx, key, []byte("new")) }

	check("nothing stored", tokenstore.ErrNotFound, get("a"))
	require.NoError(t, k.Delete(ctx, "a"))
	require.NoError(t, put("a"))
	require.NoError(t, k.Probe(ctx))

	s.set("locked", "")
	check("locked", tokenstore.ErrLocked, get("a"), put("a"), put("b"), k.Probe(ctx))
	check("locked, and not there", tokenstore.ErrNotFound, get("b"))
	s.unset("locked")

	s.set("denied", "")
	check("denied", tokenstore.ErrDismissed, get("a"), put("a"))
	s.unset("denied")

	for status, want := range map[string]error{
		"-25293": tokenstore.ErrLocked, "-25307": tokenstore.ErrUnavailable, "1": tokenstore.ErrUnavailable,
	} {
		for _, command := range []string{"add", "find", "delete"} {
			s.set("status."+command, status)
		}
		check(status, want, get("a"), put("a"), k.Delete(ctx, "a"), k.Probe(ctx))
		for _, command := range []string{"add", "find", "delete"} {
			s.unset("status." + command)
		}
	}

	s.set("status.delete", "-25300") // another program has deleted it
	require.NoError(t, k.Probe(ctx))
	s.unset("status.delete")

	s.set("status.add", "0") // a write that is lost
	check("lost", tokenstore.ErrDismissed, k.Put(ctx, "a", []byte("lost")))
	s.unset("status.add")
	s.set("warning", "")
	got, err := k.Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "new", string(got), "a warning is no part of the value")
	s.unset("warning")
	calls, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	require.NoError(t, err)
	require.NotContains(t, string(calls), "base64", "a secret is among the arguments")
}

// The names of items need no quotes, and no name reaches another one's item.
func TestKeychainNames(t *testing.T) {
	s := startStandIn(t)
	services := []string{"", "a b", `a\b`, "a'b", "a\nb", "a\"b", "-U", "A", "a", "ü"}
	for _, service := range services {
		k := &tokenstore.Keyring{Service: service, Dir: s.files, Timeout: time.Minute}
		for _, key := range []string{"-w", "a.b-c"} {
			require.NoError(t, k.Put(t.Context(), key, []byte(service+"/"+key)))
		}
	}
	for _, service := range services {
		k := &tokenstore.Keyring{Service: service, Dir: s.files, Timeout: time.Minute}
		for _, key := range []string{"-w", "a.b-c"} {
			got, err := k.Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, service+"/"+key, string(got))
			require.NoError(t, k.Delete(t.Context(), key))
		}
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "item.*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A call that hangs ends in time. A write may land later, and says so.
func TestKeychainLateWriteIsPending(t *testing.T) {
	s := startStandIn(t)
	require.NoError(t, s.keyring(time.Minute).Put(t.Context(), "a", []byte("old")))
	k := s.keyring(500 * time.Millisecond)
	s.set("hold.add", "")
	err := k.Put(t.Context(), "a", []byte("new"))
	var pending *tokenstore.Pending
	require.ErrorAs(t, err, &pending)
	select {
	case <-pending.Done:
		t.Fatal("security(1) still runs")
	default:
	}
	_, err = k.Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrBusy)
	got, err := s.keyring(time.Minute).Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "old", string(got))

	s.unset("held.add")
	<-pending.Done
	got, err = s.keyring(time.Minute).Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
}

// A read that hangs is ended. The next call does not wait for it.
func TestKeychainReadCanBeGivenUp(t *testing.T) {
	s := startStandIn(t)
	require.NoError(t, s.keyring(time.Minute).Put(t.Context(), "a", []byte("x")))
	s.set("hold.find", "")
	k := s.keyring(0)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { s.awaitHeld("find"); cancel() }()
	_, err := k.Get(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	s.unset("held.find")
	got, err := k.Get(t.Context(), "a")
	require.NoError(t, err, "the queue is stuck")
	require.Equal(t, "x", string(got))
}

// TestKeychainChild is a process that stores an item and prints how that ended. It
// handles SIGINT as a program does that ends in good order.
func TestKeychainChild(t *testing.T) {
	value := os.Getenv("TOKENSTORE_KEYCHAIN_PUT")
	if value == "" {
		t.Skip("run by other tests, in a process of its own")
	}
	signal.Ignore(syscall.SIGHUP)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	k := &tokenstore.Keyring{Dir: os.Getenv("TOKENSTORE_KEYCHAIN_FILES"), Timeout: time.Minute}
	err := k.Put(t.Context(), "a", []byte(value))
	fmt.Printf("> %v, %d signals\n", err, len(interrupted))
}

// child starts that process in a process group of its own, as a shell does.
func (s *standIn) child(value string) (cmd *exec.Cmd, out *strings.Builder) {
	s.t.Helper()
	self, err := os.Executable()
	require.NoError(s.t, err)
	out = &strings.Builder{}
	cmd = exec.Command(self, "-test.run=^TestKeychainChild$")
	cmd.Env = append(os.Environ(), "TOKENSTORE_KEYCHAIN_PUT="+value, "TOKENSTORE_KEYCHAIN_FILES="+s.files)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

// Ctrl-C in the terminal goes to the program and to all processes of its group. A
// Put that goes on stores its value all the same.
func TestKeychainPutSurvivesCtrlC(t *testing.T) {
	s := startStandIn(t)
	s.set("hold.add", "")
	cmd, out := s.child("rotated")
	s.awaitHeld("add")
	for range 2 {
		require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	}
	s.unset("held.add")
	require.NoError(t, cmd.Wait())
	require.Contains(t, out.String(), "> <nil>, 1 signals")
	got, err := s.keyring(time.Minute).Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "rotated", string(got))
}

// A process is killed during a write, and security(1) goes on without it. Nobody reads
// or writes before it has ended, so it cannot replace a newer value.
func TestKeychainLateWriteOfADeadProcess(t *testing.T) {
	s := startStandIn(t)
	require.NoError(t, s.keyring(time.Minute).Put(t.Context(), "a", []byte("old")))
	s.set("hold.add", "")
	cmd, _ := s.child("late")
	s.awaitHeld("add")
	got, err := s.keyring(time.Minute).Get(t.Context(), "a")
	require.NoError(t, err, "the writer lives")
	require.Equal(t, "old", string(got))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	_, err = s.keyring(300*time.Millisecond).Get(t.Context(), "a")
	require.ErrorIs(t, err, tokenstore.ErrDismissed, "the late command may have a prompt")
	got, err = s.keyring(time.Minute).Get(t.Context(), "b")
	require.ErrorIs(t, err, tokenstore.ErrNotFound, "another key waits: %s", got)
	newer := make(chan error, 1)
	go func() { newer <- s.keyring(time.Minute).Put(t.Context(), "a", []byte("newer")) }()
	select {
	case err := <-newer:
		t.Fatalf("it was stored before the late write: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	s.unset("held.add")
	require.NoError(t, <-newer)
	got, err = s.keyring(time.Minute).Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "newer", string(got))
}
