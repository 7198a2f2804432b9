package peer_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/peer"
)

// S90: the kernel reports a closed socket as root's. A request of our own user
// that closes its socket is refused like one of another user.
func TestS90AVanishedPeerCountsAsAnotherUser(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for name, tc := range map[string]struct {
		leave func(*net.TCPConn)
		want  peer.User
	}{
		"there":       {func(*net.TCPConn) {}, peer.SameUser},
		"half closed": {func(c *net.TCPConn) { _ = c.CloseWrite() }, peer.SameUser},
		"closed":      {func(c *net.TCPConn) { _ = c.Close() }, peer.OtherUser},
		"reset": {func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, peer.OtherUser},
	} {
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer client.Close()
		conn, err := l.Accept()
		require.NoError(t, err)
		defer conn.Close()
		tc.leave(client.(*net.TCPConn))
		if name != "there" {
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			_, err = conn.Read(make([]byte, 1)) // until the FIN or RST has arrived
			require.Error(t, err)
			if name != "reset" {
				require.ErrorIs(t, err, io.EOF)
			}
		}
		for finder, user := range peer.Owners(conn) {
			require.Equal(t, tc.want, user, name+", "+finder)
		}
	}
}

// S90: a dual-stack socket is in the IPv6 table, with a mapped address.
func TestS90ADualStackPeerIsFound(t *testing.T) {
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
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet6{
		Port: l.Addr().(*net.TCPAddr).Port,
		Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1},
	}))
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	for finder, user := range peer.Owners(conn) {
		require.Equal(t, peer.SameUser, user, finder)
	}
}

// A browser's request waits for this lookup before it is accepted.
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
	for finder := range peer.Owners(conn) {
		b.Run(finder, func(b *testing.B) {
			for b.Loop() {
				require.Equal(b, peer.SameUser, peer.OwnerBy(finder, conn))
			}
		})
	}
}
