package loopback

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// exclusive sets SO_EXCLUSIVEADDRUSE. Without it, another process on Windows
// can bind the same port with SO_REUSEADDR and receive its connections.
func exclusive(fd uintptr, _ bool) error {
	const soExclusiveAddrUse = ^windows.SO_REUSEADDR
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
}

// taken reports whether err means that another listener has the port.
// WSAEACCES means that it has the port exclusively.
func taken(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, syscall.Errno(windows.WSAEACCES))
}
