// Package josetest makes keys, key sets and signed tokens for tests, good ones
// and hostile ones. What cannot fail in a test panics.
package josetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 by crypto.Hash
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"testing"
)

// Algorithms are those that [New] makes keys for.
var Algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// Key signs tokens.
type Key struct {
	Alg, ID string
	Signer  crypto.Signer
	// Omit leaves members out of the JWK; Add puts members in.
	Omit []string
	Add  map[string]any
}

// New makes a fresh key for alg. If id is "", neither the JWK nor the tokens
// name it. An RSA key takes about a tenth of a second.
func New(tb testing.TB, alg, id string) *Key {
	tb.Helper()
	var signer crypto.Signer
	var err error
	switch alg {
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &Key{Alg: alg, ID: id, Signer: signer}
}

// JWK returns the public key as RFC 7517 §4 writes it, changed as Add and Omit
// say.
func (k *Key) JWK() map[string]any {
	m := map[string]any{"use": "sig", "alg": k.Alg}
	if k.ID != "" {
		m["kid"] = k.ID
	}
	switch pub := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		m["kty"], m["crv"] = "EC", pub.Params().Name
		m["x"], m["y"] = b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(pub)
	}
	for name, v := range k.Add {
		m[name] = v
	}
	for _, name := range k.Omit {
		delete(m, name)
	}
	return m
}

// Set returns the key set of keys.
func Set(keys ...*Key) []byte {
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = k.JWK()
	}
	return JSON(map[string]any{"keys": list})
}

// Handler serves the key set of keys, as a provider's jwks_uri does.
func Handler(keys ...*Key) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(Set(keys...))
	}
}

// Sign returns claims as a compact JWS with the usual header.
func (k *Key) Sign(claims any) string { return k.SignWith(nil, claims) }

// SignWith is Sign with members of the header replaced. A nil value leaves the
// member out.
func (k *Key) SignWith(header map[string]any, claims any) string {
	h := map[string]any{"alg": k.Alg, "typ": "JWT"}
	if k.ID != "" {
		h["kid"] = k.ID
	}
	for name, v := range header {
		h[name] = v
		if v == nil {
			delete(h, name)
		}
	}
	return k.SignRaw(JSON(h), JSON(claims))
}

// SignRaw signs any bytes as header and payload with the key's algorithm. The
// header may lie about the algorithm.
func (k *Key) SignRaw(header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + k.SignInput(input)
}

// SignInput returns the signature part for any signing input (RFC 7515 §5.1).
func (k *Key) SignInput(input string) string { return b64(k.sign([]byte(input))) }

// HMAC signs as HS256 with secret, whatever header says. It makes the tokens of
// the attack in which a public key is the secret (S72).
func HMAC(secret, header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

func (k *Key) sign(input []byte) []byte {
	hash := map[string]crypto.Hash{
		"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512,
	}[k.Alg[2:]] // 0 for EdDSA, which hashes by itself
	digest := input
	var opts crypto.SignerOpts = crypto.Hash(0)
	if hash != 0 {
		h := hash.New()
		h.Write(input)
		digest, opts = h.Sum(nil), hash
	}
	if k.Alg[0] == 'P' {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	if ec, ok := k.Signer.(*ecdsa.PrivateKey); ok {
		// A JWS has both numbers at full width (RFC 7518 §3.4); a Signer gives
		// ASN.1.
		r, s, err := ecdsa.Sign(rand.Reader, ec, digest)
		if err != nil {
			panic(err)
		}
		size := (ec.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
		return out
	}
	sig, err := k.Signer.Sign(rand.Reader, digest, opts)
	if err != nil {
		panic(fmt.Sprintf("josetest: %s: %v", k.Alg, err))
	}
	return sig
}

// JSON is json.Marshal for values that cannot fail. A []byte is taken as it is.
func JSON(v any) []byte {
	if b, ok := v.([]byte); ok {
		return b
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
