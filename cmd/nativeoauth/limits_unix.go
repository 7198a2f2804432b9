//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// minFiles is the number of open files without which nothing works: a sign-in opens
// about 12 at a time. With fewer than 10, the runtime of Go prints a crash instead of
// an error.
const minFiles = 16

// checkLimits returns an error if the limits of this process are too low.
func checkLimits() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // no reason not to try
	}
	if limit.Cur < minFiles {
		return fmt.Errorf("this process may open only %d files; "+
			"raise the limit with: ulimit -n 1024", limit.Cur)
	}
	return nil
}
