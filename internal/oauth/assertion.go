// Makes signed client assertions (RFC 7523 §3).
//
// An assertion proves the client's key without sending a secret. It is for one
// server, one request and one minute, so a stolen one is worth little.

package oauth

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// assertionLifetime is enough for one request, and a little for clocks that
// differ.
const assertionLifetime = time.Minute

// assertionType is the client_assertion_type (RFC 7523 §2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionAlgorithms returns what key can sign with, the preferred one first.
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
	return nil, errors.New("the client's private key is of a kind that no provider takes; " +
		"use RSA, P-256 or Ed25519")
}

// assertionAlgorithm picks one of the algorithms that key has and the server
// offers. If offered is nil, the metadata say nothing; an RSA key then signs
// with RS256, which OpenID Connect requires of every provider.
func assertionAlgorithm(key crypto.Signer, offered []string) (string, error) {
	algs, err := assertionAlgorithms(key)
	if err != nil {
		return "", err
	}
	if offered == nil {
		return algs[len(algs)-1], nil
	}
	i := slices.IndexFunc(algs, func(a string) bool { return slices.Contains(offered, a) })
	if i < 0 {
		return "", fmt.Errorf("%w: the provider takes no signature that the client's private key makes",
			errors.ErrUnsupported)
	}
	return algs[i], nil
}

// assertion makes the JWT of RFC 7523 §3: fresh jti, one audience, a minute's
// life from now on.
func (c *credential) assertion(clientID, audience string, offered []string, now time.Time) (string, error) {
	alg, err := assertionAlgorithm(*c.key, offered)
	if err != nil {
		return "", err
	}
	header := map[string]any{"alg": alg, "typ": "JWT"}
	if c.keyID != "" {
		header["kid"] = c.keyID
	}
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	}
	input := b64JSON(header) + "." + b64JSON(claims)
	sig, err := signAssertion(*c.key, alg, []byte(input))
	if err != nil {
		return "", fmt.Errorf("the client's private key did not sign: %w", err)
	}
	return input + "." + b64(sig), nil
}

// signAssertion makes a JWS signature (RFC 7518 §3) with any crypto.Signer,
// also with a key in hardware.
func signAssertion(key crypto.Signer, alg string, input []byte) ([]byte, error) {
	if alg == "EdDSA" {
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	hashes := map[string]crypto.Hash{"ES384": crypto.SHA384, "ES512": crypto.SHA512}
	hash := cmp.Or(hashes[alg], crypto.SHA256)
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
	return fullWidth(sig, pub)
}

// fullWidth turns the ASN.1 signature of a Signer into the form of a JWS, which
// has both numbers at full width (RFC 7518 §3.4).
func fullWidth(sig []byte, pub *ecdsa.PublicKey) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(sig, &rs)
	if err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
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
