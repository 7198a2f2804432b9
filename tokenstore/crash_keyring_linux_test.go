package tokenstore_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A process is killed (SIGKILL) at each step of a write to a real gnome-keyring. The
// value is then the old one or the new one, whole, for a process that ran before
// and for one that starts later. The next write removes what was left over. No
// secret is without its row.
func TestKilledKeyringWriteTearsNothing(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	n := 0
	for _, point := range []struct {
		name   string
		steps  []string
		landed bool
	}{
		{"before the item", []string{"call CreateItem"}, false}, // after the row, and after the new file
		{"in the call for the item", []string{"reply CreateItem"}, true},
		{"before the old file goes", []string{"reply CreateItem", "reply GetSecret"}, true},
	} {
		for _, size := range []struct{ before, after string }{{"", "large"}, {"small", "large"}, {"large", "large"}, {"large", "small"}} {
			limit := []int{0, 2560}[n%2] // of this system and of Windows
			siblingFirst := n%4 < 2
			n++
			t.Run(fmt.Sprintf("%s/%s-%s", strings.ReplaceAll(point.name, " ", "-"), size.before, size.after), func(t *testing.T) {
				t.Parallel()
				k := newKilled(t, s, limit)
				before := "nothing"
				if size.before != "" {
					before = k.victim.do(t, "put a "+size.before)
				}
				require.Equal(t, before, k.sibling.do(t, "get"))
				k.tap.Arm(k.victim.kill, point.steps...)
				k.victim.dies(t, "put b "+size.after)
				// The files show at which step it died.
				require.Equal(t, strings.Count(size.before+size.after, "large"), k.sealed())
				if point.landed {
					before = "b " + size.after
				}
				k.check(t, before, siblingFirst)
			})
		}
	}
}

// The same for a deletion. Before the item is deleted, the value is the old one;
// after it, there is none. The row stays until the end.
func TestKilledKeyringDeleteKeepsTheRow(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	for i, point := range []struct {
		name  string
		steps []string
		gone  bool
	}{
		{"before the item goes", []string{"call Delete"}, false},
		{"in the call for the item", []string{"reply Delete"}, true},
		{"before the file and the row go", []string{"reply Delete", "reply SearchItems"}, true},
	} {
		t.Run(strings.ReplaceAll(point.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			k := newKilled(t, s, 2560)
			want := k.victim.do(t, "put a large")
			require.Equal(t, want, k.sibling.do(t, "get"))
			k.tap.Arm(k.victim.kill, point.steps...)
			k.victim.dies(t, "delete")
			require.Equal(t, 1, k.sealed())
			if point.gone {
				want = "nothing"
			}
			k.check(t, want, i%2 == 0)
		})
	}
}

// A process is killed during its sweep, with some of the files that earlier crashes
// left deleted and some not.
func TestKilledKeyringSweepLosesNothing(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	for order, want := range map[string]string{"put b large": "b large", "put b small": "b small", "delete": "nothing"} {
		t.Run(strings.ReplaceAll(order, " ", "-"), func(t *testing.T) {
			t.Parallel()
			for orphans := 200; ; orphans *= 4 {
				require.Less(t, orphans, 100_000, "the sweep is too quick to be killed in")
				k := newKilled(t, s, 2560)
				k.victim.do(t, "put a large")
				for i := range orphans {
					require.NoError(t, os.WriteFile(filepath.Join(k.folder(), fmt.Sprintf("key-shared.%032x.sealed", i)), nil, 0o600))
				}
				killOnDelete(t, k.folder(), k.victim.Process)
				k.victim.tell(order)
				if _, lived := <-k.victim.replies; lived { // more of them take longer
					continue
				}
				left := k.sealed()
				t.Logf("of %d files %d are left", orphans+1, left)
				require.Greater(t, left, 1)
				k.check(t, want, len(order)%2 == 0)
				return
			}
		})
	}
}

// killed is one test's directory in a keychain that the tests share. It has a process
// that will be killed and a sibling that lives on.
type killed struct {
	t       *testing.T
	session *realparts.Session
	dir     string
	limit   int
	tap     *realparts.Tap
	victim  *crashChild
	sibling *crashChild
}

func newKilled(t *testing.T, s *realparts.Session, limit int) *killed {
	k := &killed{t: t, session: s, dir: t.TempDir(), limit: limit, tap: s.Tap()}
	k.victim = k.start(k.tap.Env)
	k.sibling = k.start()
	return k
}

func (k *killed) folder() string {
	names, err := filepath.Glob(filepath.Join(k.dir, "keyring-*.d"))
	require.NoError(k.t, err)
	require.Len(k.t, names, 1)
	return names[0]
}

func (k *killed) files(kind string) int {
	names, err := filepath.Glob(filepath.Join(k.folder(), kind))
	require.NoError(k.t, err)
	return len(names)
}

func (k *killed) sealed() int { return k.files("*.sealed") }

// check tests what must hold after a kill at any step.
func (k *killed) check(t *testing.T, want string, siblingFirst bool) {
	t.Helper()
	files := k.sealed()
	fresh := k.start()
	for _, p := range []*crashChild{k.sibling, fresh} {
		require.Equal(t, want, p.do(t, "get"))
		require.Equal(t, "shared", p.do(t, "list"), "what may be there is listed")
	}
	require.Equal(t, files, k.sealed(), "reading sweeps nothing")
	one, two := k.sibling, fresh
	if !siblingFirst {
		one, two = two, one
	}
	for _, size := range []string{"small", "large"} {
		now := one.do(t, "put c "+size)
		require.Equal(t, now, two.do(t, "get"))
		require.Equal(t, now, one.do(t, "get"))
		require.Equal(t, strings.Count(size, "large"), k.sealed(), "a file was left over")
	}
	two.do(t, "delete")
	require.Equal(t, "nothing", one.do(t, "get"))
	require.Empty(t, one.do(t, "list"))
	require.Zero(t, k.sealed())
	require.Equal(t, k.files("*.write"), k.files("*")+k.files(".*"), "all but the permanent lock goes")
}

const crashOrders = "TOKENSTORE_CRASH_CHILD"

type crashSettings struct {
	Dir   string // also the service, so that no two tests share an item
	Limit int
}

// TestCrashChild is a process that reads orders about one key from standard input
// and prints the result of each.
func TestCrashChild(t *testing.T) {
	data := os.Getenv(crashOrders)
	if data == "" {
		t.Skip("run by the crash tests, in processes of its own")
	}
	var o crashSettings
	require.NoError(t, json.Unmarshal([]byte(data), &o))
	store := tokenstore.SetItemLimit(&tokenstore.Keyring{Dir: o.Dir, Service: o.Dir, Timeout: time.Minute}, o.Limit)
	sizes := map[string]int{"small": 100, "large": 5000}
	if o.Limit == 0 {
		sizes["large"] = sizeOver
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		says := ""
		var err error
		switch verb {
		case "put":
			letter, size, _ := strings.Cut(arg, " ")
			says, err = arg, store.Put(t.Context(), "shared", bytes.Repeat([]byte(letter), sizes[size]))
		case "get":
			var got []byte
			got, err = store.Get(t.Context(), "shared")
			if errors.Is(err, tokenstore.ErrNotFound) {
				says, err = "nothing", nil
			}
			for size, n := range sizes {
				if len(got) == n && bytes.Equal(got, bytes.Repeat(got[:1], n)) {
					says = string(got[:1]) + " " + size
				}
			}
		case "delete":
			err = store.Delete(t.Context(), "shared")
		case "list":
			var keys []string
			keys, err = store.List(t.Context(), "")
			says = strings.Join(keys, " ")
		}
		if err != nil {
			says = "error: " + err.Error()
		}
		fmt.Println("> " + says)
	}
	conn, err := dbus.SessionBus() // that of go-keyring, which goleak would report
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

type crashChild struct {
	*exec.Cmd
	in      io.WriteCloser
	replies chan string
}

func (k *killed) start(env ...string) *crashChild {
	self, err := os.Executable()
	require.NoError(k.t, err)
	data, err := json.Marshal(crashSettings{k.dir, k.limit})
	require.NoError(k.t, err)
	p := &crashChild{Cmd: exec.Command(self, "-test.run=^TestCrashChild$"), replies: make(chan string, 10)}
	p.Env = append(append(k.session.Environ(), "GORACE=atexit_sleep_ms=0", crashOrders+"="+string(data)), env...)
	p.Stderr = os.Stderr
	p.in, err = p.StdinPipe()
	require.NoError(k.t, err)
	out, err := p.StdoutPipe()
	require.NoError(k.t, err)
	require.NoError(k.t, p.Start())
	k.t.Cleanup(func() {
		_ = p.Process.Kill()
		for range p.replies {
		}
	})
	go func() {
		defer close(p.replies)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if says, ok := strings.CutPrefix(lines.Text(), "> "); ok {
				p.replies <- says
			}
		}
		_ = p.Wait()
	}()
	return p
}

func (p *crashChild) tell(order string) { _, _ = io.WriteString(p.in, order+"\n") }

func (p *crashChild) do(t *testing.T, order string) string {
	t.Helper()
	p.tell(order)
	select {
	case says, ok := <-p.replies:
		require.True(t, ok, "the process ended")
		require.NotContains(t, says, "error: ")
		return says
	case <-time.After(90 * time.Second):
		t.Fatal("no reply from the process")
	}
	return ""
}

// kill is for a [realparts.Tap]. It drops the message that triggers it.
func (p *crashChild) kill() bool {
	_ = p.Process.Kill()
	return false
}

// dies gives an order during which the process is killed.
func (p *crashChild) dies(t *testing.T, order string) {
	t.Helper()
	p.tell(order)
	select {
	case says, lived := <-p.replies:
		require.False(t, lived, "it lived through the point: %s", says)
	case <-time.After(90 * time.Second):
		t.Fatal("it did not die")
	}
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v", p.ProcessState)
}

// killOnDelete kills process when a sealed file is deleted from dir.
func killOnDelete(t *testing.T, dir string, process *os.Process) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	require.NoError(t, err)
	_, err = syscall.InotifyAddWatch(fd, dir, syscall.IN_DELETE)
	require.NoError(t, err)
	events := os.NewFile(uintptr(fd), "inotify")
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = events.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, err := events.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:n], []byte(".sealed")) {
				_ = process.Kill()
				return
			}
		}
	}()
}
