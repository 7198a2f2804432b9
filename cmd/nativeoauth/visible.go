package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// acts reports whether a terminal acts on r and does not show it (S5). Bidirectional
// controls count: they reorder the text around them.
func acts(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}

// visible passes a server's bytes to a terminal. It replaces each character that the
// terminal would act on with "�", and drops carriage returns, which the terminal adds
// itself.
type visible struct {
	w    io.Writer
	rest []byte // the bytes of a character that is not complete yet
	open bool   // the last line has no end yet
}

// Write may be called with part of a character; the next call completes it.
func (v *visible) Write(b []byte) (int, error) {
	text := append(v.rest, b...)
	var out bytes.Buffer
	for len(text) > 0 && utf8.FullRune(text) {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		switch { // an invalid byte decodes to "�" by itself
		case r == '\r':
		case acts(r):
			out.WriteRune(utf8.RuneError)
		default:
			out.WriteRune(r)
		}
	}
	v.rest = bytes.Clone(text)
	if shown := out.Bytes(); len(shown) > 0 {
		v.open = shown[len(shown)-1] != '\n'
	}
	if _, err := v.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end completes the last line, so that the shell's prompt begins a new one. A
// character that was cut off becomes "�".
func (v *visible) end() error {
	text := ""
	if len(v.rest) > 0 {
		text, v.open = string(utf8.RuneError), true
	}
	if v.open {
		text += "\n"
	}
	_, err := io.WriteString(v.w, text)
	return err
}

// escaped returns JSON with the same meaning, and with an escape for each character
// that a terminal would act on.
func escaped(text string) string {
	if !strings.ContainsFunc(text, acts) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !acts(r) {
			b.WriteRune(r)
			continue
		}
		// JSON escapes a character beyond U+FFFF as two halves.
		for _, half := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, half)
		}
	}
	return b.String()
}
