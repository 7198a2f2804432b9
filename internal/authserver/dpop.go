package authserver

import (
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
	maxSkew    = time.Minute
	nonceSpan  = 2 * time.Minute // a nonce is good for one to two of these
	dpopHeader = "DPoP"
)

// audience of a nonce: one that the authorization server gave is of no use at a resource server (RFC 9449 §9).
type nonceRole string

const (
	noncesOfServer   nonceRole = "server"
	noncesOfResource nonceRole = "resource"
)

// nonce is derived from the clock and so takes no memory.
func (s *Server) nonce(role nonceRole, at time.Time) string {
	mac := hmac.New(sha256.New, s.nonceKey)
	fmt.Fprintf(mac, "%s %d %d", role, at.UnixNano()/int64(nonceSpan), s.nonces.Load())
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

type proofClaims struct {
	ID          string   `json:"jti"`
	Method      string   `json:"htm"`
	URL         string   `json:"htu"`
	IssuedAt    *float64 `json:"iat"`
	AccessToken *string  `json:"ath"`
	Nonce       *string  `json:"nonce"`
}

func badProof(why string) *refusal { return refuse("invalid_dpop_proof", why) }

// checkProof checks the DPoP proof of a request to target (RFC 9449 §4.3) and returns its key's thumbprint, "" where
// there is no proof. accessToken is the one that came with the request; "" at the token endpoint.
func (s *Server) checkProof(r *http.Request, target, accessToken string, role nonceRole, needNonce bool) (jkt string, e *refusal) {
	headers := r.Header.Values(dpopHeader)
	switch len(headers) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", badProof("there is more than one DPoP header")
	}
	if len(headers[0]) > maxParam {
		return "", badProof("the proof is too long")
	}
	jws, err := jose.ParseSignedCompact(headers[0], asymmetric)
	if err != nil {
		return "", badProof("it is no JWT signed with an accepted algorithm")
	}
	header := jws.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return "", badProof("typ is not dpop+jwt")
	}
	key := header.JSONWebKey
	if !goodKey(key) {
		return "", badProof("jwk is missing, weak, or no public key")
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return "", badProof("its signature does not verify")
	}
	var claims proofClaims
	if wire.UnmarshalJSON(payload, &claims) != nil {
		return "", badProof("its claims are malformed")
	}
	now := s.now()
	switch {
	case claims.Method != r.Method:
		return "", badProof("htm is not the method of the request")
	case !sameTarget(claims.URL, target):
		return "", badProof("htu is not the address of the request")
	case claims.IssuedAt == nil:
		return "", badProof("iat is missing")
	case unixTime(*claims.IssuedAt).Before(now.Add(-maxSkew)) || unixTime(*claims.IssuedAt).After(now.Add(maxSkew)):
		return "", badProof("iat is too far from now")
	case accessToken == "" && claims.AccessToken != nil:
		return "", badProof("ath is there, and no access token")
	case accessToken != "" && (claims.AccessToken == nil || !equal(*claims.AccessToken, tokenHash(accessToken))):
		return "", badProof("ath is not the hash of the access token")
	case len(claims.ID) < 16 || len(claims.ID) > 256: // 96 bits in base64url
		return "", badProof("jti is too short or too long")
	}
	if needNonce {
		if claims.Nonce == nil {
			return "", refuse("use_dpop_nonce", "the proof needs the nonce of the DPoP-Nonce header")
		}
		if !equal(*claims.Nonce, s.nonce(role, now)) && !equal(*claims.Nonce, s.nonce(role, now.Add(-nonceSpan))) {
			return "", refuse("use_dpop_nonce", "the nonce is not one of ours, or too old; take that of the DPoP-Nonce header")
		}
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", badProof("jwk has no thumbprint")
	}
	jkt = base64.RawURLEncoding.EncodeToString(thumbprint)
	if !s.firstSight("proof "+jkt+" "+claims.ID, now.Add(2*maxSkew)) {
		return "", badProof("jti was used before")
	}
	return jkt, nil
}

// serverProof is checkProof at the server's own endpoints. Where a nonce is demanded, every answer brings the next one.
func (s *Server) serverProof(w http.ResponseWriter, r *http.Request, path string) (jkt string, e *refusal) {
	if s.cfg.DPoPNonce {
		w.Header().Set("DPoP-Nonce", s.nonce(noncesOfServer, s.now()))
	}
	return s.checkProof(r, s.URL(path), "", noncesOfServer, s.cfg.DPoPNonce)
}

// sameTarget compares htu with the request's address, after the normalisation of RFC 3986 §6.2.2 and §6.2.3 (RFC 9449 §4.3).
// A query or fragment has no place in htu (§4.2).
func sameTarget(htu, target string) bool {
	a, err := url.Parse(htu)
	if err != nil || a.RawQuery != "" || a.ForceQuery || a.Fragment != "" || a.User != nil {
		return false
	}
	b, err := url.Parse(target)
	if err != nil {
		return false
	}
	return wire.Origin(a) == wire.Origin(b) && rooted(a.EscapedPath()) == rooted(b.EscapedPath())
}

func rooted(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// tokenHash is ath, and with a verifier for the token the S256 challenge: both are the base64url of a SHA-256.
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
