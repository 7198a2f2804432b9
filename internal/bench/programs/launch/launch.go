// Command launch runs a program and prints how much memory it held at most, in KiB. The kernel counts what the parent held at fork as the
// child's own: this parent is small.
package main

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	os.Stdout.WriteString(strconv.FormatInt(int64(usage.Maxrss), 10) + "\n")
}
