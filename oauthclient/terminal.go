package oauthclient

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/internal/words"
)

// TerminalUI returns a UI that opens the system's browser and writes to w, in
// plain lines, what the user can do if that does not suffice. The lines are in the
// language of the environment (LC_ALL, LC_MESSAGES, LANG), if it is one of the
// languages of the pages (see [loopback.Page]), and else in English. If no browser was
// opened, it reads from r the address at which a browser on another machine
// ended. Pass os.Stderr and os.Stdin for a terminal.
//
// Each Write to w is one or more whole lines. Lines to copy, such as a URL or a
// code, begin with two spaces; a writer may wrap the others. If r is nil,
// nothing is read. A read that still waits when the login ends consumes one more
// line of r.
//
// If r is an *os.File that is a terminal (on Unix), lines longer than the terminal
// itself can hold are read whole. The terminal's mode is changed during a read and
// restored after it, also if a signal ends the process.
//
// The returned functions may be wrapped, to add a line or to change the
// instructions. They are safe for concurrent use.
func TerminalUI(w io.Writer, r io.Reader) UI {
	t := &terminal{w: w, r: r, words: words.For(os.Getenv)}
	return UI{Instruct: t.instruct, Notice: t.notice}
}

type terminal struct {
	w io.Writer
	r io.Reader // nil: nothing is read

	words *words.Words

	// editor edits the line that is being read; nil: the terminal does, or r is
	// none.
	editor atomic.Pointer[lineEditor]

	mu      sync.Mutex
	pending chan line // a read that an earlier login left behind; the next login takes its result
}

type line struct {
	text string
	err  error
}

// instruct shows every way that do offers, and reads a line if one can be
// pasted. It prints nothing about fields that are empty.
func (t *terminal) instruct(ctx context.Context, do Instructions) (string, error) {
	say := t.words
	paste := do.Paste && t.r != nil && !do.Opened
	if do.Refused != nil { // the ways were shown before
		t.say(say.Refused, "why", wire.SafeText(do.Refused.Error(), 300))
		return t.read(ctx)
	}
	before := ""
	if !do.URLExpiry.IsZero() {
		before = words.Fill(say.Before, "time", do.URLExpiry.Local().Format(time.TimeOnly))
	}
	switch {
	case do.URL == "":
	case do.Opened:
		t.print("%s\n  %s\n", words.Fill(say.Opened, "before", before), do.URL)
	default:
		t.print("%s\n  %s\n", words.Fill(say.Open, "before", before), do.URL)
	}
	if do.UserCode != "" {
		begin := say.Device
		if do.URL != "" {
			begin = say.OrDevice
		}
		// Attackers send their own code to a victim, so the warning is part of the
		// instructions (RFC 8628 §5.4).
		t.print("%s\n  %s\n%s\n  %s\n%s\n",
			begin, do.VerificationURI, say.Code, do.UserCode, say.OwnCode)
	}
	if paste {
		t.say(say.Paste)
	}
	if !do.Expiry.IsZero() {
		t.say(say.Until, "time", do.Expiry.Local().Format(time.TimeOnly))
	}
	if !paste {
		return "", nil
	}
	return t.read(ctx)
}

// notice shows a message of the login.
func (t *terminal) notice(message string) { t.print("%s\n", message) }

// say prints one of the words, filled.
func (t *terminal) say(text string, pairs ...string) { t.print("%s\n", words.Fill(text, pairs...)) }

// print ignores errors: a terminal that has gone away does not end a login that
// goes on in the browser.
func (t *terminal) print(format string, args ...any) { _, _ = fmt.Fprintf(t.w, format, args...) }

// read returns the next line that is not empty. A read of a terminal cannot be
// cancelled: its goroutine stays until a line comes. The next login takes that
// line, because two concurrent readers would share a line between them.
func (t *terminal) read(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	editor, restore := longLines(ctx, t.r)
	t.editor.Store(editor)
	defer func() {
		restore()
		t.editor.Store(nil)
	}()
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
		return l.text, nil // at the end of the input nothing was pasted, which is no error
	case <-ctx.Done():
		return "", nil
	}
}

// line reads byte by byte: what comes after the end of the line belongs to the
// program. A line longer than 64 KiB is cut.
func (t *terminal) line() line {
	var text []byte
	one := make([]byte, 1)
	for end := false; !end && len(text) < 64<<10; {
		n, err := t.r.Read(one)
		switch editor := t.editor.Load(); {
		case n == 0:
		case editor != nil:
			var typed error
			if text, end, typed = editor.key(text, one[0]); typed != nil {
				err = typed
			}
		case one[0] == '\n':
			end = true
		default:
			text = append(text, one[0])
		}
		if err != nil {
			return line{strings.TrimSpace(string(text)), err}
		}
	}
	return line{strings.TrimSpace(string(text)), nil}
}
