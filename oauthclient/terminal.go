package oauthclient

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// TerminalUI returns a UI that opens the system's browser and says on w, in plain lines, what to do where that does not suffice. Where no browser was
// opened, it reads from r the address that one on another machine ended at; a read that is still waiting when the login has ended takes one line more. nil r:
// nothing is read. A terminal's stderr and stdin do.
func TerminalUI(w io.Writer, r io.Reader) UI {
	t := &terminal{w: w, r: r}
	return UI{Instruct: t.instruct}
}

type terminal struct {
	w io.Writer
	r io.Reader // nil: nothing is read

	mu      sync.Mutex
	pending chan line // a read that a login left behind: the next one takes what comes of it
}

type line struct {
	text string
	err  error
}

func (t *terminal) instruct(ctx context.Context, do Instructions) (string, error) {
	paste := do.Paste && t.r != nil && !do.Opened
	if do.Refused != nil {
		t.print("That was not it: %s\n", do.Refused)
		return t.read(ctx)
	}
	until := ""
	if !do.URLExpiry.IsZero() {
		until = " before " + do.URLExpiry.Local().Format(time.TimeOnly)
	}
	switch {
	case do.Opened:
		t.print("Your browser has been opened to sign in. If nothing appears, open this address%s:\n  %s\n", until, do.URL)
	case do.URL != "":
		t.print("To sign in, open this address in a browser%s:\n  %s\n", until, do.URL)
	}
	if paste && do.URL != "" {
		t.print("A browser on another machine will end at an address that does not load: paste that address here.\n")
	}
	if do.UserCode != "" {
		if do.URL != "" {
			t.print("Or, on any device,")
		} else {
			t.print("To sign in, on any device,")
		}
		t.print(" open\n  %s\nand enter the code\n  %s\nEnter it only if you started this sign-in yourself: nobody who sends you a code means well.\n", do.VerificationURI, do.UserCode)
	}
	if !do.Expiry.IsZero() {
		t.print("Waiting until %s; Ctrl-C cancels.\n", do.Expiry.Local().Format(time.TimeOnly))
	}
	if !paste {
		return "", nil
	}
	return t.read(ctx)
}

func (t *terminal) print(format string, args ...any) { _, _ = fmt.Fprintf(t.w, format, args...) }

// read returns the next line that is not empty. A read of a terminal cannot be called off: its goroutine stays until a line comes, which is then the
// next login's, for two readers would share a line between them.
func (t *terminal) read(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = make(chan line, 1)
		go func(got chan<- line) {
			for {
				l := t.line()
				if l.text != "" || l.err != nil {
					got <- l
					return
				}
			}
		}(t.pending)
	}
	select {
	case l := <-t.pending:
		t.pending = nil
		return l.text, nil // an end of input: nobody will paste anything
	case <-ctx.Done():
		return "", nil
	}
}

// line reads no further than the line's end: what comes after it is the program's.
func (t *terminal) line() line {
	var text []byte
	one := make([]byte, 1)
	for len(text) < 64<<10 {
		n, err := t.r.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		text = append(text, one[:n]...)
		if err != nil {
			return line{strings.TrimSpace(string(text)), err}
		}
	}
	return line{strings.TrimSpace(string(text)), nil}
}
