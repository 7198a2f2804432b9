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

// introspection is the response of RFC 7662 §2.2.
type introspection struct {
	Active    bool              `json:"active"`
	Scope     string            `json:"scope,omitempty"`
	ClientID  string            `json:"client_id,omitempty"`
	Username  string            `json:"username,omitempty"`
	TokenType string            `json:"token_type,omitempty"`
	Subject   string            `json:"sub,omitempty"`
	Issuer    string            `json:"iss,omitempty"`
	Audience  []string          `json:"aud,omitempty"`
	Expiry    int64             `json:"exp,omitempty"`
	IssuedAt  int64             `json:"iat,omitempty"`
	Confirm   map[string]string `json:"cnf,omitempty"` // RFC 9449 §6.2
	ACR       string            `json:"acr,omitempty"` // RFC 9470 §6.2
	AuthTime  int64             `json:"auth_time,omitempty"`
}

func (s *Server) serveIntrospection(r *request) (*reply, *oauthError) {
	if e := missing(r.params, "token"); e != nil {
		return nil, e
	}
	return jsonReply(http.StatusOK, s.introspect(r.client, r.params.Get("token")))
}

// introspect describes a token. Anybody can claim to be a public client, so
// such a client learns about its own tokens only.
func (s *Server) introspect(c *Client, token string) introspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(token)
	if t == nil || !s.good(t) || c.auth() == AuthNone && t.grant.client != c.ID {
		return introspection{}
	}
	g := t.grant
	out := introspection{
		Active: true, Issuer: s.cfg.Issuer, ClientID: g.client,
		Username: g.user, Subject: s.subject(g.user), ACR: g.acr, AuthTime: g.authTime.Unix(),
		Scope: strings.Join(t.scope, " "), Audience: t.audience,
		Expiry: t.expires.Unix(), IssuedAt: t.issued.Unix(),
	}
	if !t.refresh {
		out.TokenType = tokenType(t.jkt)
	}
	if t.jkt != "" {
		out.Confirm = map[string]string{"jkt": t.jkt}
	}
	return out
}
