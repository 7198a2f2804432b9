package interop

import (
	"os/exec"
	"syscall"
)

// endWithUs makes a program end with this process, which runs no cleanup when
// it is killed.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
