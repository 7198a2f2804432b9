package authserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	stdhash "hash"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// keptKeys is the number of signing keys that are published: the current one
// and those before it, with which older ID tokens were signed.
const keptKeys = 3

// signingKey is a key that signs ID tokens.
type signingKey struct {
	alg    jose.SignatureAlgorithm
	id     string
	signer crypto.Signer
}

// newSigningKey generates a key. Its id is random, so that a client notices a
// rotation by an id that it does not know.
func newSigningKey(alg string) (k signingKey, err error) {
	k = signingKey{alg: jose.SignatureAlgorithm(alg), id: newToken("key_")[:12]}
	switch k.alg {
	case jose.ES256:
		k.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	case jose.RS256, jose.PS256:
		k.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("authserver: SigningAlg %q is not ES256, RS256, PS256 or EdDSA", alg)
	}
	return k, err
}

// public is the key's entry in the published key set.
func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{
		Key: k.signer.Public(), KeyID: k.id, Algorithm: string(k.alg), Use: "sig",
	}
}

// sign returns claims as a compact JWS.
func (k signingKey) sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	key := jose.JSONWebKey{Key: k.signer, KeyID: k.id}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: key}, options)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// RotateKey makes a new signing key for alg; "" keeps the algorithm. The keys
// before it stay published until two more have come.
func (s *Server) RotateKey(alg string) error {
	if alg == "" {
		alg = string(s.key().alg)
	}
	k, err := newSigningKey(alg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, k)
	s.keys = s.keys[max(0, len(s.keys)-keptKeys):]
	return nil
}

// SigningKey returns the current signing key, its id and its algorithm. With it
// a test signs tokens that the server would not issue.
func (s *Server) SigningKey() (key crypto.Signer, keyID, alg string) {
	k := s.key()
	return k.signer, k.id, string(k.alg)
}

// key returns the key that signs now.
func (s *Server) key() signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1]
}

func (s *Server) publicKeys() jose.JSONWebKeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range s.keys {
		set.Keys = append(set.Keys, k.public())
	}
	return set
}

// serveJWKS answers with the key set (RFC 7517 §5).
func (s *Server) serveJWKS(*request) (*reply, *oauthError) {
	return jsonReply(http.StatusOK, s.publicKeys())
}

// goodKey reports whether k is a public key that a client may use. RSA keys
// need 2048 bits or more (RFC 7518 §3.3).
func goodKey(k *jose.JSONWebKey) bool {
	if k == nil || !k.Valid() || !k.IsPublic() {
		return false
	}
	r, isRSA := k.Key.(*rsa.PublicKey)
	return !isRSA || r.N.BitLen() >= 2048
}

// halfHash computes at_hash: the left half of the hash of text, by the hash
// function of alg (OpenID Connect Core §3.1.3.6).
func halfHash(alg jose.SignatureAlgorithm, text string) string {
	var h stdhash.Hash = sha256.New()
	if alg == jose.EdDSA {
		h = sha512.New() // Ed25519 hashes with SHA-512 (RFC 8032 §5.1)
	}
	h.Write([]byte(text))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
