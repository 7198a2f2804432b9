package authserver

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Trusted is another issuer whose JWTs the server accepts as a grant (RFC 7523
// §2.1) and as the subject of a token exchange (RFC 8693).
type Trusted struct {
	Issuer string
	// Keys returns the issuer's public keys. It is called for each JWT.
	Keys func() jose.JSONWebKeySet
	// Users means that the issuer is a company's identity provider. Its JWTs are
	// identity assertions about users of this server, and no other JWT of it is
	// accepted (draft-ietf-oauth-identity-assertion-authz-grant). Otherwise they are
	// about programs, and each JWT may be used until it expires, or once if Once is
	// set.
	Users, Once bool
}

// idJAGType is the typ of an identity assertion.
const idJAGType = "oauth-id-jag+jwt"

// foreignClaims are the claims of a JWT that somebody else presents.
type foreignClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  any      `json:"aud"`
	Expiry    *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
	ID        string   `json:"jti"`
	Client    string   `json:"client_id"`
	Resource  any      `json:"resource"`
	Scope     *string  `json:"scope"`
	Email     string   `json:"email"`
	AuthTime  *float64 `json:"auth_time"`
	ACR       string   `json:"acr"`
}

// PublicKeys returns the keys that verify what the server signs, for Trusted.
func (s *Server) PublicKeys() jose.JSONWebKeySet { return s.publicKeys() }

// verifyForeign returns the claims of raw and its issuer, which is one of issuers.
// why says what is wrong with it; "": nothing.
func (s *Server) verifyForeign(raw string, issuers []Trusted) (c foreignClaims, by Trusted, why string) {
	jws, err := jose.ParseSignedCompact(raw, asymmetric)
	if err != nil {
		return c, by, "it is no JWT signed with an accepted algorithm"
	}
	_ = wire.UnmarshalJSON(jws.UnsafePayloadWithoutVerification(), &c)
	i := slices.IndexFunc(issuers, func(t Trusted) bool { return t.Issuer == c.Issuer })
	if i < 0 {
		return c, by, "its issuer is not trusted"
	}
	by = issuers[i]
	keys := by.Keys()
	payload := verifyAssertion(&Client{Keys: &keys}, jws)
	c = foreignClaims{}
	typ, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	now := s.now()
	switch {
	case payload == nil:
		return c, by, "none of its issuer's keys verifies its signature"
	case wire.UnmarshalJSON(payload, &c) != nil:
		return c, by, "its claims are malformed"
	case (typ == idJAGType) != by.Users:
		return c, by, "its typ is of another kind of token"
	case c.Subject == "":
		return c, by, "sub is missing"
	case c.Expiry == nil || !now.Before(unixTime(*c.Expiry)):
		return c, by, "it has expired"
	case c.NotBefore != nil && unixTime(*c.NotBefore).After(now.Add(maxSkew)):
		return c, by, "nbf lies ahead"
	}
	return c, by, ""
}

// readAssertion checks the JWT of an assertion grant, and what it grants (RFC 7523
// §3). An identity assertion is for this server and this client, and is good once.
func (s *Server) readAssertion(t *tokenRequest) *oauthError {
	c, by, why := s.verifyPlatform(t.form.Get("assertion"))
	if why == "" && by.Users && c.Client != t.client.ID {
		why = "client_id is another client"
	}
	if why != "" {
		return invalidGrant("assertion: " + why)
	}
	if !by.Users {
		return s.grantProgram(t, c.Subject, c)
	}
	g := &grant{client: t.client.ID, user: s.userOf(c.Subject), authTime: s.now(), resources: t.resources}
	if g.user == "" {
		return invalidGrant("assertion: its user is not known here")
	}
	return s.grantWithin(t, g, c)
}

// grantWithin makes g the grant of t. It is for what the assertion allows at most.
func (s *Server) grantWithin(t *tokenRequest, g *grant, c foreignClaims) *oauthError {
	asked := scopesOf(t)
	g.scope = asked
	if c.Scope != nil {
		allowed := strings.Fields(*c.Scope)
		if g.scope = intersect(asked, allowed); asked == nil {
			g.scope = allowed
		}
	}
	g.scope = s.narrow(g.scope)
	if of := texts(c.Resource); of != nil {
		if !subset(t.resources, of) {
			return fail("invalid_target", "the assertion is for another resource")
		}
		g.resources = of
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.epoch = s.epoch
	t.given = g
	return nil
}

// scopesOf returns the scopes that t asks for; nil: it says none.
func scopesOf(t *tokenRequest) []string { return unique(strings.Fields(t.form.Get("scope"))) }

// texts reads a string or a list of strings. nil: there is none.
func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// userOf returns the name of the user with that sub; "": there is none.
func (s *Server) userOf(subject string) string {
	if s.cfg.Users == nil && s.subject(subject) == subject {
		return subject
	}
	for name := range s.cfg.Users {
		if s.subject(name) == subject {
			return name
		}
	}
	return ""
}

// idJAGLifetime is enough to send an assertion on at once.
const idJAGLifetime = 5 * time.Minute

// exchange answers a token exchange of one of the server's own ID tokens for an
// identity assertion for another authorization server.
func (s *Server) exchange(r *request, t *tokenRequest) (*reply, *oauthError) {
	own := []Trusted{{Issuer: s.cfg.Issuer, Keys: s.publicKeys}}
	c, _, why := s.verifyForeign(t.form.Get("subject_token"), own)
	audience := t.form.Get("audience")
	switch {
	case t.form.Get("subject_token_type") != tokenTypeID:
		return nil, invalidRequest("subject_token_type is not an ID token")
	case why != "":
		return nil, invalidGrant("subject_token: " + why)
	case c.Audience != t.client.ID:
		return nil, invalidGrant("subject_token: it was issued to another client")
	case audience == "" || audience == s.cfg.Issuer:
		return nil, fail("invalid_target", "audience must be the issuer of another authorization server")
	}
	now := s.now()
	claims := map[string]any{
		"iss": s.cfg.Issuer, "sub": c.Subject, "aud": audience, "client_id": t.client.ID,
		"jti": newToken("jag_"), "iat": now.Unix(), "exp": now.Add(idJAGLifetime).Unix(),
	}
	for name, value := range map[string]string{"email": c.Email, "acr": c.ACR} {
		if value != "" {
			claims[name] = value
		}
	}
	if c.AuthTime != nil {
		claims["auth_time"] = int64(*c.AuthTime)
	}
	switch len(t.resources) {
	case 0:
	case 1:
		claims["resource"] = t.resources[0]
	default:
		claims["resource"] = t.resources
	}
	scope := strings.Join(unique(strings.Fields(t.form.Get("scope"))), " ")
	if scope != "" {
		claims["scope"] = scope
	}
	if s.cfg.EditAssertion != nil {
		s.cfg.EditAssertion(claims)
	}
	raw, err := s.key().sign(idJAGType, claims)
	if err != nil {
		return nil, serverError("the assertion cannot be signed")
	}
	r.header.Set("Pragma", "no-cache") // RFC 6749 §5.1
	return jsonReply(http.StatusOK, &tokenResponse{
		AccessToken: raw, IssuedTokenType: tokenTypeIDJAG, TokenType: "N_A",
		ExpiresIn: int(idJAGLifetime.Seconds()), Scope: scope,
	})
}
