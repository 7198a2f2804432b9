package loopback

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
)

// errNoDiag means that the kernel does not answer here: no tcp_diag, or a sandbox without netlink.
var errNoDiag = errors.New("no sock_diag")

const (
	sockDiag         = 4  // NETLINK_SOCK_DIAG
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	listening        = 10 // TCP_LISTEN

	diagRequest = 8 + diagID      // struct inet_diag_req_v2
	diagID      = 48              // struct inet_diag_sockid
	diagAnswer  = 4 + diagID + 20 // struct inet_diag_msg
)

// diagnose asks the kernel for one socket (sock_diag(7)): a few microseconds, where the tables under /proc take milliseconds, because the kernel
// walks all its buckets to write one. false: there is none.
func diagnose(local, remote netip.AddrPort) (row, bool, error) {
	family := byte(syscall.AF_INET6)
	if local.Addr().Unmap().Is4() {
		family = syscall.AF_INET // an IPv6 socket with mapped addresses is found too
	}
	req := make([]byte, syscall.NLMSG_HDRLEN+diagRequest)
	binary.NativeEndian.PutUint32(req, uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(req[6:], syscall.NLM_F_REQUEST)
	body := req[syscall.NLMSG_HDRLEN:]
	body[0], body[1] = family, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], ^uint32(0)) // whatever its state
	id := body[8:]
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:20], local.Addr().Unmap().AsSlice())
	copy(id[20:36], remote.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // no cookie

	answer, err := askKernel(req)
	if answer == nil || err != nil {
		return row{}, false, err
	}
	if len(answer) < diagAnswer {
		return row{}, false, errNoDiag
	}
	// Where no socket has both ends, the kernel answers with the listener at local, which has no other end.
	listener := answer[1] == listening
	if end(answer, 0) != unmapped(local) || listener == remote.IsValid() || !listener && end(answer, 1) != unmapped(remote) {
		return row{}, false, nil
	}
	return row{
		state: uint64(answer[1]),
		uid:   uint64(binary.NativeEndian.Uint32(answer[diagAnswer-8:])),
		inode: uint64(binary.NativeEndian.Uint32(answer[diagAnswer-4:])),
	}, true, nil
}

// end is one end of the socket in an answer, the own one for 0.
func end(answer []byte, i int) netip.AddrPort {
	port, address := binary.BigEndian.Uint16(answer[4+2*i:]), answer[8+16*i:][:16]
	if answer[0] == syscall.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address)), port)
	}
	return unmapped(netip.AddrPortFrom(netip.AddrFrom16([16]byte(address)), port))
}

// unmapped is e as an IPv4 socket has it, where there can be one.
func unmapped(e netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(e.Addr().Unmap(), e.Port()) }

// askKernel sends one message and returns what the kernel answers, which is there when the message is sent; nil, nil: no such socket.
func askKernel(message []byte) ([]byte, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, sockDiag)
	if err != nil {
		return nil, errNoDiag
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Sendto(fd, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, errNoDiag
	}
	buf := make([]byte, 4096)
	n, from, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, errNoDiag
	}
	if sender, ok := from.(*syscall.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, errNoDiag // not the kernel
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil || len(messages) == 0 {
		return nil, errNoDiag
	}
	switch m := messages[0]; {
	case m.Header.Type == sockDiagByFamily:
		return m.Data, nil
	case m.Header.Type == syscall.NLMSG_ERROR && len(m.Data) >= 4 && int32(binary.NativeEndian.Uint32(m.Data)) == -int32(syscall.ENOENT):
		return nil, nil
	}
	return nil, errNoDiag
}
