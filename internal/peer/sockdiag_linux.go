package peer

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
)

// errNoDiag means that sock_diag is not available: the kernel has no tcp_diag,
// or a sandbox forbids netlink.
var errNoDiag = errors.New("no sock_diag")

// Numbers and sizes of linux/netlink.h, linux/sock_diag.h and
// linux/inet_diag.h.
const (
	netlinkSockDiag  = 4  // NETLINK_SOCK_DIAG
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	stateListen      = 10 // TCP_LISTEN

	diagIDLen       = 48                 // struct inet_diag_sockid
	diagRequestLen  = 8 + diagIDLen      // struct inet_diag_req_v2
	diagResponseLen = 4 + diagIDLen + 20 // struct inet_diag_msg
)

// findByDiag asks the kernel for one socket with sock_diag(7). This takes a few
// microseconds. Reading /proc takes milliseconds, because the kernel walks its
// whole hash table to write one file.
func findByDiag(local, remote netip.AddrPort) (socket, bool, error) {
	msg, err := roundTrip(diagRequest(local, remote))
	if msg == nil || err != nil {
		return socket{}, false, err
	}
	if len(msg) < diagResponseLen {
		return socket{}, false, errNoDiag
	}
	// If no socket has both ends, the kernel returns the listener at local
	// instead. Its owner is this process, so it must not count as the peer.
	listener := msg[1] == stateListen
	switch {
	case endpoint(msg, 0) != unmapped(local),
		listener == remote.IsValid(),
		!listener && endpoint(msg, 1) != unmapped(remote):
		return socket{}, false, nil
	}
	return socket{
		state: uint64(msg[1]),
		uid:   uint64(binary.NativeEndian.Uint32(msg[diagResponseLen-8:])),
		inode: uint64(binary.NativeEndian.Uint32(msg[diagResponseLen-4:])),
	}, true, nil
}

// diagRequest builds a netlink message with an inet_diag_req_v2.
func diagRequest(local, remote netip.AddrPort) []byte {
	family := byte(syscall.AF_INET6)
	if local.Addr().Unmap().Is4() {
		family = syscall.AF_INET // this also finds an IPv6 socket with mapped addresses
	}
	msg := make([]byte, syscall.NLMSG_HDRLEN+diagRequestLen)
	binary.NativeEndian.PutUint32(msg, uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(msg[6:], syscall.NLM_F_REQUEST)
	body := msg[syscall.NLMSG_HDRLEN:]
	body[0], body[1] = family, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], ^uint32(0)) // in any state
	id := body[8:]
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:20], local.Addr().Unmap().AsSlice())
	copy(id[20:36], remote.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // no cookie: not known yet
	return msg
}

// endpoint returns an address of the socket in msg: its own for i = 0, that of
// its peer for i = 1.
func endpoint(msg []byte, i int) netip.AddrPort {
	port, addr := binary.BigEndian.Uint16(msg[4+2*i:]), msg[8+16*i:][:16]
	if msg[0] == syscall.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), port)
	}
	return unmapped(netip.AddrPortFrom(netip.AddrFrom16([16]byte(addr)), port))
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// roundTrip sends one message to the kernel and returns the payload of its
// reply. The kernel replies while it handles the send, so a non-blocking socket
// never has to wait. It returns nil and no error if the socket does not exist.
func roundTrip(msg []byte) ([]byte, error) {
	const kind = syscall.SOCK_RAW | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK
	fd, err := syscall.Socket(syscall.AF_NETLINK, kind, netlinkSockDiag)
	if err != nil {
		return nil, errNoDiag
	}
	defer func() { _ = syscall.Close(fd) }()
	kernel := &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}
	if err := syscall.Sendto(fd, msg, 0, kernel); err != nil {
		return nil, errNoDiag
	}
	buf := make([]byte, 4096)
	n, from, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, errNoDiag
	}
	// Any process can send to a netlink socket. Only the kernel has port 0.
	if sender, ok := from.(*syscall.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, errNoDiag
	}
	replies, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil || len(replies) == 0 {
		return nil, errNoDiag
	}
	switch reply := replies[0]; {
	case reply.Header.Type == sockDiagByFamily:
		return reply.Data, nil
	case isNotFound(reply):
		return nil, nil
	}
	return nil, errNoDiag
}

// isNotFound reports whether reply says that the socket does not exist.
func isNotFound(reply syscall.NetlinkMessage) bool {
	return reply.Header.Type == syscall.NLMSG_ERROR && len(reply.Data) >= 4 &&
		int32(binary.NativeEndian.Uint32(reply.Data)) == -int32(syscall.ENOENT)
}
