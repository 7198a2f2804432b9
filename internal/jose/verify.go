package jose

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Caps, before anything is parsed (S76). An ID token with hundreds of groups has some ten kilobytes.
const (
	maxToken  = 256 << 10
	maxHeader = 8 << 10
)

// ErrToken is matched by every refusal of a token. The message names the check, and holds nothing of the token.
var ErrToken = wire.Invalid("not a token that the provider signed")

var supported = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Algorithms returns those of the given algorithms that are verified here; nil: all of them. Neither none nor
// an HMAC is ever among them (S72): a native program has no secret to check an HMAC with.
func Algorithms(advertised []string) []string {
	if advertised == nil {
		return slices.Clone(supported)
	}
	return slices.DeleteFunc(slices.Clone(supported), func(a string) bool { return !slices.Contains(advertised, a) })
}

// Verify checks the signature of a compact JWS and returns its payload and algorithm.
//
// algorithms are those that the caller takes, what the provider advertises among them; nil: all that [Algorithms] knows. The key is chosen by
// kid, else every suitable key is tried; whatever else the header says of keys is not looked at (S74).
//
// Errors: ErrInvalid; [fetch.Error] or ErrKeySet where the keys could not be had, which says nothing about the token. A nil Cache has none.
func (c *KeySet) Verify(ctx context.Context, token string, algorithms []string) (payload []byte, algorithm string, err error) {
	return c.VerifyBy(ctx, token, algorithms, func([]byte, string) bool { return true })
}

// VerifyBy is Verify with the keys that may answer for the payload alone. issuer is the key's member of that name, with which Entra tells
// whose tokens a key of its common set signs; "": the key has none.
func (c *KeySet) VerifyBy(ctx context.Context, token string, algorithms []string, may func(payload []byte, issuer string) bool) (payload []byte, algorithm string, err error) {
	h, payload, err := split(token)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	if !slices.Contains(Algorithms(algorithms), h.Alg) {
		return nil, "", fmt.Errorf("%w: its algorithm is not one that is allowed", ErrToken)
	}
	if c == nil {
		return nil, "", fmt.Errorf("%w: its metadata name no jwks_uri", ErrKeySet)
	}
	suitable := func(keys []key) []key {
		return slices.DeleteFunc(slices.Clone(matching(keys, h.Kid)), func(k key) bool { return !may(payload, k.issuer) })
	}
	keys, err := c.current(ctx)
	if err != nil {
		return nil, "", err
	}
	if signedByOne(token, h.Alg, suitable(keys)) {
		return payload, h.Alg, nil
	}
	// The provider may have changed its keys since, under a new ID or, carelessly, under the old one.
	keys, ok, err := c.renewed(ctx)
	if err != nil {
		return nil, "", err
	}
	if ok && signedByOne(token, h.Alg, suitable(keys)) {
		return payload, h.Alg, nil
	}
	return nil, "", fmt.Errorf("%w: no key of the provider's verifies its signature", ErrToken)
}

func signedByOne(token, alg string, keys []key) bool {
	for _, k := range keys {
		if !slices.Contains(k.algs, alg) {
			continue
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			return false
		}
		if _, err := jws.Verify(k.public); err == nil {
			return true
		}
	}
	return false
}

// Payload returns the payload of a token that was verified before. It checks the form, not the signature.
func Payload(token string) ([]byte, error) {
	_, payload, err := split(token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return payload, nil
}

type header struct {
	Alg  string          `json:"alg"`
	Typ  string          `json:"typ"`
	Kid  *string         `json:"kid"`
	Crit json.RawMessage `json:"crit"`
	Zip  json.RawMessage `json:"zip"`
	Enc  json.RawMessage `json:"enc"`
	B64  json.RawMessage `json:"b64"`
}

// split checks the form of a compact JWS and reads its header.
func split(token string) (h header, payload []byte, err error) {
	if len(token) > maxToken {
		return h, nil, errors.New("it is too large")
	}
	switch strings.Count(token, ".") {
	case 2:
	case 4:
		return h, nil, errors.New("it is encrypted, which is not supported")
	default:
		return h, nil, errors.New("it has not three parts")
	}
	parts := strings.Split(token, ".")
	if len(parts[0]) > maxHeader {
		return h, nil, errors.New("its header is too large")
	}
	raw, err := decode(parts[0])
	if err != nil {
		return h, nil, err
	}
	if err := wire.UnmarshalJSON(raw, &h); err != nil {
		return h, nil, fmt.Errorf("its header is %w", err)
	}
	switch {
	case h.Crit != nil:
		return h, nil, errors.New("its header marks an extension as critical (crit)")
	case h.Zip != nil, h.Enc != nil, h.B64 != nil:
		return h, nil, errors.New("its header asks for another encoding (zip, enc, b64)")
	case h.Typ != "" && !strings.EqualFold(h.Typ, "JWT") && !strings.EqualFold(h.Typ, "application/jwt"):
		return h, nil, errors.New("its typ is of another kind of token") // RFC 8725 §3.11
	}
	if _, err := decode(parts[2]); err != nil {
		return h, nil, err
	}
	payload, err = decode(parts[1])
	return h, payload, err
}

// decode reads base64url in its one canonical form: Go's decoder skips line breaks and, unless strict, stray bits (S77), so that one signature
// would have many spellings.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("it is not base64url")
	}
	return b, nil
}
