//go:build unix

package loopback

import (
	"net"
	"syscall"
)

// unread reports whether bytes have arrived on c that the server has not read
// yet. It takes nothing out of the buffer.
func unread(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	// The call returns at once: package net makes every socket non-blocking.
	err = raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
	})
	return err == nil && n > 0
}
