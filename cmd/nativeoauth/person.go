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
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// person is how the command talks to whoever runs it: on stderr, in plain lines. On a terminal the last line may count down
// while something is awaited; elsewhere, and for a screen reader (TERM=dumb), nothing moves. It is an [io.Writer] for lines.
type person struct {
	terminal bool // stderr is one that can erase a line
	colour   bool

	mu      sync.Mutex
	w       io.Writer
	waiting string // the line that is rewritten; "": none
}

func newPerson(w io.Writer, env environ) *person {
	p := &person{w: w}
	if f, ok := w.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd())) && env["TERM"] != "dumb"
	}
	p.colour = p.terminal && env["NO_COLOR"] == ""
	return p
}

const eraseLine = "\r\x1b[K"

// Write writes whole lines above the one that counts down. A terminal that has gone away is no reason to stop what is under way.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting != "" {
		_, _ = io.WriteString(p.w, eraseLine)
	}
	_, _ = p.w.Write(b)
	if p.waiting != "" {
		_, _ = io.WriteString(p.w, p.waiting)
	}
	return len(b), nil
}

func (p *person) say(format string, args ...any) { _, _ = fmt.Fprintf(p, format+"\n", args...) }

// tell says what is to be read, and not copied: on a terminal its lines break between words. A line that is indented stays as it is.
func (p *person) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.terminal {
		width := p.width()
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, " ") {
				lines[i] = strings.Join(wrap(line, width), "\n")
			}
		}
		text = strings.Join(lines, "\n")
	}
	p.say("%s", text)
}

func (p *person) warn(format string, args ...any) {
	p.say("nativeoauth: warning: %s", fmt.Sprintf(format, args...))
}

// warnings is the log as a person reads it: what is worth a word, as this command says it.
type warnings struct{ person *person }

func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

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
	w.person.warn("%s", wire.SafeText(text, 1000))
	return nil
}

func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warnings) WithGroup(string) slog.Handler      { return w }

func (p *person) fail(text string) { p.say("nativeoauth: %s", text) }

// bold is text as a terminal stresses it.
func (p *person) bold(text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

func (p *person) dim(text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// wait shows what is awaited and the time that is left, until stop is called. Where stderr is no terminal it does nothing.
func (p *person) wait(what string, until time.Time) (stop func()) {
	if !p.terminal {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	show := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		left := max(time.Until(until), 0).Round(time.Second)
		rest := fmt.Sprintf("%d:%02d left, Ctrl-C cancels", int(left.Minutes()), int(left.Seconds())%60)
		p.waiting = what + ": " + rest
		if len(p.waiting) >= p.width() { // a line that wraps cannot be erased
			p.waiting = rest[:min(len(rest), p.width()-1)]
		}
		_, _ = io.WriteString(p.w, eraseLine+p.waiting)
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
				p.mu.Lock()
				p.waiting = ""
				_, _ = io.WriteString(p.w, eraseLine)
				p.mu.Unlock()
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

// width is that of the terminal, in columns; 100 where there is none.
func (p *person) width() int {
	if f, ok := p.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(w, 120)
		}
	}
	return 100
}

// height is that of the terminal, in rows; 0 where there is none.
func (p *person) height() int {
	if f, ok := p.w.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil {
			return h
		}
	}
	return 0
}

// wrap breaks text at spaces into lines of at most width columns; a longer word, such as a URL, stays whole.
func wrap(text string, width int) []string {
	width = max(width, 20)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
