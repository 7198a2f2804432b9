//go:build unix

package loopback

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// S8: a port that the system chose cannot be shared. A fixed one can be bound
// again while old connections linger.
func TestS8AFreePortIsNotShared(t *testing.T) {
	free, err := listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	require.NoError(t, err)
	require.Zero(t, reuse(t, free))
	require.NoError(t, free.Close())
	fixed, err := listen(t.Context(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), realparts.FreePort(t)))
	require.NoError(t, err)
	defer fixed.Close()
	require.NotZero(t, reuse(t, fixed))
}

func reuse(t *testing.T, l net.Listener) (v int) {
	raw, err := l.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		v, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR)
	}))
	require.NoError(t, err)
	return v
}
