package main

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// loginUI is the SDK's TerminalUI with what a command adds to it: a QR code, a
// line that counts down, and the trace.
type loginUI struct {
	console  *console
	terminal oauthclient.UI
	canPaste bool
	trace    *tracer // nil: none

	prompted atomic.Bool // the user was to sign in

	mu   sync.Mutex
	stop func() // ends the line that counts down; nil: there is none
}

// newLoginUI returns a loginUI that reads pasted addresses from stdin. If stdin
// is nil, nothing can be pasted. If trace is nil, nothing is traced.
func newLoginUI(p *console, stdin io.Reader, trace *tracer) *loginUI {
	return &loginUI{
		console: p, terminal: oauthclient.TerminalUI(prose{p}, stdin),
		canPaste: stdin != nil, trace: trace,
	}
}

// ui returns the functions for the SDK. OpenURL stays nil: the system's browser.
func (u *loginUI) ui() oauthclient.UI {
	return oauthclient.UI{
		Instruct: u.instruct, Progress: u.progress, Notice: u.terminal.Notice,
	}
}

// prose is a writer for TerminalUI that breaks long lines between words.
type prose struct{ console *console }

// Write writes whole lines, which is what TerminalUI passes.
func (p prose) Write(b []byte) (int, error) {
	p.console.tell("%s", strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// instruct calls TerminalUI twice, first to show the ways to sign in and then to
// wait. The QR code comes between, so that on a small terminal it is the text
// before it that scrolls away and not the code.
func (u *loginUI) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	if do.Refused != nil {
		return u.terminal.Instruct(ctx, do)
	}
	if u.trace != nil && do.URL != "" {
		u.trace.browser(do.URL)
	}
	// Without Paste and Expiry the first call shows the ways and returns at once.
	show := do
	show.Paste, show.Expiry = false, time.Time{}
	if do.UserCode != "" {
		// Bold, because it is what the user has to find and type.
		show.UserCode = u.console.bold(wire.SafeText(do.UserCode, 64))
	}
	if _, err := u.terminal.Instruct(ctx, show); err != nil {
		return "", err
	}
	if u.console.terminal && do.VerificationURIComplete != "" {
		code := drawQR(do.VerificationURIComplete, u.console.width(), u.console.height())
		if code != "" {
			u.console.say("%s", strings.TrimSuffix(code, "\n"))
		}
	}
	wait := oauthclient.Instructions{Paste: do.Paste, Opened: do.Opened, Expiry: do.Expiry}
	// A line that counts down would overwrite what the user pastes.
	reads := do.Paste && u.canPaste && !do.Opened
	if u.console.terminal && !reads && !do.Expiry.IsZero() {
		u.countDown(ctx, do.Expiry)
		wait.Expiry = time.Time{}
	}
	return u.terminal.Instruct(ctx, wait)
}

// countDown shows the time that is left until ctx or the wait ends.
func (u *loginUI) countDown(ctx context.Context, until time.Time) {
	stop := u.console.wait(u.console.words.Waiting, until)
	u.mu.Lock()
	u.stop = stop
	u.mu.Unlock()
	context.AfterFunc(ctx, stop)
}

// progress says what the user would otherwise wonder about: why no browser opens, and
// that the sign-in in the browser was noticed.
func (u *loginUI) progress(step oauthclient.Step) {
	if u.trace != nil {
		u.trace.step(string(step))
	}
	switch step {
	case oauthclient.StepUser:
		u.prompted.Store(true)
	case oauthclient.StepElsewhere:
		u.console.sayIn(u.console.words.Elsewhere)
	case oauthclient.StepExchange:
		u.done()
		u.console.sayIn(u.console.words.Answer)
	}
}

// done removes the line that counts down. It may be called more than once.
func (u *loginUI) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop != nil {
		u.stop()
	}
}

// interactive reports whether stream is a terminal, at which a user can type or
// read.
func interactive(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
