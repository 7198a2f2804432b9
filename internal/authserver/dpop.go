package authserver

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	maxSkew    = time.Minute     // between the clocks of server and client
	nonceSpan  = 2 * time.Minute // a nonce is good for one to two of these
	dpopHeader = "DPoP"
)

// nonceRole says which server gave a nonce. A nonce of the authorization server
// is of no use at a resource server (RFC 9449 §9).
type nonceRole string

const (
	noncesOfServer   nonceRole = "server"
	noncesOfResource nonceRole = "resource"
)

// nonce returns the nonce of a time. It is derived from the clock, so that
// nonces take no memory.
func (s *Server) nonce(role nonceRole, at time.Time) string {
	mac := hmac.New(sha256.New, s.nonceKey)
	fmt.Fprintf(mac, "%s %d", role, at.UnixNano()/int64(nonceSpan))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// proofClaims are the claims of a DPoP proof (RFC 9449 §4.2).
type proofClaims struct {
	ID          string   `json:"jti"`
	Method      string   `json:"htm"`
	URL         string   `json:"htu"`
	IssuedAt    *float64 `json:"iat"`
	AccessToken *string  `json:"ath"`
	Nonce       *string  `json:"nonce"`
}

// badProof is the error of RFC 9449 §5.
func badProof(why string) *oauthError { return fail("invalid_dpop_proof", why) }

// checkProof checks the DPoP proof of a request to target (RFC 9449 §4.3). It
// returns the thumbprint of the proof's key, or "" if there is no proof.
// accessToken is the token of the request; "" at the server's own endpoints.
func (s *Server) checkProof(
	r *http.Request, target, accessToken string, role nonceRole, needNonce bool,
) (jkt string, e *oauthError) {
	headers := r.Header.Values(dpopHeader)
	switch {
	case len(headers) == 0:
		return "", nil
	case len(headers) > 1:
		return "", badProof("there is more than one DPoP header")
	}
	claims, jkt, e := openProof(headers[0])
	if e == nil {
		e = s.checkProofClaims(claims, r.Method, target, accessToken)
	}
	if e == nil && needNonce {
		e = s.checkNonce(claims, role)
	}
	if e != nil {
		return "", e
	}
	// Last, so that a rejected proof may be sent again with a nonce.
	if !s.firstSight("proof "+jkt+" "+claims.ID, s.now().Add(2*maxSkew)) {
		return "", badProof("jti was used before")
	}
	return jkt, nil
}

// openProof verifies a proof's signature with the key that it carries.
func openProof(proof string) (claims proofClaims, jkt string, e *oauthError) {
	if len(proof) > maxParam {
		return claims, "", badProof("the proof is too long")
	}
	jws, err := jose.ParseSignedCompact(proof, asymmetric)
	if err != nil {
		return claims, "", badProof("it is no JWT signed with an accepted algorithm")
	}
	header := jws.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return claims, "", badProof("typ is not dpop+jwt")
	}
	key := header.JSONWebKey
	if !goodKey(key) {
		return claims, "", badProof("jwk is missing, weak, or no public key")
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return claims, "", badProof("its signature does not verify")
	}
	if wire.UnmarshalJSON(payload, &claims) != nil {
		return claims, "", badProof("its claims are malformed")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return claims, "", badProof("jwk has no thumbprint")
	}
	return claims, base64.RawURLEncoding.EncodeToString(thumbprint), nil
}

// checkProofClaims checks that a proof was made for this request, and now.
func (s *Server) checkProofClaims(c proofClaims, method, target, accessToken string) *oauthError {
	now := s.now()
	switch {
	case c.Method != method:
		return badProof("htm is not the method of the request")
	case !sameTarget(c.URL, target):
		return badProof("htu is not the address of the request")
	case c.IssuedAt == nil:
		return badProof("iat is missing")
	case now.Sub(unixTime(*c.IssuedAt)).Abs() > maxSkew:
		return badProof("iat is too far from now")
	case accessToken == "" && c.AccessToken != nil:
		return badProof("ath is there, and no access token")
	case accessToken != "" &&
		(c.AccessToken == nil || !equal(*c.AccessToken, tokenHash(accessToken))):
		return badProof("ath is not the hash of the access token")
	case len(c.ID) < 16 || len(c.ID) > 256: // 16 characters of base64url are 96 bits (§4.2)
		return badProof("jti is too short or too long")
	}
	return nil
}

// checkNonce checks that a proof has a nonce of now or of the span before. An
// error tells the client to take the new one (RFC 9449 §8).
func (s *Server) checkNonce(c proofClaims, role nonceRole) *oauthError {
	now := s.now()
	switch {
	case c.Nonce == nil:
		return fail("use_dpop_nonce", "the proof needs the nonce of the DPoP-Nonce header")
	case !equal(*c.Nonce, s.nonce(role, now)) &&
		!equal(*c.Nonce, s.nonce(role, now.Add(-nonceSpan))):
		return fail("use_dpop_nonce",
			"the nonce is not one of ours, or too old; take that of the DPoP-Nonce header")
	}
	return nil
}

// serverProof is checkProof at one of the server's own endpoints. If the server
// demands nonces, every response brings the next one.
func (s *Server) serverProof(r *request, path string) (jkt string, e *oauthError) {
	if s.cfg.DPoPNonce {
		r.header.Set("DPoP-Nonce", s.nonce(noncesOfServer, s.now()))
	}
	return s.checkProof(r.Request, s.URL(path), "", noncesOfServer, s.cfg.DPoPNonce)
}

// sameTarget compares htu with the address of the request, after the
// normalisation of RFC 3986 §6.2.2 and §6.2.3 (RFC 9449 §4.3). An htu with a
// query or a fragment is wrong (§4.2).
func sameTarget(htu, target string) bool {
	a, err := url.Parse(htu)
	if err != nil || a.RawQuery != "" || a.ForceQuery || a.Fragment != "" || a.User != nil {
		return false
	}
	b, err := url.Parse(target)
	if err != nil {
		return false
	}
	// A URL may have no path (RFC 3986 §6.2.3).
	return wire.Origin(a) == wire.Origin(b) &&
		cmp.Or(a.EscapedPath(), "/") == cmp.Or(b.EscapedPath(), "/")
}

// tokenHash returns the base64url of a SHA-256: the ath of an access token, or
// the S256 challenge of a PKCE verifier.
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// equal compares secrets in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
