package loopback

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// exclusive keeps others from binding the same port with SO_REUSEADDR, which on Windows steals it.
func exclusive(fd uintptr, _ bool) error {
	const soExclusiveAddrUse = ^windows.SO_REUSEADDR
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
}

// taken includes WSAEACCES: another has the port exclusively.
func taken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, syscall.Errno(windows.WSAEACCES))
}
