package authserver

import (
	"net/http"
	"strings"
)

// interaction is a question to the user: may this client do that? It is shown
// on a page and answered by a POST. One of request, device and logout is set.
type interaction struct {
	request *authRequest
	device  *device
	logout  *logoutRequest
	session *session // nil if the user has to sign in
	browser string   // the hash of the cookie of the browser that got the page
}

// remember keeps an interaction for the browser that sent r, and returns the id
// that the page's form carries. A page of another origin knows neither the id
// nor the cookie, so it cannot answer for the user.
func (s *Server) remember(r *request, in *interaction) (id string) {
	browser := s.cookie(r, "browser")
	if len(browser) < 20 {
		browser = newToken("browser_")
		s.setCookie(r, "browser", browser, sessionLifetime)
	}
	in.browser = hash(browser)
	id = newToken("")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interactions.put(id, in, interactionLifetime)
	return id
}

// serveDecide takes the user's decision.
func (s *Server) serveDecide(r *request) (*reply, *oauthError) {
	if http.NewCrossOriginProtection().Check(r.Request) != nil {
		why := "This form was sent by another site."
		return nil, &oauthError{http.StatusForbidden, "invalid_request", why, ""}
	}
	s.mu.Lock()
	// It is taken and not only read, so that a second click finds nothing.
	in, ok := s.interactions.take(r.params.Get("interaction"))
	s.mu.Unlock()
	if !ok || !equal(in.browser, hash(s.cookie(r, "browser"))) {
		return nil, invalidRequest("This page is too old, was answered before, " +
			"or was opened in another browser. Start again in the program.")
	}
	// Anything but a clear yes is a no.
	switch action := r.params.Get("action"); {
	case action == "allow" && in.logout != nil:
		return s.finishLogout(r, in.logout), nil
	case in.logout != nil:
		return s.messagePage(http.StatusOK, false, "Still signed in",
			"Nothing was changed. You can close this page."), nil
	case action == "allow":
		return s.approve(r, in, strings.TrimSpace(r.params.Get("username")))
	case action == "switch":
		in.session = nil
		return s.signInPage(r, in), nil
	}
	return s.reject(r, in), nil
}

// approve does what the client wants. If nobody is signed in, it signs name in
// first.
func (s *Server) approve(r *request, in *interaction, name string) (*reply, *oauthError) {
	if in.session != nil && in.session != s.session(r) {
		in.session = nil // signed out since the page was shown
		return s.signInPage(r, in), nil
	}
	if in.session == nil {
		if _, ok := s.user(name); !ok {
			return s.signInAgainPage(r, in, name, "Nobody here goes by this name."), nil
		}
		req := in.request
		if req == nil {
			req = &authRequest{}
		}
		in.session = s.signIn(r, name, reachedACR(req))
	}
	if in.device == nil {
		s.consent(in.session.user, in.request)
		return s.sendCode(r, in.request, in.session)
	}
	if !s.resolveDevice(in.device, in.session, true) {
		return nil, invalidRequest("This code was answered before, or has expired.")
	}
	return s.messagePage(http.StatusOK, true, "You’re connected",
		"Your device is signed in. You can close this page and go back to it."), nil
}

// reject sends the user's no to the client, or to the device.
func (s *Server) reject(r *request, in *interaction) *reply {
	if in.device == nil {
		return s.sendError(r, in.request, fail("access_denied", "the user said no"))
	}
	s.resolveDevice(in.device, nil, false)
	return s.messagePage(http.StatusOK, false, "Access denied",
		"The device was not signed in. You can close this page.")
}
