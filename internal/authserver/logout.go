package authserver

import (
	"net/http"
	"net/url"
)

// logoutRequest is a request to end the browser's session (OpenID Connect
// RP-Initiated Logout 1.0).
type logoutRequest struct {
	client *Client // nil if the request named none
	next   string  // post_logout_redirect_uri with state; "" for none
}

// serveEndSession is the end session endpoint (RP-Initiated Logout 1.0 §2).
func (s *Server) serveEndSession(r *request) (*reply, *oauthError) {
	req, hintSubject, e := s.readLogout(r.params)
	if e != nil {
		return nil, e
	}
	sess := s.session(r)
	s.mu.Lock()
	auto := s.autoUser != ""
	s.mu.Unlock()
	// An ID token of this user shows that the client signed them in. Without
	// one, any page could sign the user out, so the user decides (§2).
	if sess == nil || auto || hintSubject != "" && hintSubject == s.subject(sess.user) {
		return s.finishLogout(r, req), nil
	}
	return s.logoutPage(r, &interaction{logout: req, session: sess}), nil
}

// readLogout checks a logout request. It returns the subject of its
// id_token_hint too, or "" if it has none.
func (s *Server) readLogout(p url.Values) (req *logoutRequest, sub string, e *oauthError) {
	req = &logoutRequest{}
	id := p.Get("client_id")
	if hint := p.Get("id_token_hint"); hint != "" {
		var audience string
		var ok bool
		sub, audience, ok = s.readHint(hint)
		if !ok || id != "" && id != audience {
			return nil, "", invalidRequest(
				"id_token_hint is not an ID token that this server gave to this program.")
		}
		id = audience
	}
	if id != "" {
		if req.client = s.client(id); req.client == nil {
			return nil, "", errNoClient
		}
	}
	next := p.Get("post_logout_redirect_uri")
	if next == "" {
		return req, sub, nil
	}
	// Without a client there is nothing to compare with, and an unchecked
	// address would make this endpoint an open redirector (S22).
	if req.client == nil || !registeredURI(req.client.PostLogoutRedirectURIs, next) {
		return nil, "", invalidRequest(
			"The post_logout_redirect_uri is not registered for this program.")
	}
	if state := p.Get("state"); state != "" {
		next = withQuery(next, url.Values{"state": {state}})
	}
	req.next = next
	return req, sub, nil
}

// finishLogout signs the browser out and sends it back to the client.
func (s *Server) finishLogout(r *request, req *logoutRequest) *reply {
	s.signOut(r)
	if req.next != "" {
		return redirect(http.StatusSeeOther, req.next)
	}
	return s.messagePage(http.StatusOK, true, "Signed out", "You can close this page.")
}
