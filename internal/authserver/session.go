package authserver

import (
	"net/http"
	"strings"
	"time"
)

const (
	sessionLifetime     = 12 * time.Hour
	interactionLifetime = 10 * time.Minute
)

// session is a user signed in at this server in one browser.
type session struct {
	user     string
	acr      string // how: one of acrValues
	authTime time.Time
}

// cookieName holds a hash of the issuer, because all ports of a host share
// their cookies (RFC 6265 §8.5). Two servers of one test would sign each other
// out.
func (s *Server) cookieName(purpose string) string { return purpose + "_" + hash(s.cfg.Issuer)[:8] }

// setCookie sets a cookie for life. An empty value deletes it.
func (s *Server) setCookie(r *request, purpose, value string, life time.Duration) {
	c := &http.Cookie{
		Name:     s.cookieName(purpose),
		Value:    value,
		Path:     s.path + "/",
		MaxAge:   int(life.Seconds()),
		Secure:   strings.HasPrefix(s.cfg.Issuer, "https:"),
		HttpOnly: true,
		// Lax and not Strict: the user comes from the program's listener, which
		// is another site.
		SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	r.header.Add("Set-Cookie", c.String())
}

// cookie returns a cookie's value, or "" without it.
func (s *Server) cookie(r *request, purpose string) string {
	c, err := r.Cookie(s.cookieName(purpose))
	if err != nil {
		return ""
	}
	return c.Value
}

// session returns the session of the browser that sent r, or nil if nobody is
// signed in there.
func (s *Server) session(r *request) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, _ := s.sessions.get(s.cookie(r, "session"))
	return sess
}

// signIn makes a session. Its id is always new: one that an attacker planted in
// the browser beforehand must not become the user's.
func (s *Server) signIn(r *request, user, acr string) *session {
	id, sess := newToken("sess_"), &session{user: user, acr: acr, authTime: s.now()}
	s.mu.Lock()
	s.sessions.remove(s.cookie(r, "session"))
	s.sessions.put(id, sess, sessionLifetime)
	s.stats.Logins++
	s.mu.Unlock()
	s.setCookie(r, "session", id, sessionLifetime)
	return sess
}

// signOut ends the session of the browser that sent r. The grants stay.
func (s *Server) signOut(r *request) {
	s.mu.Lock()
	s.sessions.remove(s.cookie(r, "session"))
	s.mu.Unlock()
	s.setCookie(r, "session", "", 0)
}
