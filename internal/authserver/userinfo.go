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
	return jsonReply(http.StatusOK, s.claimsFor(t.grant, t.scope, t.grant.claims.Userinfo))
}
