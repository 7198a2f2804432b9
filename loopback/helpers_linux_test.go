package loopback_test

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// newJunk returns a function that sends one of eight kinds of junk requests. It
// uses plain system calls, like an attacker that wants to spend little.
func newJunk(host string, request []byte) func(kind int) error {
	addr := netip.MustParseAddrPort(host)
	return func(kind int) error {
		to := &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()} // Connect writes to it
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		// Or the machine runs out of ports.
		if err := syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER,
			&syscall.Linger{Onoff: 1}); err != nil {
			return err
		}
		patience := &syscall.Timeval{Usec: 200_000} // for when the queue is full
		_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, patience)
		if err := syscall.Connect(fd, to); err != nil {
			return err
		}
		if kind == 1 { // says nothing
			return nil
		}
		if _, err := syscall.Write(fd, request); err != nil {
			return err
		}
		if kind == 0 { // waits for the answer
			_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO,
				&syscall.Timeval{Sec: 1})
			for answer := make([]byte, 4096); ; {
				if n, err := syscall.Read(fd, answer); n <= 0 || err != nil {
					break
				}
			}
		}
		return nil
	}
}

// bindReusing tries to share addr by SO_REUSEADDR and SO_REUSEPORT.
func bindReusing(addr string) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
	}}
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err == nil {
		l.Close()
	}
	return err
}
