// Package secret holds values that must not be printed.
//
// A [String] is a struct around a pointer, because fmt prints an unexported field of a string type
// without asking its methods: only a pointer keeps the text out of %v of a struct that holds it.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// String is a secret text: a token, a code, a key. The zero String is "no secret".
// Every way of printing it, marshalling it or logging it gives "[redacted]", or "" for the zero String.
// It is immutable and safe for concurrent use.
type String struct{ p *string }

// New returns s as a secret; the empty string gives the zero String.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{&s}
}

// Reveal returns the text. Call it only where the text is sent or sealed.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.p == nil }

// Equal compares in constant time for texts of the same length.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

func (s String) text() string {
	if s.p == nil {
		return ""
	}
	return redacted
}

// String implements [fmt.Stringer].
func (s String) String() string { return s.text() }

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.text()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON too.
func (s String) MarshalText() ([]byte, error) { return []byte(s.text()), nil }

// LogValue implements [slog.LogValuer].
func (s String) LogValue() slog.Value { return slog.StringValue(s.text()) }
