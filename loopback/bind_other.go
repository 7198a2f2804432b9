//go:build !unix && !windows

package loopback

import (
	"errors"
	"syscall"
)

func exclusive(uintptr, bool) error { return nil }

func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
