package loopback_test

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

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
