package authserver

import (
	"net/http"
	"net/url"
	"strings"
)

// tokenRequest reads the requests of both endpoints: a client and the token it speaks of.
func (s *Server) tokenRequest(w http.ResponseWriter, r *http.Request) (*Client, url.Values, bool) {
	if !allow(w, r, http.MethodPost) {
		return nil, nil, false
	}
	form, e := readForm(w, r)
	var c *Client
	if e == nil {
		c, e = s.authenticate(r, form)
	}
	if e == nil && form.Get("token") == "" {
		e = invalidRequest("token is missing")
	}
	if e != nil {
		answerRefusal(w, e)
		return nil, nil, false
	}
	return c, form, true
}

// serveRevocation is RFC 7009. token_type_hint is not needed: each token is looked for as both.
func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	c, form, ok := s.tokenRequest(w, r)
	if !ok {
		return
	}
	if !s.revokeToken(c, form.Get("token")) {
		answerRefusal(w, refuse("unauthorized_client", "this token belongs to another client"))
		return
	}
	// An unknown token is as good as revoked (§2.2).
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// revokeToken: a refresh token takes its whole grant with it, an access token only itself (§2.1). false: it is another client's.
func (s *Server) revokeToken(c *Client, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.refresh.get(hash(token), s.now()); ok {
		if t.grant.client != c.ID {
			return false
		}
		t.grant.revoked = true
		return true
	}
	if t, ok := s.access.get(hash(token), s.now()); ok {
		if t.grant.client != c.ID {
			return false
		}
		t.revoked = true
	}
	return true
}

// introspection is RFC 7662 §2.2.
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

func (s *Server) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	c, form, ok := s.tokenRequest(w, r)
	if !ok {
		return
	}
	answer(w, http.StatusOK, s.introspect(c, form.Get("token")))
}

// introspect tells a public client, which anybody can claim to be, of its own tokens only.
func (s *Server) introspect(c *Client, token string) introspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *grant
	var out introspection
	if t, ok := s.access.get(hash(token), s.now()); ok && s.liveAccess(t) {
		g = t.grant
		out = introspection{TokenType: "Bearer", Scope: strings.Join(t.scope, " "), Audience: t.audience, Expiry: t.expires.Unix(), IssuedAt: t.issued.Unix()}
		if t.jkt != "" {
			out.TokenType, out.Confirm = "DPoP", map[string]string{"jkt": t.jkt}
		}
	} else if t, ok := s.refresh.get(hash(token), s.now()); ok && s.live(t.grant) && t.consumed.IsZero() {
		g = t.grant
		out = introspection{Scope: strings.Join(g.scope, " "), Audience: g.resources, Expiry: t.expires.Unix(), IssuedAt: t.issued.Unix()}
		if g.jkt != "" {
			out.Confirm = map[string]string{"jkt": g.jkt}
		}
	}
	if g == nil || c.auth() == AuthNone && g.client != c.ID {
		return introspection{}
	}
	out.Active, out.ClientID, out.Username, out.Issuer = true, g.client, g.user, s.cfg.Issuer
	out.Subject, out.ACR, out.AuthTime = s.subject(g.user), g.acr, g.authTime.Unix()
	return out
}
