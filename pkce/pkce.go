// Package pkce makes the proof key that ties an authorization code to the program that asked for it
// (Proof Key for Code Exchange, RFC 7636).
//
// A program makes one [Verifier] per sign-in, sends its [Verifier.Challenge] with the authorization request, and
// its [Verifier.Reveal] with the token request. Whoever steals the code on its way through the browser cannot
// spend it without the verifier, which never leaves the program before the exchange.
//
// There is one method, S256. The other one, "plain", puts the verifier itself into the browser, and a client that
// can do S256 must not use it (RFC 7636 §4.2); so it cannot be had here, not even as a fallback (§7.2).
package pkce

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Method is the value of code_challenge_method (RFC 7636 §4.3).
const Method = "S256"

const (
	entropy = 32 // bytes, as RFC 7636 §4.1 recommends
	minLen  = 43
	maxLen  = 128
)

// Verifier is a code_verifier (RFC 7636 §4.1). It is a secret: printing, logging or marshalling it gives
// "[redacted]". The zero Verifier stands for none: its Challenge and Reveal are "".
// It is immutable and safe for concurrent use.
type Verifier struct{ s wire.Secret }

// New returns a fresh verifier: 32 bytes from the system's random source, as 43 characters. Use each one for a
// single authorization request.
func New() Verifier {
	b := make([]byte, entropy)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return Verifier{wire.NewSecret(base64.RawURLEncoding.EncodeToString(b))}
}

// Parse takes a verifier that was made elsewhere: 43 to 128 characters of A-Z a-z 0-9 - . _ ~ (RFC 7636 §4.1).
// Its error does not repeat s.
func Parse(s string) (Verifier, error) {
	if len(s) < minLen || len(s) > maxLen {
		return Verifier{}, fmt.Errorf("pkce: a code verifier has %d to %d characters, this one has %d; make one with pkce.New", minLen, maxLen, len(s))
	}
	for i := range len(s) {
		if !unreserved(s[i]) {
			return Verifier{}, errCharacter
		}
	}
	return Verifier{wire.NewSecret(s)}, nil
}

var errCharacter = errors.New("pkce: a code verifier holds only A-Z a-z 0-9 - . _ ~, and no padding; make one with pkce.New")

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// Challenge returns the code_challenge: the unpadded base64url of the verifier's SHA-256 (RFC 7636 §4.2). It is
// not a secret. The zero Verifier's is "".
func (v Verifier) Challenge() string {
	if v.s.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(v.s.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Reveal returns the code_verifier itself, for the token request's body (RFC 7636 §4.5) and for nothing else.
// The zero Verifier's is "".
func (v Verifier) Reveal() string { return v.s.Reveal() }

// String implements [fmt.Stringer] with the redacted text.
func (v Verifier) String() string { return v.s.String() }

// Format implements [fmt.Formatter]: every verb prints the same redacted text.
func (v Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.s.String()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, with the redacted text: a verifier lives in memory only.
func (v Verifier) MarshalText() ([]byte, error) { return v.s.MarshalText() }

// LogValue implements [slog.LogValuer] with the redacted text.
func (v Verifier) LogValue() slog.Value { return v.s.LogValue() }
