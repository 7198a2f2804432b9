//go:build !unix && !windows

package loopback

import (
	"errors"
	"syscall"
)

// exclusive does nothing: no socket options are known for this system.
func exclusive(uintptr, bool) error { return nil }

// taken reports whether err means that another listener has the port.
func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
