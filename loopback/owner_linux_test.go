package loopback_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

// S90: another user of the computer races for the ticket and posts an answer, both ways of vanishing included; the real
// browser completes.
func TestS90OtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can start a process as another user")
	}
	if sudo := os.Getenv("SUDO_UID"); sudo != "" {
		t.Setenv("SUDO_UID", "")
	}
	nobody := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		// The test binary lies where only root can go; an open file can be started all the same.
		f, err := os.Open(cmd.Path)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = []*os.File{f}
		cmd.Path, cmd.Dir = "/proc/self/fd/3", "/"
	}
	target := func(s *loopback.Server, u string) string {
		return addr(t, s) + " " + strings.TrimPrefix(u, "http://"+addr(t, s))
	}
	for name, cfg := range map[string]loopback.Config{"IPv4": {}, "IPv6": {Addr: "[::1]:0"}, "localhost": {Localhost: true}} {
		t.Run(name, func(t *testing.T) {
			if name == "IPv6" && !has("::1") {
				t.Skip("skipped: this machine has no IPv6 loopback address")
			}
			s, ticket := start(t, cfg)
			steal := good(s)
			for _, u := range []string{ticket, steal} {
				_, out, _ := again(t, "get", target(s, u), nobody)
				require.Contains(t, line(t, out), "403")
				_, out, _ = again(t, "vanish", target(s, u), nobody)
				require.Equal(t, "vanished", line(t, out))
				require.Never(t, func() bool {
					select {
					case <-answered(s):
						return true
					default:
						return false
					}
				}, 300*time.Millisecond, 10*time.Millisecond)
			}
			require.Equal(t, 302, send(t, "GET", ticket, "").StatusCode, "the ticket is unused")
			complete(t, s)
		})
	}
	t.Run("named in the error", func(t *testing.T) {
		s, ticket := start(t, loopback.Config{})
		_, out, _ := again(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "403")
		require.NoError(t, s.Close())
		_, err := s.Wait(t.Context())
		require.ErrorContains(t, err, "AllowOtherUsers")
	})
	t.Run("AllowOtherUsers", func(t *testing.T) {
		s, ticket := start(t, loopback.Config{AllowOtherUsers: true})
		_, out, _ := again(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "302")
	})
	t.Run("SUDO_UID", func(t *testing.T) {
		t.Setenv("SUDO_UID", "65534")
		s, ticket := start(t, loopback.Config{})
		_, out, _ := again(t, "get", target(s, ticket), nobody)
		require.Contains(t, line(t, out), "302")
	})
}

// S90: an end that was closed is shown as root's; a request of ours that does the same is refused like a stranger's.
func TestS90Vanished(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for name, tc := range map[string]struct {
		leave func(*net.TCPConn)
		want  string
	}{
		"there":       {func(*net.TCPConn) {}, "friend"},
		"half closed": {func(c *net.TCPConn) { _ = c.CloseWrite() }, "friend"},
		"closed":      {func(c *net.TCPConn) { _ = c.Close() }, "stranger"},
		"reset": {func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, "stranger"},
	} {
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer client.Close()
		conn, err := l.Accept()
		require.NoError(t, err)
		defer conn.Close()
		tc.leave(client.(*net.TCPConn))
		if name != "there" {
			_ = conn.SetReadDeadline(time.Now().Add(soon))
			_, err = conn.Read(make([]byte, 1)) // the news has arrived
			require.Error(t, err)
			if name != "reset" {
				require.ErrorIs(t, err, io.EOF)
			}
		}
		for way, whose := range loopback.Owners(conn) {
			require.Equal(t, tc.want, whose, name+", "+way)
		}
	}
}

// S90: a dual-stack socket stands in the IPv6 table by its mapped address.
func TestS90Mapped(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Skip("skipped: this machine has no IPv6")
	}
	defer syscall.Close(fd)
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0))
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}))
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	for way, whose := range loopback.Owners(conn) {
		require.Equal(t, "friend", whose, way)
	}
}

// What the browser's callback waits for before it is read.
func BenchmarkOwner(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(b, err)
	defer client.Close()
	conn, err := l.Accept()
	require.NoError(b, err)
	defer conn.Close()
	for way := range loopback.Owners(conn) {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				require.Equal(b, "friend", loopback.OwnerBy(way, conn))
			}
		})
	}
}
