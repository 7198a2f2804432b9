// Authenticates a client to its authorization server: not at all, with a secret
// (RFC 6749 §2.3), or with a signed assertion (RFC 7523 §2.2).
//
// A native program keeps no secret from its user, so it is a public client
// unless it is told otherwise (S49). A secret that it has never prints (S66).

package oauth

import (
	"cmp"
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
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ClientAuth is how a client authenticates. The zero ClientAuth is a public
// client, which sends its client_id in the body and nothing else (S49). A
// ClientAuth never prints what it holds (S66). It is immutable and safe for
// concurrent use.
type ClientAuth struct{ c *credential }

// credential keeps its secrets behind pointers of their own. fmt prints
// unexported fields without asking their methods. For a verb that does not fit,
// it follows a pointer to a struct as well, but never one to a string or an
// interface.
type credential struct {
	secret wire.Secret
	method string         // how the secret is sent; "": as the metadata say
	raw    bool           // HTTP Basic without form encoding
	key    *crypto.Signer // nil: the client has a secret
	keyID  string
}

// ClientSecret authenticates with a client secret; "" gives the zero
// ClientAuth.
func ClientSecret(text string) ClientAuth {
	if text == "" {
		return ClientAuth{}
	}
	return ClientAuth{&credential{secret: wire.NewSecret(text)}}
}

// RegisteredSecret is [ClientSecret] for a client that registered itself. method
// is what the registration answered, which decides even if the metadata say
// otherwise (RFC 7591 §3.2.1): [AuthBasic] or [AuthPost]. "" leaves it to the
// metadata.
func RegisteredSecret(text, method string) ClientAuth {
	if text == "" {
		return ClientAuth{}
	}
	return ClientAuth{&credential{secret: wire.NewSecret(text), method: method}}
}

// RawBasic returns m for a server that does not decode what HTTP Basic carries:
// client ID and secret are sent as they are, and not form-encoded. Only HTTP
// Basic is changed by it.
func (m ClientAuth) RawBasic() ClientAuth {
	if m.c == nil {
		return m
	}
	c := *m.c
	c.raw = true
	return ClientAuth{&c}
}

// PrivateKeyJWT authenticates with an assertion signed by key (RSA of 2048 bits
// or more, P-256, P-384, P-521 or Ed25519). keyID is the kid under which the
// server knows the key; "" sends none. A nil key gives a ClientAuth that
// [ClientAuth.Check] refuses.
func PrivateKeyJWT(key crypto.Signer, keyID string) ClientAuth {
	return ClientAuth{&credential{key: &key, keyID: keyID}}
}

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
// supported is the endpoint's …_auth_methods_supported. If it is nil, the
// metadata say nothing, and a secret goes by client_secret_basic. A list
// without "none" does not keep a public client out, because many lists name
// only the other methods.
//
// issuer is the audience of an assertion, which is then worth nothing to
// another server. endpoint replaces it for a provider without an issuer.
// signingAlgs is …_auth_signing_alg_values_supported; nil means the key's usual
// algorithm. now is the server's time, for an assertion.
//
// An error that matches [errors.ErrUnsupported] says that the server does not
// accept the method.
func (m ClientAuth) Apply(
	clientID, issuer, endpoint string, supported, signingAlgs []string,
	form url.Values, h http.Header, now time.Time,
) error {
	if m.c != nil && m.c.method != "" {
		supported = []string{m.c.method}
	}
	offers := func(method string) bool {
		return supported == nil || slices.Contains(supported, method)
	}
	switch {
	case m.c == nil && clientID == "": // an assertion alone says who asks (RFC 7523 §2.1)
	case m.c == nil:
		form.Set("client_id", clientID)
	case m.c.key == nil && offers("client_secret_basic"):
		if m.c.raw && strings.Contains(clientID, ":") {
			return errors.New("a client ID with a colon must be form-encoded in HTTP Basic; " +
				"send the secret in the body")
		}
		h.Set("Authorization", "Basic "+m.c.basicAuth(clientID))
	case m.c.key == nil && offers("client_secret_post"):
		form.Set("client_id", clientID)
		form.Set("client_secret", m.c.secret.Reveal())
	case m.c.key == nil:
		return fmt.Errorf("%w: the provider takes no client secret here; "+
			"set up the authentication that it offers", errors.ErrUnsupported)
	case !offers("private_key_jwt"):
		return fmt.Errorf("%w: the provider takes no private_key_jwt here; "+
			"set up the authentication that it offers", errors.ErrUnsupported)
	default:
		audience := cmp.Or(issuer, endpoint)
		assertion, err := m.c.assertion(clientID, audience, signingAlgs, now)
		if err != nil {
			return err
		}
		form.Set("client_id", clientID) // optional in RFC 7521 §4.2, but some servers insist on it
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	}
	return nil
}

// isSecret reports whether Apply sends a client secret.
func (m ClientAuth) isSecret() bool { return m.c != nil && m.c.key == nil }

// signs reports whether Apply makes an assertion, which has a time in it.
func (m ClientAuth) signs() bool { return m.c != nil && m.c.key != nil }

// Withhold returns s, the text of a server that may echo the client secret,
// without that secret: as it is, and as Apply writes it for clientID.
func (m ClientAuth) Withhold(clientID, s string) string {
	if !m.isSecret() {
		return s
	}
	secret := m.c.secret.Reveal()
	return strings.NewReplacer(
		m.c.basicAuth(clientID), wire.Redacted, secret, wire.Redacted, url.QueryEscape(secret), wire.Redacted,
	).Replace(s)
}

// basicAuth returns the value of HTTP Basic. Both parts are form-encoded before
// they are joined (RFC 6749 §2.3.1), so a colon in either is no ambiguity.
func (c *credential) basicAuth(clientID string) string {
	secret := c.secret.Reveal()
	if !c.raw {
		clientID, secret = url.QueryEscape(clientID), url.QueryEscape(secret)
	}
	return base64.StdEncoding.EncodeToString([]byte(clientID + ":" + secret))
}

// String implements [fmt.Stringer] without the secret.
func (m ClientAuth) String() string {
	switch {
	case m.c == nil:
		return "none"
	case m.c.key == nil:
		return "client secret " + wire.Redacted
	}
	return "private key " + wire.Redacted
}

// Format implements [fmt.Formatter]. Every verb prints the same.
func (m ClientAuth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses
// too.
func (m ClientAuth) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// LogValue implements [slog.LogValuer].
func (m ClientAuth) LogValue() slog.Value { return slog.StringValue(m.String()) }
