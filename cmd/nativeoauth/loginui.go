package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/internal/qrterm"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// loginUI tells the person what to do, and what happens while a login waits.
type loginUI struct {
	console   *console
	lines     *bufio.Reader // what is pasted; nil: nothing can be
	trace     *tracer       // nil: none
	noBrowser bool

	mu   sync.Mutex
	stop func() // of the line that counts down
}

var errNoBrowserWanted = errors.New("--no-browser")

func (u *loginUI) ui() oauthclient.UI {
	ui := oauthclient.UI{Instruct: u.instruct, Progress: u.progress}
	if u.noBrowser { // FlowPaste opens none either; this is for the pages of a sign-out
		ui.OpenURL = func(context.Context, string) error { return errNoBrowserWanted }
	}
	return ui
}

// instruct shows every way that is offered at once: the person takes the one that suits.
func (u *loginUI) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	p, paste := u.console, do.Paste && u.lines != nil
	until := ""
	if !do.URLExpiry.IsZero() {
		until = " before " + do.URLExpiry.Local().Format(time.TimeOnly)
	}
	switch {
	case do.Refused != nil:
		p.tell("That was not it: %s", wire.SafeText(do.Refused.Error(), 300))
	case do.URL == "":
	case do.Opened:
		p.tell("Your browser has been opened to sign in. If nothing appears, open this address%s:\n  %s", until, do.URL)
	default:
		p.tell("Open this address in a browser to sign in%s:\n  %s", until, do.URL)
	}
	if do.Refused == nil {
		if u.trace != nil && do.URL != "" {
			u.trace.browser(do.URL)
		}
		u.device(do)
	}
	if paste && (!do.Opened || do.Refused != nil) {
		p.tell("If that browser is on another machine, it will end at an address that does not load: paste that address here.")
	}
	switch {
	case do.Refused != nil || do.Expiry.IsZero():
	case p.terminal && (do.Opened || !paste): // where a paste is expected, a line that moves would wipe what is typed
		u.countDown(ctx, do.Expiry)
	default:
		p.tell("Waiting until %s; Ctrl-C cancels.", do.Expiry.Local().Format(time.TimeOnly))
	}
	if !paste {
		return "", nil
	}
	return u.read(ctx)
}

// device shows the code of the device flow, and for a telephone a QR code that has it.
func (u *loginUI) device(do oauthclient.Instructions) {
	if do.UserCode == "" {
		return
	}
	begin := "On any device, open"
	if do.URL != "" {
		begin = "Or, on any other device, open"
	}
	u.console.tell("%s\n  %s\nand enter the code\n  %s", begin, do.VerificationURI, u.console.bold(wire.SafeText(do.UserCode, 60)))
	if u.console.terminal && do.VerificationURIComplete != "" {
		if code := qrterm.Render(do.VerificationURIComplete, u.console.width(), u.console.height()); code != "" {
			u.console.say("%s", strings.TrimSuffix(code, "\n"))
		}
	}
	u.console.tell("Only enter it because you started this sign-in yourself.")
}

func (u *loginUI) countDown(ctx context.Context, until time.Time) {
	stop := u.console.wait("Waiting for you", until)
	u.mu.Lock()
	u.stop = stop
	u.mu.Unlock()
	context.AfterFunc(ctx, stop)
}

// read returns the next line that is not empty. A read of a terminal cannot be called off: its goroutine stays until a line comes, or the process ends.
func (u *loginUI) read(ctx context.Context) (string, error) {
	got := make(chan string, 1)
	go func() {
		for {
			text, err := u.lines.ReadString('\n')
			if text = strings.TrimSpace(text); text != "" || err != nil {
				got <- text // "": nobody will paste anything
				return
			}
		}
	}()
	select {
	case text := <-got:
		return text, nil
	case <-ctx.Done():
		return "", nil
	}
}

func (u *loginUI) progress(step oauthclient.Step) {
	if u.trace != nil {
		u.trace.step(string(step))
	}
	switch step {
	case oauthclient.StepElsewhere:
		u.console.tell("Another nativeoauth is signing in to this account; waiting for it.")
	case oauthclient.StepExchange:
		u.done()
		u.console.tell("The answer came; checking what the provider says.")
	}
}

// done takes the line that counts down away.
func (u *loginUI) done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop != nil {
		u.stop()
	}
}

// interactive reports a terminal, at which somebody can type or read.
func interactive(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
