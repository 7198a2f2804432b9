package authserver

import (
	"net/http"
	"net/url"
	"strings"
)

// interaction is a question to a person: may this program do that? It is asked on a page and answered by a POST.
type interaction struct {
	request *authRequest // nil: device is set
	device  *device
	logout  *logoutRequest
	session *session // nil: the person has to sign in
	browser string   // the hash of the cookie of the browser that was asked
}

// ask keeps a question for the browser that r came from, and returns its id, which the form carries. A page on another origin
// knows neither the id nor the cookie, so it cannot answer for the person.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, in *interaction) (id string) {
	browser := s.cookie(r, "browser")
	if len(browser) < 20 {
		browser = newToken("browser_")
		s.setCookie(w, "browser", browser, sessionLifetime)
	}
	in.browser = hash(browser)
	id = newToken("")
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.interactions.put(hash(id), in, now, now.Add(interactionLifetime))
	return id
}

// serveDecide takes a person's answer.
func (s *Server) serveDecide(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "this form was sent by another site", http.StatusForbidden)
		return
	}
	form, e := readForm(w, r)
	if e != nil {
		s.showFailure(w, e.description)
		return
	}
	id := form.Get("interaction")
	s.mu.Lock()
	in, ok := s.interactions.take(hash(id), s.now()) // once: a second click finds nothing
	s.mu.Unlock()
	if !ok || !equal(in.browser, hash(s.cookie(r, "browser"))) {
		s.showFailure(w, "This page is too old, was answered before, or was opened in another browser. Start again in the program.")
		return
	}
	if in.logout != nil {
		s.finishLogout(w, r, in.logout, form.Get("action") == "allow")
		return
	}
	switch form.Get("action") {
	case "allow":
		s.allowed(w, r, in, form)
	case "switch":
		in.session = nil
		s.showSignIn(w, r, in)
	default: // whatever is not a clear yes is a no
		s.denied(w, r, in)
	}
}

func (s *Server) allowed(w http.ResponseWriter, r *http.Request, in *interaction, form url.Values) {
	if in.session != nil && in.session != s.session(r) {
		in.session = nil // signed out meanwhile
		s.showSignIn(w, r, in)
		return
	}
	if in.session == nil {
		name := strings.TrimSpace(form.Get("username"))
		if _, ok := s.user(name); !ok {
			s.showSignInAgain(w, r, in, name, "Nobody here goes by this name.")
			return
		}
		acr := ""
		if in.request != nil {
			acr = s.reachedACR(in.request)
		} else {
			acr = s.reachedACR(&authRequest{})
		}
		in.session = s.signIn(w, r, name, acr)
	}
	if in.device != nil {
		if !s.resolveDevice(in.device, in.session, true) {
			s.showFailure(w, "This code was answered before, or has expired.")
			return
		}
		s.showMessage(w, http.StatusOK, message{Good: true, Title: "You’re connected", Text: "Your device is signed in. You can close this page and go back to it."})
		return
	}
	s.consent(in.session.user, in.request)
	s.sendCode(w, r, in.request, in.session)
}

func (s *Server) denied(w http.ResponseWriter, r *http.Request, in *interaction) {
	if in.device != nil {
		s.resolveDevice(in.device, nil, false)
		s.showMessage(w, http.StatusOK, message{Title: "Access denied", Text: "The device was not signed in. You can close this page."})
		return
	}
	s.sendRefusal(w, r, in.request, refuse("access_denied", "the person said no"))
}
