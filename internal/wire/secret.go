// Holds values that must not be printed (S66).
//
// A [Secret] is a struct around a pointer. fmt prints an unexported field
// without asking its methods, so a string type would show its text in the %v of
// a struct that holds it. A pointer does not.

package wire

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands in every text for a secret that was taken out.
const Redacted = "[redacted]"

// Secret is a secret text: a token, a code, a key. The zero Secret is "no
// secret". Printing, marshalling or logging it gives [Redacted], or "" for the
// zero Secret. It is immutable and safe for concurrent use.
type Secret struct{ p *string }

// NewSecret returns s as a secret; the empty string gives the zero Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the text. Call it only to send or to seal the text.
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

// String implements [fmt.Stringer].
func (s Secret) String() string {
	if s.p == nil {
		return ""
	}
	return Redacted
}

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses
// too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
