package main

import (
	"syscall"
	"time"
)

// sleep is exact to a tenth of a millisecond. The runtime's own timers are up
// to 1 ms late in a process that has nothing else to do. That would happen
// twice in each round trip, and would count as a program's work.
func sleep(d time.Duration) {
	for left := syscall.NsecToTimespec(int64(d)); d > 0 && syscall.Nanosleep(&left, &left) == syscall.EINTR; {
	}
}
