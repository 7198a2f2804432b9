package oauthclient

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// TerminalUI returns a UI that opens the system's browser and says on w, in plain lines, what to do where that does not suffice. From r it reads the
// address that a browser on another machine ended at; nil r: nothing is read. A terminal's stderr and stdin do.
func TerminalUI(w io.Writer, r io.Reader) UI {
	t := &terminal{w: w}
	if r != nil {
		t.lines = bufio.NewReader(r)
	}
	return UI{Instruct: t.instruct}
}

type terminal struct {
	w     io.Writer
	lines *bufio.Reader
}

func (t *terminal) instruct(ctx context.Context, do Instructions) (string, error) {
	paste := do.Paste && t.lines != nil
	if do.Refused != nil {
		t.print("That was not it: %s\n", do.Refused)
		return t.read(ctx)
	}
	switch {
	case do.Opened:
		t.print("Your browser has been opened to sign in. If nothing appears, open this address:\n  %s\n", do.URL)
	case do.URL != "":
		t.print("To sign in, open this address in a browser:\n  %s\n", do.URL)
	}
	if paste && do.URL != "" && !do.Opened {
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

// read returns the next line that is not empty. A read of a terminal cannot be called off: the goroutine that is in it stays until a line comes.
func (t *terminal) read(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		for {
			text, err := t.lines.ReadString('\n')
			if text = strings.TrimSpace(text); text != "" || err != nil {
				got <- line{text, err}
				return
			}
		}
	}()
	select {
	case l := <-got:
		if l.err != nil && l.text == "" {
			return "", nil // nobody will paste anything
		}
		return l.text, nil
	case <-ctx.Done():
		return "", nil
	}
}
