// Makes proofs of possession (RFC 9449): a key, a fresh signed proof for each request, and the
// nonces that servers ask for.
//
// The proof is written and signed here with crypto/ecdsa, not through go-jose: it is one fixed header and five claims, the
// header is encoded once a key, and what is signed can be read on one page. Tests verify the proofs with go-jose.
//
// iat is the local clock. It is not corrected by a server's Date header: a server that cannot rely on the client's clock
// has the nonce for that (§8), and an ID token would be refused for such a clock all the same.

package oauth

import (
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

// DPoPAlgorithm is the one signing algorithm used here; every deployment of DPoP that is known takes it. Where a server's
// dpop_signing_alg_values_supported is present without it, DPoP cannot be used there.
const DPoPAlgorithm = "ES256"

// ErrDPoPKey is a stored key that cannot be used: the session that it bound is lost, and only signing in again helps (S87).
var ErrDPoPKey = errors.New("the stored DPoP key is damaged")

// ErrDPoPURL is a request target that no proof can name.
var ErrDPoPURL = errors.New("no DPoP proof for this URL")

// DPoPKey is a private key on P-256, and what of its proofs never changes. The zero Key is none. It prints as "[redacted]",
// and is safe for concurrent use.
type DPoPKey struct{ k *proofJWK }

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

// dpopKeyPrefix names the algorithm, so that another can be told apart later.
const dpopKeyPrefix = DPoPAlgorithm + "."

// Marshal returns the key as text for the stored session: "ES256." and the private scalar in base64url.
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

// ParseDPoPKey reads what [Key.Marshal] wrote; else [ErrKey], which carries nothing of it.
func ParseDPoPKey(stored wire.Secret) (DPoPKey, error) {
	text, ok := strings.CutPrefix(stored.Reveal(), dpopKeyPrefix)
	if !ok {
		return DPoPKey{}, ErrDPoPKey
	}
	d, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != base64.RawURLEncoding.EncodedLen(len(d)) { // the decoder skips line breaks
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
	// Members in the order and form of RFC 7638 §3, so that the same text is the header's jwk and the thumbprint's input.
	jwk := `{"crv":"P-256","kty":"EC","x":"` + b64(point[1:33]) + `","y":"` + b64(point[33:]) + `"}`
	sum := sha256.Sum256([]byte(jwk))
	return DPoPKey{&proofJWK{
		private:    private,
		header:     b64([]byte(`{"typ":"dpop+jwt","alg":"` + DPoPAlgorithm + `","jwk":` + jwk + `}`)),
		thumbprint: b64(sum[:]),
	}}, nil
}

// IsZero reports whether there is no key.
func (k DPoPKey) IsZero() bool { return k.k == nil }

// Thumbprint is the key's SHA-256 thumbprint (RFC 7638): the dpop_jkt of an authorization request (§10), and what a token's
// cnf.jkt must name. "" for the zero Key.
func (k DPoPKey) Thumbprint() string {
	if k.IsZero() {
		return ""
	}
	return k.k.thumbprint
}

type proofClaims struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URI    string `json:"htu"`
	Issued int64  `json:"iat"`
	Hash   string `json:"ath,omitempty"`
	Nonce  string `json:"nonce,omitempty"`
}

// Proof returns a fresh proof (§4.2) for one request by method ("": GET) to target. accessToken is the token sent with it, zero at the
// authorization server; nonce is the server's, or "". Where a request's Host differs from its URL's, target must carry the former.
func (k DPoPKey) Proof(method string, target *url.URL, accessToken wire.Secret, nonce string) (string, error) {
	if k.IsZero() {
		return "", ErrDPoPKey
	}
	uri, err := targetURI(target)
	if err != nil {
		return "", err
	}
	if method == "" {
		method = "GET"
	}
	c := proofClaims{ID: rand.Text(), Method: method, URI: uri, Issued: time.Now().Unix(), Nonce: nonce} // rand.Text: 130 bits
	if !accessToken.IsZero() {
		sum := sha256.Sum256([]byte(accessToken.Reveal()))
		c.Hash = b64(sum[:])
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("DPoP proof: %w", err)
	}
	input := k.k.header + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.k.private, digest[:])
	if err != nil {
		return "", fmt.Errorf("DPoP proof: %w", err)
	}
	var signature [64]byte // RFC 7518 §3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature[:]), nil
}

// targetURI is htu: the URL as it goes over the wire, without query and fragment, normalised as RFC 3986 §6.2.2 and §6.2.3 say
// for case, default port and empty path. The path stays as it is sent: the server sees no other.
func targetURI(u *url.URL) (string, error) {
	if u == nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%w: it is not an absolute http URL", ErrDPoPURL)
	}
	for i := range len(u.Host) {
		if u.Host[i] >= 0x80 {
			return "", fmt.Errorf("%w: write its host name in the ASCII form (xn--…), which is what the server sees", ErrDPoPURL)
		}
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return wire.Origin(u) + path, nil
}

const redactedKey = "[redacted]"

// String implements [fmt.Stringer].
func (k DPoPKey) String() string {
	if k.IsZero() {
		return ""
	}
	return redactedKey
}

// Format implements [fmt.Formatter].
func (k DPoPKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON; [Key.Marshal] is what stores a key.
func (k DPoPKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue implements [slog.LogValuer].
func (k DPoPKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
