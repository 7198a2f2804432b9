package authserver

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages/pages.html
var pagesHTML string

//go:embed pages/style.css
var pagesCSS string

// submitScript is the one script, of the form_post page: it presses the button.
const submitScript = "document.forms[0].submit()"

func (s *Server) loadPages() error {
	var err error
	s.pages, err = template.New("").Parse(pagesHTML)
	s.css = template.CSS(pagesCSS) // ours
	s.cssHash = cspHash(pagesCSS)
	return err
}

func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is what a template gets.
type page struct {
	Title string
	CSS   template.CSS
	Host  string // the server's, so that a person sees whom they are talking to
	Data  any
}

// show writes a page that no other may frame, and that loads and runs nothing (S19). formAction is where its forms lead, redirects
// included: browsers check these as well.
func (s *Server) show(w http.ResponseWriter, status int, name, title, formAction string, data any, script ...string) {
	var body bytes.Buffer
	host := strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://")
	if err := s.pages.ExecuteTemplate(&body, name, page{Title: title, CSS: s.css, Host: host, Data: data}); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	policy := fmt.Sprintf("default-src 'none'; style-src %s; base-uri 'none'; frame-ancestors 'none'; form-action %s", s.cssHash, formAction)
	for _, text := range script {
		policy += "; script-src " + cspHash(text)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // without one, the form's Origin would be null and its check blind
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// signInPage is what the sign-in page shows.
type signInPage struct {
	Client      string
	Initial     string // of the client's name, in place of a logo
	Action      string
	Interaction string
	User        string // who is signed in already; "": asked for
	Name        string // typed before, or from login_hint
	Problem     string
	UserCode    string // of the device flow; "": none
	Scopes      []scopeText
	Return      string // host that the person is sent back to
}

type scopeText struct{ Scope, Text string }

// describe puts scopes into words; those of the API's own are shown as they are.
func describe(scopes []string) []scopeText {
	var out []scopeText
	for _, sc := range scopes {
		text := ""
		switch sc {
		case "openid":
			text = "Know who you are"
		case "profile":
			text = "See your name and profile"
		case "email":
			text = "See your email address"
		case "phone":
			text = "See your phone number"
		case "address":
			text = "See your postal address"
		case "offline_access":
			text = "Stay signed in"
		}
		out = append(out, scopeText{sc, text})
	}
	return out
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, in *interaction) {
	name := ""
	if in.request != nil {
		name = in.request.loginHint
	}
	s.showSignInAgain(w, r, in, name, "")
}

func (s *Server) showSignInAgain(w http.ResponseWriter, r *http.Request, in *interaction, name, problem string) {
	data := signInPage{Action: s.URL("/decide"), Name: name, Problem: problem}
	formAction := "'self'"
	var c *Client
	var scope []string
	if in.device != nil {
		c, scope, data.UserCode = in.device.client, in.device.scope, in.device.userCode
	} else {
		c, scope = in.request.client, in.request.scope
		if u, err := url.Parse(in.request.redirectURI); err == nil {
			data.Return = u.Host
			// The answer to the form redirects to the program. An IPv6 address cannot be named in a policy, a scheme can.
			formAction += " " + u.Scheme + ":"
		}
	}
	data.Client, data.Scopes = c.title(), describe(s.narrow(scope))
	data.Initial = strings.ToUpper(string(slices.Concat([]rune(data.Client), []rune("?"))[0]))
	if in.session != nil {
		data.User = in.session.user
	}
	data.Interaction = s.ask(w, r, in)
	status := http.StatusOK
	if problem != "" {
		status = http.StatusUnprocessableEntity
	}
	s.show(w, status, "signin", "Sign in to "+data.Client, formAction, data)
}

func (s *Server) showLogout(w http.ResponseWriter, r *http.Request, in *interaction) {
	data := signInPage{Action: s.URL("/decide"), User: in.session.user}
	formAction := "'self'"
	if u, err := url.Parse(in.logout.next); err == nil && u.Scheme != "" {
		formAction += " " + u.Scheme + ":"
	}
	data.Interaction = s.ask(w, r, in)
	s.show(w, http.StatusOK, "logout", "Sign out", formAction, data)
}

func (s *Server) showUserCode(w http.ResponseWriter, status int, problem string) {
	s.show(w, status, "usercode", "Connect a device", "'self'", signInPage{Action: s.URL("/device"), Problem: problem})
}

func (s *Server) showFormPost(w http.ResponseWriter, redirectURI string, params url.Values) {
	scheme := "'none'"
	if u, err := url.Parse(redirectURI); err == nil && u.Scheme != "" {
		scheme = u.Scheme + ":"
	}
	data := struct {
		Action string
		Params url.Values
		Script template.JS
	}{redirectURI, params, submitScript}
	s.show(w, http.StatusOK, "formpost", "Back to the program", scheme, data, submitScript)
}

// message is a page that says one thing.
type message struct {
	Good        bool
	Title, Text string
}

func (s *Server) showMessage(w http.ResponseWriter, status int, m message) {
	s.show(w, status, "message", m.Title, "'none'", m)
}

func (s *Server) showFailure(w http.ResponseWriter, why string) {
	s.showMessage(w, http.StatusBadRequest, message{Title: "This link does not work", Text: why})
}
