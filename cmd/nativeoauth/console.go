package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/internal/words"
)

// console writes to the user: on stderr, in plain lines. On a terminal its last
// line can count down during a wait. Without one, and for a screen reader
// (TERM=dumb), nothing moves. It is an [io.Writer] for whole lines, and safe
// for concurrent use.
type console struct {
	terminal bool // stderr is a terminal that can erase a line
	colour   bool
	words    *words.Words // what is said during a login

	mu      sync.Mutex
	w       io.Writer
	waiting string // the line that counts down; "" for none
}

func newConsole(w io.Writer, env environ) *console {
	c := &console{w: w, words: words.For(func(name string) string { return env[name] })}
	if f, ok := w.(*os.File); ok {
		c.terminal = term.IsTerminal(int(f.Fd())) && env["TERM"] != "dumb" && escapes(f)
	}
	c.colour = c.terminal && env["NO_COLOR"] == ""
	return c
}

const eraseLine = "\r\x1b[K"

// Write writes whole lines above the one that counts down. It never fails: a
// terminal that has gone away is no reason to stop the work.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting != "" {
		_, _ = io.WriteString(c.w, eraseLine)
	}
	_, _ = c.w.Write(b)
	if c.waiting != "" {
		_, _ = io.WriteString(c.w, c.waiting)
	}
	return len(b), nil
}

func (c *console) say(format string, args ...any) { _, _ = fmt.Fprintf(c, format+"\n", args...) }

// tell writes text that the user reads and does not copy. On a terminal it
// breaks the lines between words, except those that are indented.
func (c *console) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.terminal {
		width := c.width()
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, " ") {
				lines[i] = strings.Join(wrap(line, width), "\n")
			}
		}
		text = strings.Join(lines, "\n")
	}
	c.say("%s", text)
}

// sayIn writes one of the words, filled, as tell does.
func (c *console) sayIn(text string, pairs ...string) { c.tell("%s", words.Fill(text, pairs...)) }

func (c *console) warn(format string, args ...any) {
	c.say("nativeoauth: warning: %s", fmt.Sprintf(format, args...))
}

// warnings is a [slog.Handler] for the user: it writes warnings and errors in
// the command's own form.
type warnings struct{ console *console }

// Enabled implements [slog.Handler].
func (w warnings) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements [slog.Handler].
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += ": " + a.Value.String()
		} else {
			text += fmt.Sprintf(" (%s %s)", a.Key, a.Value)
		}
		return true
	})
	w.console.warn("%s", wire.SafeText(text, 1000))
	return nil
}

// WithAttrs implements [slog.Handler].
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w warnings) WithGroup(string) slog.Handler { return w }

func (c *console) fail(text string) { c.say("nativeoauth: %s", text) }

// bold returns text in bold, if the terminal has colours.
func (c *console) bold(text string) string {
	if !c.colour {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

func (c *console) dim(text string) string {
	if !c.colour {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// wait shows what the command waits for and how much time is left, until stop
// is called. It does nothing if stderr is no terminal.
func (c *console) wait(what string, until time.Time) (stop func()) {
	if !c.terminal {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	show := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		left := max(time.Until(until), 0).Round(time.Second)
		minutes, seconds := int(left.Minutes()), int(left.Seconds())%60
		rest := words.Fill(c.words.Left, "time", fmt.Sprintf("%d:%02d", minutes, seconds))
		c.waiting = what + ": " + rest
		if columnsOf(c.waiting) >= c.width() { // a line that wraps cannot be erased
			c.waiting = clip(rest, c.width()-1)
		}
		_, _ = io.WriteString(c.w, eraseLine+c.waiting)
	}
	show()
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-done:
				c.mu.Lock()
				c.waiting = ""
				_, _ = io.WriteString(c.w, eraseLine)
				c.mu.Unlock()
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

// width returns the width of the terminal in columns, or 100 without one. Lines
// of more than 120 columns are hard to read.
func (c *console) width() int {
	if f, ok := c.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(w, 120)
		}
	}
	return 100
}

// height returns the height of the terminal in rows, or 0 without one.
func (c *console) height() int {
	if f, ok := c.w.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil {
			return h
		}
	}
	return 0
}
