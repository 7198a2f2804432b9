package authserver

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// tokenResponse is a successful token response (RFC 6749 §5.1, OpenID Connect
// Core §3.1.3.3).
type tokenResponse struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"` // RFC 8693 §2.2.1
	TokenType       string `json:"token_type"`
	ExpiresIn       int    `json:"expires_in"`
	RefreshToken    string `json:"refresh_token,omitempty"`
	IDToken         string `json:"id_token,omitempty"`
	Scope           string `json:"scope"`
}

// tokenRequest is a token request of an authenticated client.
type tokenRequest struct {
	client    *Client
	kind      string // its grant_type
	form      url.Values
	challenge string   // the S256 challenge of code_verifier; "" without one
	scope     []string // of a refresh; nil means all of the grant
	resources []string // nil means all of the grant
	jkt       string   // the key of its DPoP proof; "" without one
	given     *grant   // what an assertion grants; nil without one
}

// serveToken is the token endpoint (RFC 6749 §3.2).
func (s *Server) serveToken(r *request) (*reply, *oauthError) {
	t, e := s.readTokenRequest(r)
	if e != nil {
		return nil, e
	}
	switch {
	case t.kind == grantExchange && t.form.Get("subject_token_type") == tokenTypeID:
		return s.exchange(r, t)
	case t.kind == grantExchange:
		e = s.readSubject(t)
	case t.kind == grantAssertion:
		e = s.readAssertion(t)
	case t.kind == grantClient:
		e = s.clientCredentials(t)
	}
	if e != nil {
		return nil, e
	}
	out, idToken, e := s.redeem(t)
	if e != nil {
		return nil, e
	}
	if idToken != nil {
		raw, err := s.signIDToken(idToken, out.AccessToken)
		if err != nil {
			return nil, serverError("the ID token cannot be signed")
		}
		out.IDToken = raw
	}
	r.header.Set("Pragma", "no-cache") // RFC 6749 §5.1
	return jsonReply(http.StatusOK, out)
}

// required are the parameters of each grant type besides grant_type. PKCE is
// not optional.
func required(kind string) []string {
	switch kind {
	case grantCode:
		return []string{"code", "redirect_uri", "code_verifier"}
	case grantDevice:
		return []string{"device_code"}
	case grantClient:
		return nil
	case grantAssertion:
		return []string{"assertion"}
	case grantExchange:
		return []string{"subject_token", "subject_token_type"}
	}
	return []string{"refresh_token"}
}

func (s *Server) readTokenRequest(r *request) (*tokenRequest, *oauthError) {
	form := r.params
	t := &tokenRequest{
		client: r.client, kind: form.Get("grant_type"), form: form, resources: form["resource"],
	}
	switch {
	case t.kind == "":
		return nil, invalidRequest("grant_type is missing")
	case !slices.Contains(s.grants(), t.kind):
		return nil, fail("unsupported_grant_type", "this grant_type is not supported")
	case !t.client.may(t.kind):
		return nil, fail("unauthorized_client", "this client may not use this grant")
	}
	var e *oauthError
	t.jkt, e = s.serverProof(r, "/token")
	if e == nil && t.jkt == "" && (s.cfg.RequireDPoP || t.client.RequireDPoP) {
		e = badProof("a DPoP proof is required")
	}
	if e == nil {
		e = missing(form, required(t.kind)...)
	}
	if e != nil {
		return nil, e
	}
	if v := form.Get("code_verifier"); v != "" {
		if !validVerifier(v) {
			return nil, invalidRequest(
				"code_verifier is not 43 to 128 unreserved characters (RFC 7636 §4.1)")
		}
		t.challenge = tokenHash(v)
	}
	if t.kind == grantRefresh {
		t.scope = unique(strings.Fields(form.Get("scope")))
	}
	return t, s.checkResources(t.resources)
}

// within reports whether a request stays within the grant. It may ask for less
// (RFC 6749 §6, RFC 8707 §2.2).
func (t *tokenRequest) within(g *grant) *oauthError {
	if !subset(t.scope, g.scope) {
		return fail("invalid_scope", "scope asks for more than was granted (RFC 6749 §6)")
	}
	if !subset(t.resources, g.resources) {
		return fail("invalid_target", "a resource was not part of the authorization request")
	}
	return nil
}

// redeem issues tokens for what the request presents. It does so under the
// lock, so that of two requests with one code only one gets tokens. The caller
// signs the ID token outside of the lock. idToken is nil if there is none.
func (s *Server) redeem(t *tokenRequest) (out *tokenResponse, idToken *idTokenOf, e *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *grant
	var refreshToken string
	switch t.kind {
	case grantCode:
		g, e = s.redeemCode(t)
	case grantDevice:
		g, e = s.poll(t)
	case grantRefresh:
		g, refreshToken, e = s.redeemRefresh(t)
	default:
		g = t.given
	}
	if e != nil {
		return nil, nil, e
	}
	// An assertion can be had again, so nothing outlives it (RFC 7521 §4.1).
	offline := slices.Contains(g.scope, "offline_access") && t.client.may(grantRefresh) && t.given == nil
	if offline && t.kind != grantRefresh {
		if t.client.auth() == AuthNone {
			// A confidential client's refresh tokens are bound to its
			// authentication instead (RFC 9449 §5).
			g.jkt = t.jkt
		}
		refreshToken = s.newRefreshToken(g)
	}
	scope, resources := t.scope, t.resources
	if scope == nil {
		scope = g.scope
	}
	if resources == nil {
		resources = g.resources
	}
	access := &token{grant: g, scope: scope, audience: resources, jkt: t.jkt}
	out = &tokenResponse{
		AccessToken:  s.issue("at_", access, s.cfg.AccessTokenLifetime),
		TokenType:    tokenType(t.jkt),
		ExpiresIn:    int(s.cfg.AccessTokenLifetime.Seconds()),
		RefreshToken: refreshToken,
		Scope:        strings.Join(scope, " "),
	}
	if t.kind == grantExchange {
		out.IssuedTokenType = tokenTypeAccess
	}
	if slices.Contains(scope, "openid") && t.given == nil {
		idToken = &idTokenOf{grant: g, scope: scope, first: t.kind != grantRefresh}
	}
	return out, idToken, nil
}

// tokenType is the token_type of an access token that is bound to a DPoP key,
// or to none.
func tokenType(jkt string) string {
	if jkt != "" {
		return "DPoP"
	}
	return "Bearer"
}

// idTokenOf is what an ID token is made from.
type idTokenOf struct {
	grant *grant
	scope []string
	first bool // the first of this sign-in: only that has the nonce (OpenID Connect Core §12.2)
}

// signIDToken makes an ID token (OpenID Connect Core §2). Its at_hash binds it
// to accessToken (§3.1.3.6).
func (s *Server) signIDToken(of *idTokenOf, accessToken string) (string, error) {
	key, now, g := s.key(), s.now(), of.grant
	claims := s.claimsFor(g, of.scope, g.claims.IDToken)
	maps.Copy(claims, map[string]any{
		"iss":       s.cfg.Issuer,
		"aud":       g.client,
		"azp":       g.client,
		"iat":       now.Unix(),
		"exp":       now.Add(s.cfg.IDTokenLifetime).Unix(),
		"auth_time": g.authTime.Unix(),
		"at_hash":   halfHash(key.alg, accessToken),
	})
	if g.acr != "" {
		claims["acr"] = g.acr
	}
	if of.first && g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	if s.cfg.EditIDToken != nil {
		s.cfg.EditIDToken(claims)
	}
	return key.sign("JWT", claims)
}

// claimScope returns the scope that a claim belongs to (OpenID Connect Core
// §5.4), or "" for a claim that belongs to none and is always released.
func claimScope(claim string) string {
	switch claim {
	case "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username",
		"profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at":
		return "profile"
	case "email", "email_verified":
		return "email"
	case "phone_number", "phone_number_verified":
		return "phone"
	case "address":
		return "address"
	}
	return ""
}

// claimsFor returns the claims about the user that a client may know: by scope,
// and by name through the claims parameter.
func (s *Server) claimsFor(g *grant, scope []string, named map[string]any) map[string]any {
	claims, _ := s.user(g.user)
	maps.DeleteFunc(claims, func(name string, _ any) bool {
		_, wanted := named[name]
		sc := claimScope(name)
		return !wanted && sc != "" && !slices.Contains(scope, sc)
	})
	return claims
}

// readHint reads an ID token that this server issued. It may have expired
// (OpenID Connect Core §3.1.2.1).
func (s *Server) readHint(raw string) (sub, client string, ok bool) {
	jws, err := jose.ParseSignedCompact(raw, asymmetric)
	if err != nil {
		return "", "", false
	}
	for _, k := range s.publicKeys().Keys {
		payload, err := jws.Verify(k.Key)
		if err != nil || k.KeyID != jws.Signatures[0].Protected.KeyID {
			continue
		}
		var claims struct {
			Issuer   string `json:"iss"`
			Subject  string `json:"sub"`
			Audience string `json:"aud"`
		}
		if wire.UnmarshalJSON(payload, &claims) == nil && claims.Issuer == s.cfg.Issuer {
			return claims.Subject, claims.Audience, true
		}
	}
	return "", "", false
}
