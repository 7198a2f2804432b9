//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package oauthclient

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminalMode keeps a terminal out of canonical mode while a line is read.
type terminalMode struct {
	file  *os.File
	echo  io.Writer
	saved unix.Termios // as the program had it

	mu   sync.Mutex
	over bool // the terminal is as it was, and stays so
}

// longLines lets lines of any length be read from r until restore is called. It
// returns an editor for the line, which replaces the terminal's own. If r is not
// a terminal in canonical mode that this process may use, the editor is nil, and
// restore does nothing. ctx is that of the read.
func longLines(ctx context.Context, r io.Reader) (e *lineEditor, restore func()) {
	nothing := func() {}
	f, ok := r.(*os.File)
	if !ok {
		return nil, nothing
	}
	m := &terminalMode{file: f}
	if err := m.control(func(fd int) error {
		state, err := unix.IoctlGetTermios(fd, getTermios)
		if err == nil {
			m.saved = *state
		}
		return err
	}); err != nil || m.saved.Lflag&unix.ICANON == 0 {
		return nil, nothing
	}
	closeEcho, ok := m.openEcho()
	if !ok {
		return nil, nothing
	}
	if !m.enter() {
		closeEcho()
		return nil, nothing
	}
	stop := m.watchSignals(ctx)
	return &lineEditor{
			out:   m.echo,
			erase: m.saved.Cc[unix.VERASE],
			kill:  m.saved.Cc[unix.VKILL],
			eof:   m.saved.Cc[unix.VEOF],
		}, func() {
			stop()
			m.leave(true)
			closeEcho()
		}
}

// openEcho sets where typed text is shown. It reports false if that is nowhere.
func (m *terminalMode) openEcho() (close func(), ok bool) {
	if m.saved.Lflag&unix.ECHO == 0 { // the program does not want it
		m.echo = io.Discard
		return func() {}, true
	}
	var flags int
	err := m.control(func(fd int) (err error) {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err
	})
	if err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY {
		m.echo = m.file
		return func() {}, true
	}
	tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return nil, false
	}
	m.echo = tty
	return func() { _ = tty.Close() }, true
}

// enter turns canonical mode and the echo off. Ctrl-C and the like still send
// signals. What was typed before is kept.
//
// A process in the background is not let: the system would stop it, and the
// terminal is another program's.
func (m *terminalMode) enter() bool {
	own := m.saved
	own.Lflag &^= unix.ICANON | unix.ECHO
	own.Cc[unix.VMIN], own.Cc[unix.VTIME] = 1, 0
	return m.set(&own, false)
}

// leave puts the terminal back as it was. If it is final, enter does nothing more.
func (m *terminalMode) leave(final bool) { m.set(&m.saved, final) }

func (m *terminalMode) set(state *unix.Termios, final bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return false
	}
	m.over = final
	return m.control(func(fd int) error {
		// ENOTTY: it is not the controlling terminal, and nobody is stopped.
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
			return unix.ENOTTY
		}
		return unix.IoctlSetTermios(fd, setTermios, state)
	}) == nil
}

// control calls f with the descriptor. os.File.Fd would make it block.
func (m *terminalMode) control(f func(fd int) error) error {
	raw, err := m.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// signalGrace is how long a program has to end the login after a signal. A program
// that handles the signal does so at once. Another is ended by the signal, which
// is sent again.
const signalGrace = 100 * time.Millisecond

// watchSignals puts the terminal back before a signal ends or stops the process.
// A shell does not do that for a program that it did not stop itself.
func (m *terminalMode) watchSignals(ctx context.Context) (stop func()) {
	ends, stops, resumes := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) { // as under nohup
			signal.Notify(ends, s)
		}
	}
	stoppable := !signal.Ignored(unix.SIGTSTP)
	if stoppable {
		signal.Notify(stops, unix.SIGTSTP)
	}
	signal.Notify(resumes, unix.SIGCONT)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-ends:
				m.leave(true)
				select {
				case <-ctx.Done():
				case <-time.After(signalGrace):
					signal.Stop(ends)
					_ = unix.Kill(os.Getpid(), s.(syscall.Signal))
				}
				return
			case <-stops: // Ctrl-Z
				m.leave(false)
				signal.Stop(stops)
				_ = unix.Kill(os.Getpid(), unix.SIGTSTP)
				time.Sleep(signalGrace) // the process stops in here
				signal.Notify(stops, unix.SIGTSTP)
				m.enter()
			case <-resumes: // the shell has set the terminal to its own liking
				m.enter()
			}
		}
	}()
	return func() {
		close(done)
		for _, c := range []chan os.Signal{ends, stops, resumes} {
			signal.Stop(c)
		}
	}
}
