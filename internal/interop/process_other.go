//go:build !linux

package interop

import "os/exec"

func endWithUs(*exec.Cmd) {}
