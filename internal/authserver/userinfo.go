package authserver

import "net/http"

// serveUserinfo is OpenID Connect Core §5.3. The access token comes in the
// Authorization header only.
func (s *Server) serveUserinfo(r *request) (*reply, *oauthError) {
	res := Resource{Scope: "openid"}
	t, e := s.admit(r.header, r.Request, res, s.URL("/userinfo"))
	if e != nil {
		return s.challenge(res, e), nil
	}
	claims := s.claimsFor(t.grant, t.scope, t.grant.claims.Userinfo)
	c := s.client(t.grant.client)
	if c == nil || !c.SignedUserinfo {
		return jsonReply(http.StatusOK, claims)
	}
	// A signed response says for which client it is, so that another cannot be
	// given it (§5.3.2).
	claims["iss"], claims["aud"], claims["iat"] = s.cfg.Issuer, t.grant.client, s.now().Unix()
	raw, err := s.key().sign("JWT", claims)
	if err != nil {
		return nil, serverError("the claims cannot be signed")
	}
	return &reply{http.StatusOK, http.Header{"Content-Type": {"application/jwt"}}, []byte(raw)}, nil
}
