package loopback_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// S6: without an IPv4 loopback address, [::1] is used, also for localhost. Without
// any, or without a file to spare, the error says so. Each runs in its own network
// namespace.
func TestS6WithoutIPv4TheListenerIsOnIPv6(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can make a network namespace")
	}
	if !has("::1") {
		t.Skip("skipped: this machine has no IPv6 loopback address")
	}
	for mode, want := range map[string]string{
		"only IPv6": "http://[::1]:", "localhost": "http://localhost:", "none": "no loopback",
		"no files": "too many open files; close files, or raise the limit",
	} {
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "LOOPBACK_TEST_ATTACK=listen", "LOOPBACK_TEST_TARGET="+mode)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := cmd.Output()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("skipped: this machine does not let root make a network namespace")
		}
		require.NoError(t, err)
		require.Contains(t, string(out), want, mode)
	}
}

func init() { listenIn = listenInNamespace }

// listenInNamespace runs in the child process. It configures the lo interface
// and tries the zero Config.
func listenInNamespace(mode string) {
	if mode == "none" {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"),
			0); err != nil {
			say("no loopback to be had: cannot tell,", err)
			return
		}
	}
	{
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			say(err)
			return
		}
		ifr, _ := unix.NewIfreq("lo")
		ifr.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			say(err)
			return
		}
		ifr, _ = unix.NewIfreq("lo")
		_ = ifr.SetInet4Addr([]byte{0, 0, 0, 0}) // takes the address away
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr); err != nil {
			say(err)
			return
		}
	}
	if mode == "no files" {
		if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
			_ = l.Close() // Go's own files are open now
		}
		for err := error(nil); err == nil; _, err = unix.Open("/", unix.O_RDONLY, 0) {
		}
	}
	s, err := loopback.Listen(context.Background(), loopback.Config{Localhost: mode == "localhost"})
	if err != nil {
		say(errors.Is(err, loopback.ErrNoLoopback), err)
		return
	}
	if mode == "localhost" { // it is reached by the only address there is
		u, _ := url.Parse(s.RedirectURI())
		conn, err := net.Dial("tcp", net.JoinHostPort("::1", u.Port()))
		if err != nil {
			say(err)
			return
		}
		_ = conn.Close()
	}
	say(s.RedirectURI())
	_ = s.Close()
}
