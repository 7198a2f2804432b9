//go:build linux

package realparts

import (
	"bytes"
	"context"
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
)

// Keyring is the state in which a test finds the Secret Service of its session.
type Keyring int

const (
	Unlocked     Keyring = iota // gnome-keyring with an unlocked login keyring
	Locked                      // the same, locked; the password is [KeyringPassword]
	NoCollection                // gnome-keyring without any keyring
	NoService                   // a session bus, and no secret service
)

// KeyringPassword unlocks the login keyring of every [Session].
const KeyringPassword = "correct horse"

// Session is a desktop session of one test: a session bus, a home directory and
// a real gnome-keyring, which end with the test. Any number run side by side.
// The process's own environment stays as it is unless the test calls
// [Session.Setenv]. A child process gets Env.
type Session struct {
	Home    string
	Address string   // of the session bus
	Env     []string // "NAME=value", for a process in this session; no display

	tb         testing.TB
	runtimeDir string
	busConfig  string
	bus        *daemon
	keyring    *daemon
}

// SecretService starts a session with its keyring in the given state. It needs
// dbus-daemon and gnome-keyring-daemon (see [Need]).
func SecretService(tb testing.TB, state Keyring) *Session {
	tb.Helper()
	return start(tb, state, "")
}

// StartableService starts a session with a bus that starts the secret service
// at its first use, with the command line exec. A command that hangs, such as
// "/bin/sleep 60", makes the callers of the bus hang for as long.
func StartableService(tb testing.TB, exec string) *Session {
	tb.Helper()
	return start(tb, NoService, exec)
}

// start starts a session. activate is the command line with which the bus
// starts the secret service; "" means that it does not.
func start(tb testing.TB, state Keyring, activate string) *Session {
	tb.Helper()
	Need(tb, "dbus-daemon", "gnome-keyring-daemon")
	// Not tb.TempDir: its long names do not fit into a socket's address. In
	// memory if possible, because gnome-keyring writes and flushes its whole
	// file at each change.
	dir, err := os.MkdirTemp("/dev/shm", "session")
	if err != nil {
		dir, err = os.MkdirTemp("", "session")
	}
	if err != nil {
		tb.Fatal(err)
	}
	s := &Session{tb: tb, Home: filepath.Join(dir, "home"), runtimeDir: filepath.Join(dir, "run")}
	tb.Cleanup(func() {
		s.StopKeyring()
		s.StopBus()
		_ = os.RemoveAll(dir)
	})
	for _, sub := range []string{s.Home, s.runtimeDir, filepath.Join(dir, "services")} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	s.Address = "unix:path=" + filepath.Join(s.runtimeDir, "bus")
	s.Env = []string{
		"HOME=" + s.Home, "XDG_RUNTIME_DIR=" + s.runtimeDir, "DBUS_SESSION_BUS_ADDRESS=" + s.Address,
		"XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "DISPLAY=", "WAYLAND_DISPLAY=", "SSH_CONNECTION=",
	}
	services := ""
	if activate != "" {
		services = "<servicedir>" + filepath.Join(dir, "services") + "</servicedir>"
		s.write(filepath.Join(dir, "services", "org.freedesktop.secrets.service"),
			"[D-BUS Service]\nName=org.freedesktop.secrets\nExec="+activate+"\n")
	}
	s.busConfig = filepath.Join(dir, "bus.conf")
	s.write(s.busConfig, `<busconfig><type>session</type><listen>`+s.Address+`</listen><auth>EXTERNAL</auth>`+services+`
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`)
	s.StartBus()
	switch state {
	case Unlocked:
		s.StartKeyring(Unlocked)
	case Locked:
		s.StartKeyring(Unlocked)
		s.StopKeyring()
		s.StartKeyring(Locked)
	case NoCollection:
		s.StartKeyring(Locked) // there is nothing to be locked
	}
	return s
}

// Setenv puts the test's own process into the session. The environment belongs
// to the whole process, so such a test cannot be parallel.
func (s *Session) Setenv(t *testing.T) {
	t.Helper()
	for _, pair := range s.Env {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	// godbus shares one connection in a process. It must have ended before the
	// next test's session begins.
	t.Cleanup(func() {
		if !s.bus.running() {
			time.Sleep(50 * time.Millisecond)
			return
		}
		s.StopKeyring() // otherwise a call that waits for it holds the connection
		s.ContinueBus()
		if conn, err := dbus.SessionBus(); err == nil {
			s.StopBus()
			for deadline := time.Now().Add(10 * time.Second); conn.Connected() && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		}
	})
}

// Environ returns the process's environment, overlaid with the session's, for
// exec.Cmd.Env.
func (s *Session) Environ() []string { return append(os.Environ(), s.Env...) }

// StartKeyring starts gnome-keyring and waits until it serves the bus. With
// Unlocked it is given the password of the login keyring, with any other state
// none.
func (s *Session) StartKeyring(state Keyring) {
	s.tb.Helper()
	control := filepath.Join(s.runtimeDir, "keyring")
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + control}
	var password io.Reader
	if state == Unlocked {
		args = append(args, "--unlock")
		password = strings.NewReader(KeyringPassword)
	}
	s.keyring = s.run(password, "gnome-keyring-daemon", args...)
	s.wait("gnome-keyring", func(ctx context.Context, conn *dbus.Conn) bool {
		var owned bool
		err := conn.BusObject().CallWithContext(ctx,
			"org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&owned)
		if err != nil || !owned || state != Unlocked {
			return err == nil && owned
		}
		login := conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets/collection/login")
		var locked bool
		err = login.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
			"org.freedesktop.Secret.Collection", "Locked").Store(&locked)
		return err == nil && !locked
	})
}

// StopKeyring kills gnome-keyring and waits until it is gone.
func (s *Session) StopKeyring() { s.keyring.kill() }

// StartBus starts the session bus again after [Session.StopBus], at the same
// address.
func (s *Session) StartBus() {
	s.tb.Helper()
	_ = os.Remove(strings.TrimPrefix(s.Address, "unix:path="))
	s.bus = s.run(nil, "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+s.busConfig)
	s.wait("the session bus", func(context.Context, *dbus.Conn) bool { return true })
}

// StopBus kills the session bus and waits until it is gone.
func (s *Session) StopBus() { s.bus.kill() }

// FreezeKeyring stops gnome-keyring with SIGSTOP. It answers nothing until
// [Session.ThawKeyring].
func (s *Session) FreezeKeyring() { s.keyring.signal(syscall.SIGSTOP) }

// ThawKeyring continues gnome-keyring.
func (s *Session) ThawKeyring() { s.keyring.signal(syscall.SIGCONT) }

// FreezeBus stops the session bus with SIGSTOP, until [Session.ContinueBus].
func (s *Session) FreezeBus() { s.bus.signal(syscall.SIGSTOP) }

// ContinueBus continues the session bus.
func (s *Session) ContinueBus() { s.bus.signal(syscall.SIGCONT) }

func (s *Session) write(path, text string) {
	s.tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// wait connects to the bus, and calls ready until it returns true.
func (s *Session) wait(what string, ready func(context.Context, *dbus.Conn) bool) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if conn, err := dbus.Connect(s.Address, dbus.WithContext(ctx)); err == nil {
			ok := ready(ctx, conn)
			_ = conn.Close()
			if ok {
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.tb.Fatalf("%s did not start: bus: %s; keyring: %s", what, s.bus.said(), s.keyring.said())
}

// run starts a daemon in the session.
func (s *Session) run(stdin io.Reader, name string, args ...string) *daemon {
	s.tb.Helper()
	d := &daemon{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	d.cmd.Env = s.Environ()
	d.cmd.Stdin = stdin
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	// A test binary that is killed runs no cleanup, so the kernel kills the
	// daemon.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	d.cmd.WaitDelay = time.Second
	if err := d.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	return d
}

// daemon is a process that ends with the test. A nil daemon is one that was
// never started.
type daemon struct {
	cmd    *exec.Cmd
	output bytes.Buffer // to be read only after ended is closed
	ended  chan struct{}
}

func (d *daemon) running() bool {
	if d == nil {
		return false
	}
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

func (d *daemon) signal(sig syscall.Signal) {
	if d.running() {
		_ = d.cmd.Process.Signal(sig)
	}
}

// kill ends the daemon's whole process group, because the bus starts processes
// of its own.
func (d *daemon) kill() {
	if d.running() {
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.ended
	}
}

// said describes the daemon for a test's failure.
func (d *daemon) said() string {
	switch {
	case d == nil:
		return "not started"
	case d.running():
		return "running"
	}
	return fmt.Sprintf("%v, %q", d.cmd.ProcessState, d.output.String())
}
