package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("stopped by a signal (%s)", i.signal) }

// code is what a shell expects of a process that the signal ended.
func (i interrupted) code() int { return 128 + int(i.signal) }

// withSignals ends the context at the first Ctrl-C, SIGTERM or SIGHUP, so that what is being saved is saved and the rest is cleaned up. After
// it, Ctrl-C and SIGTERM have their usual effect: a second one kills.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	asked := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup, or a background job of a shell: its wish stands
			signal.Notify(asked, s)
		}
	}
	// A closed pipe is an error of a write here, with a message and an exit code, and not the death of the process. It is caught and not
	// ignored: children inherit what is ignored.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		select {
		case s := <-asked:
			// SIGHUP and SIGPIPE stay caught: a terminal that went away says so more than once.
			signal.Reset(syscall.SIGINT, syscall.SIGTERM)
			if sig, ok := s.(syscall.Signal); ok {
				cancel(interrupted{sig})
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(asked)
		signal.Stop(pipe)
		cancel(nil)
	}
}
