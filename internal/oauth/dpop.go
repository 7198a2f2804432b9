// Makes proofs of possession (RFC 9449). A token that is bound to a key is
// worth nothing to a thief without the key (S85, S87).
//
// The proof is written and signed here with crypto/ecdsa, not through go-jose.
// It is one fixed header and five claims, the header is encoded once for each
// key, and what is signed can be read on one page. Tests verify the proofs with
// go-jose.
//
// iat is the server's clock as far as it is known (see [Clock]), because that
// server checks it.

package oauth

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// DPoPAlgorithm is the one signing algorithm used here. Every known deployment
// of DPoP accepts it. DPoP cannot be used with a server that has a
// dpop_signing_alg_values_supported without it.
const DPoPAlgorithm = "ES256"

// ErrDPoPKey means that a stored key cannot be used. The session that it bound
// is lost, and only signing in again helps (S87).
var ErrDPoPKey = errors.New("the stored DPoP key is damaged")

// ErrDPoPURL means that no proof can name the request's target.
var ErrDPoPURL = errors.New("no DPoP proof for this URL")

// DPoPKey is a private key on P-256. The zero DPoPKey is none. It prints as
// "[redacted]", and is safe for concurrent use.
type DPoPKey struct{ k *proofJWK }

// proofJWK is the key with the parts of its proofs that never change.
type proofJWK struct {
	private    *ecdsa.PrivateKey
	header     string // of every proof, encoded
	thumbprint string
}

// NewDPoPKey makes a key for one grant (S87).
func NewDPoPKey() (DPoPKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return DPoPKey{}, fmt.Errorf("no DPoP key: %w", err)
	}
	return newDPoPKey(private)
}

// dpopKeyPrefix names the algorithm, so that keys of another one can be told
// apart later.
const dpopKeyPrefix = DPoPAlgorithm + "."

// Marshal returns the key as text for the stored session: "ES256." and the
// private scalar in base64url. The zero DPoPKey is an [ErrDPoPKey].
func (k DPoPKey) Marshal() (wire.Secret, error) {
	if k.IsZero() {
		return wire.Secret{}, ErrDPoPKey
	}
	d, err := k.k.private.Bytes()
	if err != nil {
		return wire.Secret{}, ErrDPoPKey
	}
	return wire.NewSecret(dpopKeyPrefix + b64(d)), nil
}

// ParseDPoPKey reads what [DPoPKey.Marshal] wrote. Its error is [ErrDPoPKey],
// which carries nothing of the text.
func ParseDPoPKey(stored wire.Secret) (DPoPKey, error) {
	text, ok := strings.CutPrefix(stored.Reveal(), dpopKeyPrefix)
	if !ok {
		return DPoPKey{}, ErrDPoPKey
	}
	d, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The decoder skips line breaks, so the length is compared too.
	if err != nil || len(text) != base64.RawURLEncoding.EncodedLen(len(d)) {
		return DPoPKey{}, ErrDPoPKey
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return DPoPKey{}, ErrDPoPKey
	}
	return newDPoPKey(private)
}

func newDPoPKey(private *ecdsa.PrivateKey) (DPoPKey, error) {
	point, err := private.PublicKey.Bytes() // 4 ‖ x ‖ y
	if err != nil || len(point) != 65 {
		return DPoPKey{}, ErrDPoPKey
	}
	// The members are in the order and form of RFC 7638 §3. So the same text is
	// the header's jwk and the thumbprint's input.
	jwk := `{"crv":"P-256","kty":"EC","x":"` + b64(point[1:33]) + `","y":"` + b64(point[33:]) + `"}`
	sum := sha256.Sum256([]byte(jwk))
	header := `{"typ":"dpop+jwt","alg":"` + DPoPAlgorithm + `","jwk":` + jwk + `}`
	return DPoPKey{&proofJWK{private: private, header: b64([]byte(header)), thumbprint: b64(sum[:])}}, nil
}

// IsZero reports whether there is no key.
func (k DPoPKey) IsZero() bool { return k.k == nil }

// Thumbprint returns the key's SHA-256 thumbprint (RFC 7638). It is the
// dpop_jkt of an authorization request (§10) and the cnf.jkt of a token. It is
// "" for the zero DPoPKey.
func (k DPoPKey) Thumbprint() string {
	if k.IsZero() {
		return ""
	}
	return k.k.thumbprint
}

// proofClaims are a proof's payload (§4.2).
type proofClaims struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URI    string `json:"htu"`
	Issued int64  `json:"iat"`
	Hash   string `json:"ath,omitempty"`
	Nonce  string `json:"nonce,omitempty"`
}

// Proof returns a fresh proof (§4.2) for one request by method ("" is GET) to
// target. accessToken is the token sent with it; it is zero at the
// authorization server. nonce is the server's, or "". now is its time. If a
// request's Host differs from its URL's, target must carry the former. Errors:
// [ErrDPoPKey] for the zero DPoPKey; [ErrDPoPURL].
//
// Method, target and the token's hash keep a proof from being used for another
// request; jti and iat keep it from being used again (S85).
func (k DPoPKey) Proof(
	method string, target *url.URL, accessToken wire.Secret, nonce string, now time.Time,
) (string, error) {
	if k.IsZero() {
		return "", ErrDPoPKey
	}
	uri, err := targetURI(target)
	if err != nil {
		return "", err
	}
	c := proofClaims{
		ID: rand.Text(), Method: cmp.Or(method, "GET"), URI: uri, // the ID has 130 bits
		Issued: now.Unix(), Nonce: nonce,
	}
	if !accessToken.IsZero() {
		sum := sha256.Sum256([]byte(accessToken.Reveal()))
		c.Hash = b64(sum[:])
	}
	input := k.k.header + "." + b64JSON(c)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.k.private, digest[:])
	if err != nil {
		return "", fmt.Errorf("DPoP proof: %w", err)
	}
	var signature [64]byte // both numbers at full width (RFC 7518 §3.4)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature[:]), nil
}

// targetURI returns htu: the URL as it is sent, without query and fragment.
// Case, default port and empty path are normalised (RFC 3986 §6.2.2 and
// §6.2.3). The path stays as it is sent, because the server sees no other.
func targetURI(u *url.URL) (string, error) {
	if u == nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%w: it is not an absolute http URL", ErrDPoPURL)
	}
	for i := range len(u.Host) {
		if u.Host[i] >= 0x80 {
			return "", fmt.Errorf("%w: write its host name in the ASCII form (xn--…), "+
				"which is what the server sees", ErrDPoPURL)
		}
	}
	return wire.Origin(u) + cmp.Or(u.EscapedPath(), "/"), nil
}

// String implements [fmt.Stringer].
func (k DPoPKey) String() string {
	if k.IsZero() {
		return ""
	}
	return wire.Redacted
}

// Format implements [fmt.Formatter].
func (k DPoPKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses
// too. It does not store a key; [DPoPKey.Marshal] does.
func (k DPoPKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue implements [slog.LogValuer].
func (k DPoPKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// b64JSON encodes a part of a JWT. It holds texts and numbers only, so it cannot
// fail.
func b64JSON(part any) string {
	data, _ := json.Marshal(part)
	return b64(data)
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
