//go:build unix

package loopback

import (
	"errors"
	"syscall"
)

// exclusive clears SO_REUSEADDR, which package net sets, if the system chooses
// the port. A fixed port keeps the option: without it, connections of the last
// sign-in in TIME_WAIT would make the next one fail. The option lets no other
// process listen on a port that already has a listener.
func exclusive(fd uintptr, fixed bool) error {
	if fixed {
		return nil
	}
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
}

// taken reports whether err means that another listener has the port.
func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
