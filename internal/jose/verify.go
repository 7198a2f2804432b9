// Verifies compact JSON Web Signatures (RFC 7515) by the rules of RFC 8725.
//
// The token cannot choose how it is verified. Its algorithm must be one that
// the provider advertises and that fits the key (S72). What its header says of
// keys is not read (S74). Extensions, encryption, other encodings and other
// kinds of token are refused (S75, S76), and so is every second spelling of the
// same bytes (S77).

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

// Caps in bytes, checked before anything is parsed (S76). An ID token with
// hundreds of groups has about ten kilobytes.
const (
	maxToken  = 256 << 10
	maxHeader = 8 << 10
)

// ErrUnsigned comes with ErrToken if no key of the provider's verifies the token. A
// token that is older than the keys may have been good: the provider withdrew its key.
var ErrUnsigned = errors.New("no key of the provider's verifies its signature")

// ErrNotRenewed comes with ErrUnsigned if the keys were not fetched anew for the token,
// because they were fetched less than a minute ago (S81). The provider may have
// changed them since: a caller that can wait verifies the token again later.
var ErrNotRenewed = errors.New("the keys were fetched a moment ago; try again in a minute")

// ErrToken is matched by every refusal of a token, together with
// wire.ErrInvalidResponse. The message names the check and holds nothing of the
// token.
var ErrToken = errors.New("not a token that the provider signed")

func refused(why error) error { return wire.Invalid("%w: %w", ErrToken, why) }

var supported = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// Algorithms returns those of the given algorithms that are verified here; nil
// means all of them. Neither none nor an HMAC is ever among them (S72): a
// native program has no secret to check an HMAC with.
func Algorithms(advertised []string) []string {
	if advertised == nil {
		return slices.Clone(supported)
	}
	return slices.DeleteFunc(slices.Clone(supported), func(a string) bool {
		return !slices.Contains(advertised, a)
	})
}

// Verify checks the signature of a compact JWS and returns its payload and
// algorithm.
//
// algorithms are those that the caller accepts; nil means all that [Algorithms]
// knows. If the header has a kid, only keys with that ID are tried, else every
// suitable key. Nothing else that the header says of keys is read (S74).
//
// Errors: [ErrToken], which is a verdict on the token; [ErrKeySet] or a
// [fetch.Error] if the keys could not be had, which says nothing about it. A
// nil KeySet has no keys.
func (c *KeySet) Verify(
	ctx context.Context, token string, algorithms []string,
) (payload []byte, algorithm string, err error) {
	return c.VerifyBy(ctx, token, algorithms, func([]byte, string) bool { return true })
}

// VerifyBy is Verify with only those keys for which may returns true. issuer is
// the key's member of that name, "" if it has none: in Entra's common key set
// it says for which issuer the key signs. payload is not verified yet when may
// sees it.
func (c *KeySet) VerifyBy(
	ctx context.Context, token string, algorithms []string,
	may func(payload []byte, issuer string) bool,
) (payload []byte, algorithm string, err error) {
	h, payload, err := split(token, "JWT")
	if err != nil {
		return nil, "", refused(err)
	}
	if !slices.Contains(Algorithms(algorithms), h.Alg) {
		return nil, "", refused(errors.New("its algorithm is not one that is allowed"))
	}
	if c == nil {
		return nil, "", fmt.Errorf("%w: its metadata name no jwks_uri", ErrKeySet)
	}
	suitable := func(keys []key) []key {
		return slices.DeleteFunc(slices.Clone(matching(keys, h.Kid)), func(k key) bool {
			return !may(payload, k.issuer)
		})
	}
	keys, err := c.current(ctx)
	if err != nil {
		return nil, "", err
	}
	if signedByOne(token, h.Alg, suitable(keys)) {
		return payload, h.Alg, nil
	}
	// The provider may have changed its keys since. A careless one keeps the
	// old ID, so a known kid is no reason to skip this.
	keys, ok, err := c.renewed(ctx)
	if err != nil {
		return nil, "", err
	}
	if ok && signedByOne(token, h.Alg, suitable(keys)) {
		return payload, h.Alg, nil
	}
	if !ok {
		return nil, "", refused(fmt.Errorf("%w, and %w", ErrUnsigned, ErrNotRenewed))
	}
	return nil, "", refused(ErrUnsigned)
}

// signedByOne reports whether one of keys verifies token with exactly alg.
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

// Payload returns the payload of a token that was verified before it was
// stored. It checks the form, not the signature. Its errors match [ErrToken].
func Payload(token string) ([]byte, error) {
	_, payload, err := split(token, "JWT")
	if err != nil {
		return nil, refused(err)
	}
	return payload, nil
}

// PayloadOf returns the payload of a token whose header must have the type typ (RFC
// 8725 §3.11). It is for a token that the server which it is for verifies: it checks
// the form, not the signature. Its errors match [ErrToken].
func PayloadOf(token, typ string) ([]byte, error) {
	h, payload, err := split(token, typ)
	if err == nil && h.Typ == "" {
		err = errors.New("its header has no typ")
	}
	if err != nil {
		return nil, refused(err)
	}
	return payload, nil
}

// header has the members that are read. Keys and URLs of keys (jwk, jku, x5c,
// x5u) are left out on purpose (S74).
type header struct {
	Alg  string          `json:"alg"`
	Typ  string          `json:"typ"`
	Kid  *string         `json:"kid"`
	Crit json.RawMessage `json:"crit"`
	Zip  json.RawMessage `json:"zip"`
	Enc  json.RawMessage `json:"enc"`
	B64  json.RawMessage `json:"b64"`
}

// split checks the form of a compact JWS and reads its header, whose typ is typ or
// missing.
func split(token, typ string) (h header, payload []byte, err error) {
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
	case h.Typ != "" && !strings.EqualFold(h.Typ, typ) && !strings.EqualFold(h.Typ, "application/"+typ):
		// RFC 8725 §3.11: a logout token or an access token must not pass for
		// this one.
		return h, nil, errors.New("its typ is of another kind of token")
	}
	if _, err := decode(parts[2]); err != nil {
		return h, nil, err
	}
	payload, err = decode(parts[1])
	return h, payload, err
}

// decode reads base64url in its one canonical form. Go's decoder skips line
// breaks and, unless it is strict, stray bits (S77); one signature would then
// have many spellings.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("it is not base64url")
	}
	return b, nil
}
