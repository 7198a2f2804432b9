package oauthclient

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// lineEditor does for one line what a terminal's own line discipline does in
// canonical mode: it echoes, erases, and ends the line. The discipline itself
// holds 1,024 bytes (macOS) or 4,095 bytes (Linux) of a line and drops the rest,
// and the address at which a sign-in ends can be longer.
type lineEditor struct {
	out              io.Writer // the echo; its errors are ignored
	erase, kill, eof byte      // the keys as the terminal has them; 0: none
}

const (
	backspace = 0x08
	del       = 0x7f
)

// key adds a typed byte to text, or acts on it. end means that the line is
// complete; err is io.EOF if the user ended the input instead (Ctrl-D).
func (e *lineEditor) key(text []byte, b byte) (_ []byte, end bool, err error) {
	switch {
	case b == 0: // no key, and the value of keys that the terminal does not have
	case b == '\n', b == '\r':
		e.show("\n")
		return text, true, nil
	case b == e.eof:
		e.show("\n")
		return text, true, io.EOF
	case b == e.erase, b == backspace, b == del:
		text = e.remove(text)
	case b == e.kill:
		for len(text) > 0 {
			text = e.remove(text)
		}
	case b < ' ':
		// A pasted escape sequence must not act on the terminal.
		e.show("^%c", b^0x40)
		text = append(text, b)
	default:
		_, _ = e.out.Write([]byte{b})
		text = append(text, b)
	}
	return text, false, nil
}

// remove takes the last character from text and from the screen.
func (e *lineEditor) remove(text []byte) []byte {
	if len(text) == 0 {
		return text
	}
	last, size := utf8.DecodeLastRune(text)
	e.show("\b \b")
	if last < ' ' { // shown as two
		e.show("\b \b")
	}
	return text[:len(text)-size]
}

func (e *lineEditor) show(format string, args ...any) { _, _ = fmt.Fprintf(e.out, format, args...) }
