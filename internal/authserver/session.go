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

// session is a person signed in at this server in one browser.
type session struct {
	user     string
	acr      string
	authTime time.Time
}

// cookieName has the issuer in it, because cookies are shared by all ports of a host (RFC 6265 §8.5).
func (s *Server) cookieName(purpose string) string { return purpose + "_" + hash(s.cfg.Issuer)[:8] }

func (s *Server) setCookie(w http.ResponseWriter, purpose, value string, life time.Duration) {
	c := &http.Cookie{
		Name:     s.cookieName(purpose),
		Value:    value,
		Path:     s.path + "/",
		MaxAge:   int(life.Seconds()),
		Secure:   strings.HasPrefix(s.cfg.Issuer, "https:"),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) cookie(r *http.Request, purpose string) string {
	c, err := r.Cookie(s.cookieName(purpose))
	if err != nil {
		return ""
	}
	return c.Value
}

// session returns who is signed in; nil: nobody.
func (s *Server) session(r *http.Request) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, _ := s.sessions.get(hash(s.cookie(r, "session")), s.now())
	return sess
}

// signIn makes a session under a new id, so that one planted in the browser beforehand is of no use.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request, user, acr string) *session {
	id, now := newToken("sess_"), s.now()
	sess := &session{user: user, acr: acr, authTime: now}
	s.mu.Lock()
	s.sessions.remove(hash(s.cookie(r, "session")))
	s.sessions.put(hash(id), sess, now, now.Add(sessionLifetime))
	s.stats.Logins++
	s.mu.Unlock()
	s.setCookie(w, "session", id, sessionLifetime)
	return sess
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.sessions.remove(hash(s.cookie(r, "session")))
	s.mu.Unlock()
	s.setCookie(w, "session", "", 0)
}
