// Reads JSON Web Keys (RFC 7517, RFC 7518 §6) and decides what each may be used
// for.
//
// A key serves for signatures only, with the algorithms of its own type, and
// not at all if it is weak (S73). So a token cannot pick a key that was made
// for something else, and a public key is never taken for the secret of an HMAC
// (S72).

package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxKeys bounds a key set. Providers publish two to ten keys; Entra about
// twenty.
const maxKeys = 100

// key is a public key that may verify signatures.
type key struct {
	id     string
	issuer string // Entra's: the issuer of the tokens that it signs; "": not stated
	public any
	algs   []string // the key's own alg if it has one, else what its type allows
}

// jwk has the members of RFC 7517 §4 and RFC 7518 §6 that are read.
// A certificate (x5c) only stands in for a key that is missing, and is not
// validated: the keys are trusted because they come from the provider's jwks_uri.
// x5u is never fetched.
type jwk struct {
	Kty string          `json:"kty"`
	Use string          `json:"use,omitempty"`
	Ops []string        `json:"key_ops,omitempty"`
	Alg string          `json:"alg,omitempty"`
	Kid string          `json:"kid,omitempty"`
	Iss string          `json:"issuer,omitempty"`
	Crv string          `json:"crv,omitempty"`
	N   string          `json:"n,omitempty"`
	E   string          `json:"e,omitempty"`
	X   string          `json:"x,omitempty"`
	Y   string          `json:"y,omitempty"`
	D   json.RawMessage `json:"d,omitempty"`
	X5c []string        `json:"x5c,omitempty"`
}

// parse reads a key set. Keys that cannot verify signatures here are left out:
// a set may hold keys for other uses and of future types (RFC 7517 §5). Its
// errors match ErrKeySet.
func parse(data []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := wire.UnmarshalJSON(data, &set); err != nil {
		return nil, invalidKeySet(err)
	}
	switch {
	case set.Keys == nil:
		return nil, invalidKeySet(errors.New("it has no keys member"))
	case len(set.Keys) > maxKeys:
		return nil, invalidKeySet(fmt.Errorf("it has more than %d keys", maxKeys))
	}
	var keys []key
	for _, raw := range set.Keys {
		if k, ok := parseKey(raw); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// parseKey reads one key of a set. ok is false if it must not verify
// signatures.
func parseKey(raw []byte) (k key, ok bool) {
	var w jwk
	switch {
	case json.Unmarshal(raw, &w) != nil:
		return key{}, false
	case w.D != nil: // whoever reads the set has this private key
		return key{}, false
	case w.Use != "" && w.Use != "sig", w.Ops != nil && !slices.Contains(w.Ops, "verify"):
		return key{}, false
	}
	w = w.normalized()
	// go-jose gets the bare key, so that no other member can change its mind.
	bare, err := json.Marshal(jwk{Kty: w.Kty, Crv: w.Crv, N: w.N, E: w.E, X: w.X, Y: w.Y})
	if err != nil {
		return key{}, false
	}
	var parsed jose.JSONWebKey
	if parsed.UnmarshalJSON(bare) != nil || !parsed.Valid() || !parsed.IsPublic() {
		return key{}, false
	}
	algs := suitable(parsed.Key)
	if w.Alg != "" {
		if !slices.Contains(algs, w.Alg) {
			return key{}, false
		}
		algs = []string{w.Alg}
	}
	return key{w.Kid, w.Iss, parsed.Key, algs}, len(algs) > 0
}

// normalized returns w in the spelling of RFC 7518 §6: base64url without padding.
// Some providers pad it, or write standard base64. If the members of the key are
// missing, they are taken from the certificate.
func (w jwk) normalized() jwk {
	if w.N == "" && w.X == "" && len(w.X5c) > 0 {
		der, err := base64.StdEncoding.DecodeString(w.X5c[0])
		if err != nil {
			return w
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return w
		}
		text, err := (&jose.JSONWebKey{Key: cert.PublicKey}).MarshalJSON()
		var own jwk
		if err != nil || json.Unmarshal(text, &own) != nil || w.Kty != "" && w.Kty != own.Kty {
			return w
		}
		w.Kty, w.Crv, w.N, w.E, w.X, w.Y = own.Kty, own.Crv, own.N, own.E, own.X, own.Y
	}
	urlSafe := strings.NewReplacer("+", "-", "/", "_")
	for _, s := range []*string{&w.N, &w.E, &w.X, &w.Y} {
		*s = urlSafe.Replace(strings.TrimRight(*s, "="))
	}
	return w
}

// suitable returns the algorithms for a key's type. It returns none for a key
// that is too weak or of another kind (S73).
func suitable(public any) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		// go-jose has refused an e below 2, and a key so large that verifying
		// is slow.
		if k.N.BitLen() < 2048 || k.E%2 == 0 {
			return nil
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey: // go-jose has checked that the point is on the curve
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
