// Authenticates a client to its authorization server: not at all, with a secret, or with
// a signed assertion (RFC 6749 §2.3, RFC 7523 §2.2).

package oauth

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ClientAuth is how a client authenticates. The zero Method is a public client: its client_id in the body and
// nothing else (S49). A Method never prints what it holds (S66), is immutable, and is safe for concurrent use.
type ClientAuth struct{ c *credential }

// credential keeps what is secret behind pointers of its own: fmt prints unexported fields without asking their methods, and for
// a verb that does not fit it follows a pointer to a struct as well, but never one to a string or an interface.
type credential struct {
	secret wire.Secret
	key    *crypto.Signer // where there is no secret
	keyID  string
}

// ClientSecret authenticates with a client secret; "" gives the zero Method.
func ClientSecret(text string) ClientAuth {
	if text == "" {
		return ClientAuth{}
	}
	return ClientAuth{&credential{secret: wire.NewSecret(text)}}
}

// PrivateKeyJWT authenticates with an assertion signed by key (RSA of 2048 bits or more, P-256, P-384, P-521
// or Ed25519). keyID is the kid under which the server knows the key; "": none is sent. A nil key gives a Method
// that [Method.Check] refuses.
func PrivateKeyJWT(key crypto.Signer, keyID string) ClientAuth {
	return ClientAuth{&credential{key: &key, keyID: keyID}}
}

// IsPublic reports whether m is the zero Method.
func (m ClientAuth) IsPublic() bool { return m.c == nil }

// Check reports a key that cannot sign, without any I/O.
func (m ClientAuth) Check() error {
	if m.c == nil || m.c.key == nil {
		return nil
	}
	_, err := assertionAlgorithms(*m.c.key)
	return err
}

// Apply adds the authentication of clientID to form and h.
//
// supported is the endpoint's …_auth_methods_supported, nil where the metadata says nothing: client_secret_basic then. A
// provider whose list leaves out "none" is sent a public client all the same, for many lists name only the
// others. issuer is the audience of an assertion, which is worth nothing to another server then; endpoint takes its place for a
// provider without an issuer. signingAlgs is …_auth_signing_alg_values_supported; nil: the key's usual one.
// An error that matches [errors.ErrUnsupported] says that the server does not take the method.
func (m ClientAuth) Apply(clientID, issuer, endpoint string, supported, signingAlgs []string, form url.Values, h http.Header) error {
	offers := func(method string) bool { return supported == nil || slices.Contains(supported, method) }
	switch {
	case m.c == nil:
		form.Set("client_id", clientID)
	case m.c.key == nil && offers("client_secret_basic"):
		h.Set("Authorization", "Basic "+basicAuth(clientID, m.c.secret.Reveal()))
	case m.c.key == nil && offers("client_secret_post"):
		form.Set("client_id", clientID)
		form.Set("client_secret", m.c.secret.Reveal())
	case m.c.key == nil:
		return fmt.Errorf("%w: the provider takes no client secret here; set up the authentication that it offers", errors.ErrUnsupported)
	case !offers("private_key_jwt"):
		return fmt.Errorf("%w: the provider takes no private_key_jwt here; set up the authentication that it offers", errors.ErrUnsupported)
	default:
		audience := issuer
		if audience == "" {
			audience = endpoint
		}
		assertion, err := m.c.assertion(clientID, audience, signingAlgs)
		if err != nil {
			return err
		}
		form.Set("client_id", clientID) // optional in RFC 7521 §4.2, but some servers insist on it
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	return nil
}

// Withhold returns s with the client secret taken out, for text of a server that may echo it: as it is, and as Apply writes it for clientID.
func (m ClientAuth) Withhold(clientID, s string) string {
	if m.c == nil || m.c.key != nil {
		return s
	}
	secret := m.c.secret.Reveal()
	return strings.NewReplacer(basicAuth(clientID, secret), redactedAuth, secret, redactedAuth, url.QueryEscape(secret), redactedAuth).Replace(s)
}

// basicAuth is the value of HTTP Basic. RFC 6749 §2.3.1: both are form-encoded before they are joined, so a colon in either is no ambiguity.
func basicAuth(clientID, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(clientID) + ":" + url.QueryEscape(secret)))
}

const redactedAuth = "[redacted]"

func (m ClientAuth) text() string {
	switch {
	case m.c == nil:
		return "none"
	case m.c.key == nil:
		return "client secret " + redactedAuth
	}
	return "private key " + redactedAuth
}

// String implements [fmt.Stringer] without the secret.
func (m ClientAuth) String() string { return m.text() }

// Format implements [fmt.Formatter]: every verb prints the same.
func (m ClientAuth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.text()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON.
func (m ClientAuth) MarshalText() ([]byte, error) { return []byte(m.text()), nil }

// LogValue implements [slog.LogValuer].
func (m ClientAuth) LogValue() slog.Value { return slog.StringValue(m.text()) }
