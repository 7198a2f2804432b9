package authserver

import (
	"slices"
	"time"
)

// grant is one consent of one person to one client, and so the family of all tokens that come of it.
type grant struct {
	client    string
	user      string
	scope     []string
	resources []string
	nonce     string
	acr       string
	authTime  time.Time
	claims    claimsRequest
	jkt       string // the DPoP key that a public client's refresh tokens are bound to (RFC 9449 §5); "": none
	epoch     int
	revoked   bool
}

// code is an authorization code. It is kept after its use, to notice a second one.
type code struct {
	grant       *grant
	redirectURI string
	challenge   string
	jkt         string // dpop_jkt (RFC 9449 §10); "": none
	expires     time.Time
	used        bool
}

type accessToken struct {
	grant    *grant
	scope    []string
	audience []string
	jkt      string // cnf (RFC 9449 §6); "": a bearer token
	issued   time.Time
	expires  time.Time
	epoch    int
	revoked  bool
}

// refreshToken is kept after its use, to notice a second one.
type refreshToken struct {
	grant     *grant
	issued    time.Time
	expires   time.Time
	consumed  time.Time
	successor string // the token itself, for RotateGraceSame alone
	presented int
}

const codeLifetime = 60 * time.Second

// The functions below are called with s.mu held.

func (s *Server) live(g *grant) bool { return !g.revoked && g.epoch == s.epoch }

func (s *Server) liveAccess(t *accessToken) bool {
	return s.live(t.grant) && !t.revoked && t.epoch == s.expired
}

// revokeFamily ends a grant because something of it was presented twice: one of the two is a thief (RFC 9700 §4.14.2).
func (s *Server) revokeFamily(g *grant) {
	if s.live(g) {
		g.revoked = true
		s.stats.FamiliesRevoked++
	}
}

func (s *Server) newAccessToken(g *grant, scope, audience []string, jkt string) string {
	now, token := s.now(), newToken("at_")
	expires := now.Add(s.cfg.AccessTokenLifetime)
	s.access.put(hash(token), &accessToken{
		grant: g, scope: scope, audience: audience, jkt: jkt, issued: now, expires: expires, epoch: s.expired,
	}, now, expires)
	return token
}

func (s *Server) newRefreshToken(g *grant) string {
	now, token := s.now(), newToken("rt_")
	expires := now.Add(s.cfg.RefreshTokenLifetime)
	s.refresh.put(hash(token), &refreshToken{grant: g, issued: now, expires: expires}, now, expires)
	return token
}

// redeemCode uses a code up. jkt is the key of the request's DPoP proof.
func (s *Server) redeemCode(c *Client, presented, redirectURI, challenge, jkt string) (*grant, *refusal) {
	found, ok := s.codes.get(hash(presented), s.now())
	if !ok || found.grant.client != c.ID {
		// Another client's attempt uses nothing up, or one client could end another's sign-in.
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
	// Any attempt uses the code up: a second guess at the verifier is not given.
	found.used = true
	switch {
	case !s.live(found.grant):
		return nil, invalidGrant("the grant was revoked")
	case found.redirectURI != redirectURI:
		return nil, invalidGrant("redirect_uri is not the one of the authorization request")
	case !equal(found.challenge, challenge):
		return nil, invalidGrant("code_verifier does not match code_challenge")
	case found.jkt != "" && found.jkt != jkt:
		return nil, invalidGrant("the code is bound to another DPoP key")
	}
	s.stats.CodesExchanged++
	return found.grant, nil
}

// redeemRefresh uses a refresh token up, as far as Rotation says so. next is the refresh token to answer with, "" where there is none.
func (s *Server) redeemRefresh(c *Client, presented, jkt string, check func(*grant) *refusal) (g *grant, next string, e *refusal) {
	now := s.now()
	found, ok := s.refresh.get(hash(presented), now)
	if !ok || found.grant.client != c.ID {
		return nil, "", invalidGrant("the refresh token is unknown, has expired, or belongs to another client")
	}
	s.stats.Refreshes++
	found.presented++
	again := !found.consumed.IsZero()
	if again {
		s.stats.Reuses++
	}
	g = found.grant
	if g.jkt != "" && g.jkt != jkt {
		return nil, "", invalidGrant("the refresh token is bound to another DPoP key")
	}
	if !s.live(g) {
		return nil, "", invalidGrant("the grant was revoked")
	}
	if again && !s.inGrace(found, now) {
		s.revokeFamily(g)
		return nil, "", invalidGrant("the refresh token was used before; all tokens of this sign-in are revoked")
	}
	// A request that asks for too much is refused before the token is used up.
	if e := check(g); e != nil {
		return nil, "", e
	}
	if s.cfg.Rotation == RotateNever {
		return g, "", nil
	}
	if again && s.cfg.Rotation == RotateGraceSame {
		return g, found.successor, nil
	}
	next = s.newRefreshToken(g)
	if !again {
		found.consumed = now
	}
	if s.cfg.Rotation == RotateGraceSame {
		found.successor = next
	}
	return g, next, nil
}

func (s *Server) inGrace(t *refreshToken, now time.Time) bool {
	if now.Sub(t.consumed) >= s.cfg.Grace {
		return false
	}
	switch s.cfg.Rotation {
	case RotateGrace:
		return true
	case RotateGraceSame:
		// Once the successor is in use, whoever comes with the old one is not the program that got it.
		successor, ok := s.refresh.get(hash(t.successor), now)
		return ok && successor.consumed.IsZero()
	}
	return false
}

// narrow returns what of asked is granted at most.
func (s *Server) narrow(asked []string) []string {
	if s.cfg.Scopes == nil {
		return asked
	}
	var granted []string
	for _, sc := range asked {
		if slices.Contains(s.cfg.Scopes, sc) {
			granted = append(granted, sc)
		}
	}
	return granted
}
