package authserver

import (
	"net/http"
	"net/url"
	"strings"
)

// logoutRequest is a request to end the browser's session (OpenID Connect RP-Initiated Logout 1.0).
type logoutRequest struct {
	client *Client // nil: not named
	next   string  // post_logout_redirect_uri with state; "": none
}

func (s *Server) serveEndSession(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	var p url.Values
	var e *refusal
	if r.Method == http.MethodPost {
		p, e = readForm(w, r)
	} else {
		p, e = readQuery(r)
	}
	if e != nil {
		s.showFailure(w, e.description)
		return
	}
	id, hintSubject := p.Get("client_id"), ""
	if hint := p.Get("id_token_hint"); hint != "" {
		sub, audience, ok := s.readHint(hint)
		if !ok || id != "" && id != audience {
			s.showFailure(w, "id_token_hint is not an ID token that this server gave to this program.")
			return
		}
		id, hintSubject = audience, sub
	}
	req := &logoutRequest{}
	if id != "" {
		if req.client = s.client(id); req.client == nil {
			s.showFailure(w, "No program is known under this client_id.")
			return
		}
	}
	if next := p.Get("post_logout_redirect_uri"); next != "" {
		// Without a client there is nothing to compare with, and an unchecked address would be an open redirector (S22).
		if req.client == nil || !registeredURI(req.client.PostLogoutRedirectURIs, next) {
			s.showFailure(w, "The post_logout_redirect_uri is not registered for this program.")
			return
		}
		if state := p.Get("state"); state != "" {
			separator := "?"
			if strings.Contains(next, "?") {
				separator = "&"
			}
			next += separator + url.Values{"state": {state}}.Encode()
		}
		req.next = next
	}

	sess := s.session(r)
	s.mu.Lock()
	auto := s.autoUser != ""
	s.mu.Unlock()
	// The ID token shows that the program knows whom it signs out; otherwise any page could sign a person out (§2).
	if sess == nil || auto || hintSubject != "" && hintSubject == s.subject(sess.user) {
		s.finishLogout(w, r, req, true)
		return
	}
	s.showLogout(w, r, &interaction{logout: req, session: sess})
}

func (s *Server) finishLogout(w http.ResponseWriter, r *http.Request, req *logoutRequest, agreed bool) {
	if !agreed {
		s.showMessage(w, http.StatusOK, message{Title: "Still signed in", Text: "Nothing was changed. You can close this page."})
		return
	}
	s.signOut(w, r)
	if req.next != "" {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Location", req.next)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	s.showMessage(w, http.StatusOK, message{Good: true, Title: "Signed out", Text: "You can close this page."})
}
