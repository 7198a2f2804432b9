package authserver

import "slices"

// tokenTypeJWT and tokenTypeAccess are token types (RFC 8693 §3).
const (
	tokenTypeJWT    = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeAccess = "urn:ietf:params:oauth:token-type:access_token"
)

// clientCredentials grants a client tokens about itself (RFC 6749 §4.4).
func (s *Server) clientCredentials(t *tokenRequest) *oauthError {
	if t.client.auth() == AuthNone {
		return fail("unauthorized_client", "client credentials need a client that authenticates itself")
	}
	return s.grantProgram(t, t.client.ID, foreignClaims{})
}

// readSubject checks a JWT that is exchanged for an access token, and grants that
// (RFC 8693).
func (s *Server) readSubject(t *tokenRequest) *oauthError {
	wanted := t.form.Get("requested_token_type")
	if t.form.Get("subject_token_type") != tokenTypeJWT || wanted != "" && wanted != tokenTypeAccess {
		return invalidRequest("this exchange takes a JWT and gives an access token")
	}
	c, by, why := s.verifyPlatform(t.form.Get("subject_token"))
	switch {
	case why != "":
		return invalidGrant("subject_token: " + why)
	case by.Users:
		return invalidGrant("subject_token: it is about a user")
	}
	return s.grantProgram(t, c.Subject, c)
}

// grantProgram makes t's grant one about the program subject.
func (s *Server) grantProgram(t *tokenRequest, subject string, c foreignClaims) *oauthError {
	for _, scope := range []string{"openid", "offline_access"} {
		if slices.Contains(scopesOf(t), scope) {
			return fail("invalid_scope", scope+" is about a user, and there is none")
		}
	}
	return s.grantWithin(t, &grant{client: t.client.ID, subject: subject, resources: t.resources}, c)
}

// verifyPlatform is verifyForeign for a JWT for this server, which may be good once.
func (s *Server) verifyPlatform(raw string) (c foreignClaims, by Trusted, why string) {
	c, by, why = s.verifyForeign(raw, s.cfg.Trusted)
	audiences := texts(c.Audience)
	once := by.Once || by.Users
	switch {
	case why != "":
	case len(audiences) != 1 || audiences[0] != s.cfg.Issuer:
		why = "aud must be the issuer alone"
	case once && (c.ID == "" || !s.firstSight("grant "+by.Issuer+" "+c.ID, unixTime(*c.Expiry))):
		why = "it was used before, or has no jti"
	}
	return c, by, why
}

// checkFederated returns what is wrong with a platform's JWT that a client
// authenticates itself with, or "".
func (s *Server) checkFederated(c *Client, assertion string) string {
	claims, _, why := s.verifyPlatform(assertion)
	if why == "" && (claims.Issuer != c.Platform || claims.Subject != c.Subject) {
		why = "iss and sub are not those that are registered for the client"
	}
	return why
}

// subjectOf returns the sub of g's tokens.
func (s *Server) subjectOf(g *grant) string {
	if g.subject != "" {
		return g.subject
	}
	return s.subject(g.user)
}
