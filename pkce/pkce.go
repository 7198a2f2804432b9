// Package pkce makes the proof key that ties an authorization code to the
// program that requested it: Proof Key for Code Exchange, RFC 7636.
//
// # Use
//
// Make one [Verifier] for each authorization request. Send its challenge with
// the authorization request, and the verifier itself with the token request:
//
//	verifier := pkce.New()
//	// authorization request
//	code_challenge=verifier.Challenge(), code_challenge_method=pkce.Method
//	// token request
//	code_verifier=verifier.Reveal()
//
// The package works with any OAuth client. It imports no other public package of
// this module, and not net/http.
//
// # What it stops
//
// A native app has no secret of its own, so anyone who gets hold of an
// authorization code could exchange it: a program that registered the same
// custom scheme, a log of the browser, a proxy (RFC 7636 §1). With PKCE the code
// is useless without the verifier, which does not leave the program before the
// token request. PKCE also ties the code to this run of the flow, which stops an
// attacker from injecting a code of theirs (RFC 9700 §4.5.3.1).
//
// # Why there is only S256
//
// The method "plain" sends the verifier itself through the browser. A client that
// can do S256 must not use plain (RFC 7636 §4.2), nor fall back to it after an
// error (§7.2). So this package does not have it.
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

// Method is the value of the code_challenge_method parameter (RFC 7636 §4.3).
const Method = "S256"

const (
	// entropy is the number of random bytes in a verifier. RFC 7636 §4.1
	// recommends 32, which makes 43 characters.
	entropy = 32
	// RFC 7636 §4.1 sets both limits, in characters.
	minLen = 43
	maxLen = 128
)

// Verifier is a code_verifier (RFC 7636 §4.1). It is a secret: printing, logging
// or marshalling a Verifier gives "[redacted]".
//
// The zero Verifier stands for none: its Challenge and Reveal return "". A
// provider may take an empty challenge for a request without PKCE, so do not send
// it. A Verifier is immutable and may be used concurrently.
type Verifier struct{ s wire.Secret }

// New returns a random Verifier of 43 characters, made of 32 bytes from
// crypto/rand. Use it for one authorization request. New never fails: if the
// system has no random numbers, crypto/rand ends the program.
func New() Verifier {
	b := make([]byte, entropy)
	_, _ = rand.Read(b)
	return Verifier{wire.NewSecret(base64.RawURLEncoding.EncodeToString(b))}
}

// Parse returns a Verifier that was made elsewhere, for instance in an earlier
// process. It must be 43 to 128 characters of A-Z a-z 0-9 - . _ ~
// (RFC 7636 §4.1). If it is not, Parse returns the zero Verifier and an error
// that does not repeat s. Parse cannot tell whether s is random.
func Parse(s string) (Verifier, error) {
	if len(s) < minLen || len(s) > maxLen {
		return Verifier{}, fmt.Errorf("pkce: a code verifier has %d to %d characters, "+
			"this one has %d; make one with pkce.New", minLen, maxLen, len(s))
	}
	for i := range len(s) {
		if !unreserved(s[i]) {
			return Verifier{}, errCharacter
		}
	}
	return Verifier{wire.NewSecret(s)}, nil
}

var errCharacter = errors.New("pkce: a code verifier holds only A-Z a-z 0-9 - . _ ~, " +
	"and no padding; make one with pkce.New")

// unreserved reports whether c is an unreserved character of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// Challenge returns the code_challenge for the authorization request: the
// SHA-256 of the verifier in base64url without padding (RFC 7636 §4.2). It is not
// a secret. For the zero Verifier it is "".
func (v Verifier) Challenge() string {
	if v.s.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(v.s.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Reveal returns the code_verifier itself. Use it only in the body of the token
// request (RFC 7636 §4.5). For the zero Verifier it is "".
func (v Verifier) Reveal() string { return v.s.Reveal() }

// String implements [fmt.Stringer]. It returns "[redacted]", or "" for the zero
// Verifier.
func (v Verifier) String() string { return v.s.String() }

// Format implements [fmt.Formatter]. Every verb prints what String returns, so
// that %#v and %x do not print the secret.
func (v Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.s.String()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, with the redacted
// text. There is no UnmarshalText: a program that has to keep a verifier uses
// Reveal and [Parse].
func (v Verifier) MarshalText() ([]byte, error) { return v.s.MarshalText() }

// LogValue implements [slog.LogValuer] with the redacted text.
func (v Verifier) LogValue() slog.Value { return v.s.LogValue() }
