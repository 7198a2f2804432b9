//go:build unix

package loopback

import (
	"errors"
	"syscall"
)

// exclusive clears SO_REUSEADDR, which net sets, where the port is the system's choice. A fixed port keeps it, or TIME_WAIT would refuse
// the next sign-in; on a port that is listened on, it lets nobody in beside us.
func exclusive(fd uintptr, fixed bool) error {
	if fixed {
		return nil
	}
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
}

func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
