package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// assertionLifetime of an assertion: one request's worth, and a little for clocks that differ.
const assertionLifetime = time.Minute

// assertionAlgorithms returns what key can sign with, best known to servers first.
func assertionAlgorithms(key crypto.Signer) ([]string, error) {
	if key == nil {
		return nil, errors.New("the client's private key is nil")
	}
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return nil, errors.New("the client's RSA key has fewer than 2048 bits; make a new one")
		}
		return []string{"PS256", "RS256"}, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, errors.New("the client's private key is of a kind that no provider takes; use RSA, P-256 or Ed25519")
}

// assertion makes the JWT of RFC 7523 §3: fresh jti, one audience, a minute's life.
func (c *credential) assertion(clientID, audience string, offered []string) (string, error) {
	algs, err := assertionAlgorithms(*c.key)
	if err != nil {
		return "", err
	}
	alg := algs[len(algs)-1] // metadata is silent: RS256, which OpenID Connect makes every provider take
	if offered != nil {
		i := slices.IndexFunc(algs, func(a string) bool { return slices.Contains(offered, a) })
		if i < 0 {
			return "", fmt.Errorf("%w: the provider takes no signature that the client's private key makes", errors.ErrUnsupported)
		}
		alg = algs[i]
	}
	now := time.Now()
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid,omitempty"`
		Typ string `json:"typ"`
	}{alg, c.keyID, "JWT"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
	}{clientID, clientID, audience, rand.Text(), now.Unix(), now.Add(assertionLifetime).Unix()})
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(claims)
	sig, err := signAssertion(*c.key, alg, []byte(input))
	if err != nil {
		return "", fmt.Errorf("the client's private key did not sign: %w", err)
	}
	return input + "." + b64(sig), nil
}

// signAssertion makes a JWS signature (RFC 7518 §3) with any crypto.Signer, also one whose key lies in hardware.
func signAssertion(key crypto.Signer, alg string, input []byte) ([]byte, error) {
	if alg == "EdDSA" {
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hash := map[string]crypto.Hash{"ES384": crypto.SHA384, "ES512": crypto.SHA512}[alg]
	if hash == 0 {
		hash = crypto.SHA256
	}
	h := hash.New()
	h.Write(input)
	var opts crypto.SignerOpts = hash
	if alg == "PS256" {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := key.Sign(rand.Reader, h.Sum(nil), opts)
	pub, isEC := key.Public().(*ecdsa.PublicKey)
	if err != nil || !isEC {
		return sig, err
	}
	var rs struct{ R, S *big.Int } // a Signer gives ASN.1, a JWS wants both numbers at full width (RFC 7518 §3.4)
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return nil, errors.New("its signature is not an ECDSA signature")
	}
	size := (pub.Curve.Params().BitSize + 7) / 8
	if rs.R.BitLen() > 8*size || rs.S.BitLen() > 8*size {
		return nil, errors.New("its signature is not of its curve")
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}
