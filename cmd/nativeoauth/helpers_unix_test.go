//go:build unix

package main

import (
	"io"
	"os"
	"syscall"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// terminal starts the command on a terminal of its own, 60 columns wide.
func (p *place) terminal(env []string, args ...string) (*process, *os.File) {
	p.t.Helper()
	return p.terminalOf(60, env, args...)
}

func (p *place) terminalOf(columns uint16, env []string, args ...string) (*process, *os.File) {
	p.t.Helper()
	cmd := p.command(env, args...)
	tty, err := pty.StartWithSize(cmd.Cmd, &pty.Winsize{Rows: 24, Cols: columns})
	require.NoError(p.t, err)
	// A blocking read would keep the terminal open after Close.
	fd, err := syscall.Dup(int(tty.Fd()))
	require.NoError(p.t, err)
	require.NoError(p.t, syscall.SetNonblock(fd, true))
	require.NoError(p.t, tty.Close())
	syscall.CloseOnExec(fd)
	tty = os.NewFile(uintptr(fd), "terminal")
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = tty.Close() })
	go func() { _, _ = io.Copy(cmd, tty) }()
	return cmd, tty
}
