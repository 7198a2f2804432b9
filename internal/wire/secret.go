// Holds values that must not be printed.
//
// A [String] is a struct around a pointer, because fmt prints an unexported field of a string type
// without asking its methods: only a pointer keeps the text out of %v of a struct that holds it.

package wire

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a secret text: a token, a code, a key. The zero String is "no secret".
// Every way of printing it, marshalling it or logging it gives "[redacted]", or "" for the zero String.
// It is immutable and safe for concurrent use.
type Secret struct{ p *string }

// NewSecret returns s as a secret; the empty string gives the zero String.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the text. Call it only where the text is sent or sealed.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.p == nil }

// Equal compares in constant time for texts of the same length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

func (s Secret) text() string {
	if s.p == nil {
		return ""
	}
	return redacted
}

// String implements [fmt.Stringer].
func (s Secret) String() string { return s.text() }

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.text()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.text()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.text()) }
