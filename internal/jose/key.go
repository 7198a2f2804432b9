package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const maxKeys = 100

// key is a public key that may verify signatures.
type key struct {
	id     string
	issuer string // Entra's: whose tokens it signs; "": it does not say
	public any
	algs   []string // what it may be used with: its alg alone, else what its type allows
}

// jwk are the members of RFC 7517 §4 and RFC 7518 §6 that are read. Certificates (x5c, x5u) are not among them: the keys are trusted because of
// where they come from.
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
}

// parse reads a key set. A key that cannot verify signatures here is left out, for a set may hold keys for other
// uses and of types to come (RFC 7517 §5).
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
		return nil, invalidKeySet(fmt.Errorf("more than %d of them", maxKeys))
	}
	var keys []key
	for _, raw := range set.Keys {
		if k, ok := parseKey(raw); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func parseKey(raw []byte) (key, bool) {
	var w jwk
	if json.Unmarshal(raw, &w) != nil || w.D != nil || w.Use != "" && w.Use != "sig" || w.Ops != nil && !slices.Contains(w.Ops, "verify") {
		return key{}, false // a private key in public is nobody's key any more
	}
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

// suitable returns the algorithms for a key's type; none for a key that is too weak or of another kind (S73).
func suitable(public any) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 || k.E%2 == 0 { // go-jose has refused an e below 2, and a key so large that verifying is slow
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
