package authserver

import "time"

// grant is the consent of one user to one client. All tokens that come of it
// are its family.
type grant struct {
	client    string
	user      string
	subject   string // of a grant without a user; "": user's
	scope     []string
	resources []string
	nonce     string
	acr       string
	authTime  time.Time
	claims    claimsRequest
	// jkt is the DPoP key that a public client's refresh tokens are bound to
	// (RFC 9449 §5); "" for none.
	jkt     string
	epoch   int // of the server when the grant was made; see Server.Revoke
	revoked bool
}

// code is an authorization code. It is kept after its use, so that a second use
// is noticed.
type code struct {
	grant       *grant
	redirectURI string
	challenge   string
	jkt         string // dpop_jkt (RFC 9449 §10); "" for none
	expires     time.Time
	used        bool
}

// token is an access token or a refresh token. It is kept after its use, so
// that a second use of a refresh token is noticed.
type token struct {
	grant    *grant
	scope    []string
	audience []string
	jkt      string // the DPoP key it is bound to (RFC 9449 §5, §6); "" for none
	issued   time.Time
	expires  time.Time
	epoch    int // of the server when the token was issued; see Server.Expire
	revoked  bool

	refresh   bool      // it is a refresh token
	consumed  time.Time // zero until it is used
	presented int       // how often
}

// codeLifetime is short, because a program redeems a code at once (RFC 6749
// §4.1.2 recommends ten minutes at most).
const codeLifetime = 60 * time.Second

// The functions below are called with s.mu held.

func (s *Server) live(g *grant) bool { return !g.revoked && g.epoch == s.epoch }

// good reports whether a token would be accepted now.
func (s *Server) good(t *token) bool {
	return s.live(t.grant) && !t.revoked && t.consumed.IsZero() &&
		(t.refresh || t.epoch == s.expired)
}

// find returns a token that has not expired, or nil.
func (s *Server) find(value string) *token {
	t, _ := s.tokens.get(value)
	return t
}

// revokeFamily ends a grant because one of its tokens or its code was presented
// twice. One of the two senders is a thief, and nobody can tell which (RFC 9700
// §4.14.2).
func (s *Server) revokeFamily(g *grant) {
	if s.live(g) {
		g.revoked = true
		s.stats.FamiliesRevoked++
	}
}

// issue makes t a token that lives for a time, and returns it.
func (s *Server) issue(prefix string, t *token, life time.Duration) string {
	value := newToken(prefix)
	t.issued, t.epoch = s.now(), s.expired
	t.expires = t.issued.Add(life)
	s.tokens.put(value, t, life)
	return value
}

func (s *Server) newRefreshToken(g *grant) string {
	t := &token{grant: g, scope: g.scope, audience: g.resources, jkt: g.jkt, refresh: true}
	return s.issue("rt_", t, s.cfg.RefreshTokenLifetime)
}

// redeemCode uses a code up and returns its grant (RFC 6749 §4.1.3).
func (s *Server) redeemCode(t *tokenRequest) (*grant, *oauthError) {
	found, ok := s.codes.get(t.form.Get("code"))
	if !ok || found.grant.client != t.client.ID {
		// Another client's attempt uses nothing up. Otherwise one client could
		// end another's sign-in.
		return nil, invalidGrant("the code is unknown, has expired, or belongs to another client")
	}
	if found.used {
		s.stats.CodesReused++
		s.revokeFamily(found.grant)
		return nil, invalidGrant("the code was used before; the tokens that came of it are revoked")
	}
	if !s.now().Before(found.expires) {
		return nil, invalidGrant("the code has expired")
	}
	// Every attempt uses the code up, so nobody can guess at the verifier
	// twice.
	found.used = true
	switch {
	case !s.live(found.grant):
		return nil, invalidGrant("the grant was revoked")
	case found.redirectURI != t.form.Get("redirect_uri"):
		return nil, invalidGrant("redirect_uri is not the one of the authorization request")
	case !equal(found.challenge, t.challenge):
		return nil, invalidGrant("code_verifier does not match code_challenge")
	case found.jkt != "" && found.jkt != t.jkt:
		return nil, invalidGrant("the code is bound to another DPoP key")
	}
	s.stats.CodesExchanged++
	return found.grant, t.within(found.grant)
}

// redeemRefresh uses a refresh token up, if Config.Rotation says so. next is
// the refresh token of the response, or "" if it has none.
func (s *Server) redeemRefresh(t *tokenRequest) (g *grant, next string, e *oauthError) {
	now := s.now()
	found := s.find(t.form.Get("refresh_token"))
	if found == nil || !found.refresh || found.grant.client != t.client.ID {
		return nil, "", invalidGrant(
			"the refresh token is unknown, has expired, or belongs to another client")
	}
	s.stats.Refreshes++
	found.presented++
	again := !found.consumed.IsZero()
	if again {
		s.stats.Reuses++
	}
	g = found.grant
	if g.jkt != "" && g.jkt != t.jkt {
		return nil, "", invalidGrant("the refresh token is bound to another DPoP key")
	}
	if !s.live(g) {
		return nil, "", invalidGrant("the grant was revoked")
	}
	inGrace := s.cfg.Rotation == RotateGrace && now.Sub(found.consumed) < s.cfg.Grace
	if again && !inGrace {
		s.revokeFamily(g)
		return nil, "", invalidGrant(
			"the refresh token was used before; all tokens of this sign-in are revoked")
	}
	// A request for too much is rejected before it uses the token up.
	if e := t.within(g); e != nil {
		return nil, "", e
	}
	if s.cfg.Rotation == RotateNever {
		return g, "", nil
	}
	next = s.newRefreshToken(g)
	if !again {
		found.consumed = now
	}
	return g, next, nil
}

// narrow returns the scopes that are granted of those requested.
func (s *Server) narrow(scopes []string) []string {
	if s.cfg.Scopes == nil {
		return scopes
	}
	return intersect(scopes, s.cfg.Scopes)
}
