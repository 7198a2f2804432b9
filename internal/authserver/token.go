package authserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// tokenResponse is RFC 6749 §5.1 and OpenID Connect Core §3.1.3.3.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope"`
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	form, e := readForm(w, r)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	c, e := s.authenticate(r, form)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	kind := form.Get("grant_type")
	switch {
	case kind == "":
		e = invalidRequest("grant_type is missing")
	case kind != grantCode && kind != grantRefresh && kind != grantDevice:
		e = refuse("unsupported_grant_type", "this grant_type is not supported")
	case !c.may(kind):
		e = refuse("unauthorized_client", "this client may not use this grant")
	}
	if e != nil {
		answerRefusal(w, e)
		return
	}
	jkt, e := s.serverProof(w, r, "/token")
	if e == nil && jkt == "" && (s.cfg.RequireDPoP || c.RequireDPoP) {
		e = badProof("a DPoP proof is required")
	}
	if e != nil {
		answerRefusal(w, e)
		return
	}

	out, idToken, e := s.redeem(c, kind, form, jkt)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	if idToken != nil {
		raw, err := s.signIDToken(idToken, out.AccessToken)
		if err != nil {
			http.Error(w, "the ID token cannot be signed", http.StatusInternalServerError)
			return
		}
		out.IDToken = raw
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749 §5.1
	answer(w, http.StatusOK, out)
}

// redeem gives tokens for what form presents. The ID token is signed by the caller, outside of the lock; nil: there is none.
func (s *Server) redeem(c *Client, kind string, form url.Values, jkt string) (*tokenResponse, *idTokenOf, *refusal) {
	challenge := ""
	if v := form.Get("code_verifier"); v != "" {
		if !validVerifier(v) {
			return nil, nil, invalidRequest("code_verifier is not 43 to 128 unreserved characters (RFC 7636 §4.1)")
		}
		challenge = tokenHash(v)
	}
	resources := form["resource"]
	if e := s.checkResources(resources); e != nil {
		return nil, nil, e
	}
	withinGrant := func(g *grant) *refusal {
		if !subset(resources, g.resources) {
			return refuse("invalid_target", "a resource was not part of the authorization request")
		}
		return nil
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	var g *grant
	var e *refusal
	var scope []string
	var refreshToken string
	switch kind {
	case grantCode:
		switch {
		case form.Get("code") == "":
			return nil, nil, invalidRequest("code is missing")
		case form.Get("redirect_uri") == "":
			return nil, nil, invalidRequest("redirect_uri is missing")
		case challenge == "":
			return nil, nil, invalidRequest("code_verifier is missing (RFC 7636)")
		}
		if g, e = s.redeemCode(c, form.Get("code"), form.Get("redirect_uri"), challenge, jkt); e == nil {
			e = withinGrant(g)
		}
	case grantDevice:
		if form.Get("device_code") == "" {
			return nil, nil, invalidRequest("device_code is missing")
		}
		if g, e = s.poll(c, form.Get("device_code"), challenge); e == nil {
			e = withinGrant(g)
		}
	case grantRefresh:
		if form.Get("refresh_token") == "" {
			return nil, nil, invalidRequest("refresh_token is missing")
		}
		scope = unique(strings.Fields(form.Get("scope")))
		g, refreshToken, e = s.redeemRefresh(c, form.Get("refresh_token"), jkt, func(g *grant) *refusal {
			if !subset(scope, g.scope) {
				return refuse("invalid_scope", "scope asks for more than was granted (RFC 6749 §6)")
			}
			return withinGrant(g)
		})
	}
	if e != nil {
		return nil, nil, e
	}

	if scope == nil {
		scope = g.scope
	}
	if resources == nil {
		resources = g.resources
	}
	if kind != grantRefresh && slices.Contains(g.scope, "offline_access") && c.may(grantRefresh) {
		if c.auth() == AuthNone {
			g.jkt = jkt // a confidential client's refresh tokens are bound to its authentication instead (RFC 9449 §5)
		}
		refreshToken = s.newRefreshToken(g)
	}
	out := &tokenResponse{
		AccessToken:  s.newAccessToken(g, scope, resources, jkt),
		TokenType:    "Bearer",
		ExpiresIn:    int(s.cfg.AccessTokenLifetime.Seconds()),
		RefreshToken: refreshToken,
		Scope:        strings.Join(scope, " "),
	}
	if jkt != "" {
		out.TokenType = "DPoP"
	}
	if !slices.Contains(scope, "openid") {
		return out, nil, nil
	}
	return out, &idTokenOf{grant: g, scope: scope, first: kind != grantRefresh}, nil
}

// idTokenOf is what an ID token is made from.
type idTokenOf struct {
	grant *grant
	scope []string
	first bool // of this sign-in, so it has the nonce (OpenID Connect Core §12.2)
}

func (s *Server) signIDToken(of *idTokenOf, accessToken string) (string, error) {
	key, now, g := s.key(), s.now(), of.grant
	claims := s.claimsFor(g, of.scope, g.claims.IDToken)
	for name, v := range map[string]any{
		"iss":       s.cfg.Issuer,
		"aud":       g.client,
		"azp":       g.client,
		"iat":       now.Unix(),
		"exp":       now.Add(s.cfg.IDTokenLifetime).Unix(),
		"auth_time": g.authTime.Unix(),
		"at_hash":   halfHash(key.alg, accessToken),
	} {
		claims[name] = v
	}
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

// claimScope is the scope that tells a claim (OpenID Connect Core §5.4). A claim of no scope is always told.
func claimScope(claim string) string {
	switch claim {
	case "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
		"website", "gender", "birthdate", "zoneinfo", "locale", "updated_at":
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

// claimsFor returns what a client may know of a person: by scope, and by name through the claims parameter.
func (s *Server) claimsFor(g *grant, scope []string, named map[string]any) map[string]any {
	all, _ := s.user(g.user)
	told := map[string]any{"sub": s.subject(g.user)}
	for name, v := range all {
		_, asked := named[name]
		if sc := claimScope(name); asked || sc == "" || slices.Contains(scope, sc) {
			told[name] = v
		}
	}
	return told
}

// readHint reads an ID token that this server issued, which may have expired (OpenID Connect Core §3.1.2.1).
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
