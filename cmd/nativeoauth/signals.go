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

// Error names the signal, for the user and for errors that wrap the cause.
func (i interrupted) Error() string { return fmt.Sprintf("stopped by a signal (%s)", i.signal) }

// code is the exit code that a shell expects of a process that a signal ended.
func (i interrupted) code() int { return 128 + int(i.signal) }

// withSignals ends the context at the first SIGINT (Ctrl-C), SIGTERM or SIGHUP, so
// that a refresh under way is stored and temporary files are removed. After that,
// SIGINT and SIGTERM have their usual effect: a second one kills the process.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	asked := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		// nohup and the background jobs of a shell ignore signals; so does this process then.
		if !signal.Ignored(s) {
			signal.Notify(asked, s)
		}
	}
	// A write to a closed pipe is then an error with a message and an exit code, and
	// does not kill the process. SIGPIPE is caught and not ignored, because children
	// inherit ignored signals.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		select {
		case s := <-asked:
			// SIGHUP and SIGPIPE stay caught: a terminal that goes away sends them more
			// than once.
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
