package authserver

import (
	"net/http"
	"strings"
)

// serveRevocation is RFC 7009. It ignores token_type_hint, because it looks for
// the token among both kinds.
func (s *Server) serveRevocation(r *request) (*reply, *oauthError) {
	if e := missing(r.params, "token"); e != nil {
		return nil, e
	}
	if !s.revokeToken(r.client, r.params.Get("token")) {
		return nil, fail("unauthorized_client", "this token belongs to another client")
	}
	// An unknown token is as good as a revoked one (§2.2).
	return &reply{status: http.StatusOK}, nil
}

// revokeToken revokes a refresh token with its whole grant, or an access token
// alone (§2.1). It returns false if the token belongs to another client.
func (s *Server) revokeToken(c *Client, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(token)
	switch {
	case t == nil:
	case t.grant.client != c.ID:
		return false
	case t.refresh:
		t.grant.revoked = true
	default:
		t.revoked = true
	}
	return true
}

// serveIntrospection is RFC 7662.
func (s *Server) serveIntrospection(r *request) (*reply, *oauthError) {
	if e := missing(r.params, "token"); e != nil {
		return nil, e
	}
	return jsonReply(http.StatusOK, s.introspect(r.client, r.params.Get("token")))
}

// introspect describes a token (RFC 7662 §2.2). Anybody can claim to be a public
// client, so such a client learns about its own tokens only.
func (s *Server) introspect(c *Client, token string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(token)
	if t == nil || !s.good(t) || c.auth() == AuthNone && t.grant.client != c.ID {
		return map[string]any{"active": false}
	}
	g := t.grant
	out := map[string]any{
		"active": true, "iss": s.cfg.Issuer, "client_id": g.client,
		"sub": s.subjectOf(g), "scope": strings.Join(t.scope, " "),
		"exp": t.expires.Unix(), "iat": t.issued.Unix(),
	}
	if g.subject == "" {
		out["username"], out["acr"], out["auth_time"] = g.user, g.acr, g.authTime.Unix() // RFC 9470 §6.2
	}
	if t.audience != nil {
		out["aud"] = t.audience
	}
	if !t.refresh {
		out["token_type"] = tokenType(t.jkt)
	}
	if t.jkt != "" {
		out["cnf"] = map[string]string{"jkt": t.jkt} // RFC 9449 §6.2
	}
	return out
}
