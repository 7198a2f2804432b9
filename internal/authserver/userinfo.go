package authserver

import (
	"net/http"
)

// serveUserinfo is OpenID Connect Core §5.3. The token comes in the header only.
func (s *Server) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	t, ok := s.admit(w, r, Resource{Scope: "openid"}, s.URL("/userinfo"))
	if !ok {
		return
	}
	claims := s.claimsFor(t.grant, t.scope, t.grant.claims.Userinfo)
	c := s.client(t.grant.client)
	if c == nil || !c.SignedUserinfo {
		answer(w, http.StatusOK, claims)
		return
	}
	claims["iss"], claims["aud"], claims["iat"] = s.cfg.Issuer, t.grant.client, s.now().Unix() // §5.3.2
	raw, err := s.key().sign("JWT", claims)
	if err != nil {
		http.Error(w, "the claims cannot be signed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = w.Write([]byte(raw))
}
