package authserver

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// authRequest is an authorization request that has been checked.
type authRequest struct {
	client      *Client
	redirectURI string
	formPost    bool
	state       string
	scope       []string
	resources   []string
	nonce       string
	challenge   string
	jkt         string
	prompt      []string
	maxAge      time.Duration
	hasMaxAge   bool
	loginHint   string
	hintSubject string // of id_token_hint
	acrValues   []string
	claims      claimsRequest
	pushed      string // where it is kept, if it was pushed
}

// claimsRequest is the claims parameter (OpenID Connect Core §5.5).
type claimsRequest struct {
	IDToken  map[string]any `json:"id_token"`
	Userinfo map[string]any `json:"userinfo"`
}

func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	// OpenID Connect Core §3.1.2.1: GET and POST.
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	var params url.Values
	var e *refusal
	if r.Method == http.MethodPost {
		params, e = readForm(w, r)
	} else {
		params, e = readQuery(r)
	}
	if e != nil {
		s.showFailure(w, e.description)
		return
	}
	// Until the client and its redirect URI are known to be good, an error goes to the person and not to an address that
	// anybody could have written there (RFC 6749 §4.1.2.1).
	c := s.client(params.Get("client_id"))
	if c == nil {
		s.showFailure(w, "No program is known under this client_id.")
		return
	}
	var req *authRequest
	if uri := params.Get("request_uri"); uri != "" {
		req, e = s.pushedRequest(c, uri)
		if e != nil {
			s.showFailure(w, e.description)
			return
		}
	} else {
		if !registeredURI(c.RedirectURIs, params.Get("redirect_uri")) {
			s.showFailure(w, "The redirect_uri is missing, or is not registered for this program.")
			return
		}
		req, e = s.checkAuthRequest(c, params)
		if e == nil && (s.cfg.RequirePAR || c.RequirePAR) {
			e = invalidRequest("the authorization request must be pushed first (RFC 9126)")
		}
		if e != nil {
			s.sendRefusal(w, r, req, e)
			return
		}
	}
	s.decide(w, r, req)
}

// checkAuthRequest checks everything but redirect_uri. The request it returns is good enough to answer an error with, even then.
func (s *Server) checkAuthRequest(c *Client, p url.Values) (*authRequest, *refusal) {
	req := &authRequest{
		client:      c,
		redirectURI: p.Get("redirect_uri"),
		formPost:    p.Get("response_mode") == "form_post",
		state:       p.Get("state"),
		scope:       unique(strings.Fields(p.Get("scope"))),
		resources:   p["resource"],
		nonce:       p.Get("nonce"),
		challenge:   p.Get("code_challenge"),
		jkt:         p.Get("dpop_jkt"),
		prompt:      strings.Fields(p.Get("prompt")),
		loginHint:   p.Get("login_hint"),
		acrValues:   strings.Fields(p.Get("acr_values")),
	}
	switch mode := p.Get("response_mode"); {
	case p.Has("request"):
		return req, refuse("request_not_supported", "request objects are not supported")
	case p.Has("registration"):
		return req, refuse("registration_not_supported", "the registration parameter is not supported")
	case p.Get("response_type") == "":
		return req, invalidRequest("response_type is missing")
	case p.Get("response_type") != "code":
		return req, refuse("unsupported_response_type", "only response_type=code is supported")
	case mode != "" && mode != "query" && mode != "form_post":
		return req, invalidRequest("response_mode is neither query nor form_post")
	case !c.may(grantCode):
		return req, refuse("unauthorized_client", "this client may not use the authorization code grant")
	case req.challenge == "":
		return req, invalidRequest("code_challenge is missing: PKCE is required (RFC 7636)")
	case p.Get("code_challenge_method") != "S256":
		return req, invalidRequest("code_challenge_method must be S256")
	case !isSHA256(req.challenge):
		return req, invalidRequest("code_challenge is not the base64url of a SHA-256")
	case req.jkt != "" && !isSHA256(req.jkt):
		return req, invalidRequest("dpop_jkt is not a JWK thumbprint")
	case !validScope(req.scope):
		return req, refuse("invalid_scope", "scope holds a character that has no place there")
	case slices.Contains(req.prompt, "none") && len(req.prompt) > 1:
		return req, invalidRequest("prompt=none stands alone")
	case !subset(req.prompt, []string{"none", "login", "consent", "select_account"}):
		return req, invalidRequest("prompt has an unknown value")
	}
	if e := s.checkResources(req.resources); e != nil {
		return req, e
	}
	if raw := p.Get("max_age"); raw != "" {
		n, err := strconv.ParseUint(raw, 10, 31)
		if err != nil {
			return req, invalidRequest("max_age is not a number of seconds")
		}
		req.maxAge, req.hasMaxAge = time.Duration(n)*time.Second, true
	}
	if raw := p.Get("claims"); raw != "" {
		if wire.UnmarshalJSON([]byte(raw), &req.claims) != nil {
			return req, invalidRequest("claims is not the JSON that OpenID Connect Core §5.5 describes")
		}
	}
	if raw := p.Get("id_token_hint"); raw != "" {
		sub, _, ok := s.readHint(raw)
		if !ok {
			return req, invalidRequest("id_token_hint is not an ID token of this server")
		}
		req.hintSubject = sub
	}
	if len(req.scope) > 0 && len(s.narrow(req.scope)) == 0 {
		return req, refuse("invalid_scope", "none of the scopes is available")
	}
	return req, nil
}

func (s *Server) checkResources(resources []string) *refusal {
	for _, res := range resources {
		if !absolute(res) || s.cfg.Resources != nil && !slices.Contains(s.cfg.Resources, res) {
			return refuse("invalid_target", "a resource is unknown, or is not an absolute URI without a fragment (RFC 8707)")
		}
	}
	return nil
}

// servePAR is RFC 9126.
func (s *Server) servePAR(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	form, e := readForm(w, r)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	c, e := s.authenticate(r, form)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	jkt, e := s.serverProof(w, r, "/par")
	switch {
	case e != nil:
	case form.Has("request_uri"):
		e = invalidRequest("request_uri has no place in a pushed request (RFC 9126 §2.1)")
	case !registeredURI(c.RedirectURIs, form.Get("redirect_uri")):
		e = invalidRequest("redirect_uri is missing, or is not registered for this client")
	case jkt != "" && form.Has("dpop_jkt") && form.Get("dpop_jkt") != jkt:
		e = invalidRequest("dpop_jkt is not the key of the DPoP proof (RFC 9449 §10.1)")
	}
	if e != nil {
		answerRefusal(w, e)
		return
	}
	req, e := s.checkAuthRequest(c, form)
	if e != nil {
		answerRefusal(w, e)
		return
	}
	if jkt != "" {
		req.jkt = jkt
	}
	req.pushed = "urn:ietf:params:oauth:request_uri:" + newToken("")
	s.mu.Lock()
	now := s.now()
	s.pushed.put(hash(req.pushed), req, now, now.Add(codeLifetime))
	s.mu.Unlock()
	answer(w, http.StatusCreated, map[string]any{"request_uri": req.pushed, "expires_in": int(codeLifetime.Seconds())})
}

// pushedRequest finds a pushed request. It stays until it is answered, so that a person may load the page again (RFC 9126 §4).
func (s *Server) pushedRequest(c *Client, uri string) (*authRequest, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.pushed.get(hash(uri), s.now())
	if !ok || req.client.ID != c.ID {
		return nil, refuse("invalid_request_uri", "The request_uri is unknown, was used before, has expired, or belongs to another program.")
	}
	return req, nil
}

// decide answers at once where nobody needs to be asked, or may be, and shows the page otherwise.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, req *authRequest) {
	sess := s.session(r)
	needLogin := s.needsLogin(sess, req)
	needConsent := sess != nil && s.needsConsent(sess.user, req)

	s.mu.Lock()
	auto := s.autoUser
	denied := s.deny
	if auto != "" && !slices.Contains(req.prompt, "none") {
		s.deny = false
	}
	s.mu.Unlock()

	switch {
	case slices.Contains(req.prompt, "none"): // OpenID Connect Core §3.1.2.6
		switch {
		case needLogin:
			s.sendRefusal(w, r, req, refuse("login_required", "nobody is signed in, or not so as was asked"))
		case needConsent:
			s.sendRefusal(w, r, req, refuse("consent_required", "the person has to be asked"))
		default:
			s.sendCode(w, r, req, sess)
		}
	case auto != "" && denied:
		s.sendRefusal(w, r, req, refuse("access_denied", "the person said no"))
	case auto != "":
		if needLogin || sess.user != auto {
			sess = s.signIn(w, r, auto, s.reachedACR(req))
		}
		s.consent(sess.user, req)
		s.sendCode(w, r, req, sess)
	case !needLogin && !needConsent:
		s.sendCode(w, r, req, sess)
	default:
		if needLogin {
			sess = nil
		}
		s.showSignIn(w, r, &interaction{request: req, session: sess})
	}
}

func (s *Server) needsLogin(sess *session, req *authRequest) bool {
	switch {
	case sess == nil,
		slices.Contains(req.prompt, "login"), slices.Contains(req.prompt, "select_account"),
		req.hasMaxAge && (req.maxAge == 0 || s.now().Sub(sess.authTime) > req.maxAge),
		req.hintSubject != "" && req.hintSubject != s.subject(sess.user):
		return true
	}
	wanted := s.reachableACR(req)
	return len(wanted) > 0 && !slices.Contains(wanted, sess.acr)
}

// needsConsent reports whether the person has not yet allowed this client all that it asks for.
func (s *Server) needsConsent(user string, req *authRequest) bool {
	if slices.Contains(req.prompt, "consent") {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _ := s.consents.get(consentKey(user, req.client.ID), s.now())
	return !subset(s.narrow(req.scope), before)
}

func (s *Server) consent(user string, req *authRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := s.now(), consentKey(user, req.client.ID)
	before, _ := s.consents.get(key, now)
	s.consents.put(key, unique(slices.Concat(before, s.narrow(req.scope))), now, now.Add(s.cfg.RefreshTokenLifetime))
}

func consentKey(user, client string) string { return hash(user) + hash(client) }

// reachableACR is what of the acr asked for this server can reach, in the client's order. An acr is asked for by
// acr_values or by the claims parameter.
func (s *Server) reachableACR(req *authRequest) []string {
	wanted := req.acrValues
	if asked, ok := req.claims.IDToken["acr"].(map[string]any); ok {
		if v, ok := asked["value"].(string); ok {
			wanted = []string{v}
		}
		if vs, ok := asked["values"].([]any); ok {
			wanted = nil
			for _, v := range vs {
				if v, ok := v.(string); ok {
					wanted = append(wanted, v)
				}
			}
		}
	}
	var reachable []string
	for _, v := range wanted {
		if slices.Contains(s.cfg.ACRValues, v) {
			reachable = append(reachable, v)
		}
	}
	return reachable
}

func (s *Server) reachedACR(req *authRequest) string {
	if wanted := s.reachableACR(req); len(wanted) > 0 {
		return wanted[0]
	}
	if len(s.cfg.ACRValues) > 0 {
		return s.cfg.ACRValues[0]
	}
	return ""
}

// sendCode answers with a code.
func (s *Server) sendCode(w http.ResponseWriter, r *http.Request, req *authRequest, sess *session) {
	s.mu.Lock()
	now := s.now()
	if req.pushed != "" {
		if _, ok := s.pushed.take(hash(req.pushed), now); !ok {
			s.mu.Unlock()
			s.showFailure(w, "This request was answered before, or has expired. Start again in the program.")
			return
		}
	}
	g := &grant{
		client:    req.client.ID,
		user:      sess.user,
		scope:     s.narrow(req.scope),
		resources: req.resources,
		nonce:     req.nonce,
		acr:       sess.acr,
		authTime:  sess.authTime,
		claims:    req.claims,
		epoch:     s.epoch,
	}
	issued := newToken("ac_")
	// Kept longer than it is good for, so that a late second use is noticed too.
	s.codes.put(hash(issued), &code{
		grant: g, redirectURI: req.redirectURI, challenge: req.challenge, jkt: req.jkt, expires: now.Add(codeLifetime),
	}, now, now.Add(s.cfg.AccessTokenLifetime+codeLifetime))
	s.mu.Unlock()
	s.sendResponse(w, r, req, url.Values{"code": {issued}})
}

func (s *Server) sendRefusal(w http.ResponseWriter, r *http.Request, req *authRequest, e *refusal) {
	if req.pushed != "" {
		s.mu.Lock()
		s.pushed.remove(hash(req.pushed))
		s.mu.Unlock()
	}
	s.sendResponse(w, r, req, url.Values{"error": {e.code}, "error_description": {e.description}})
}

// sendResponse sends the browser back to the client: with a redirect, or with a form that the person need not see
// (OAuth 2.0 Form Post Response Mode).
func (s *Server) sendResponse(w http.ResponseWriter, r *http.Request, req *authRequest, params url.Values) {
	if req.state != "" {
		params.Set("state", req.state)
	}
	params.Set("iss", s.cfg.Issuer) // RFC 9207 §2
	w.Header().Set("Cache-Control", "no-store")
	if req.formPost {
		s.showFormPost(w, req.redirectURI, params)
		return
	}
	separator := "?"
	if strings.Contains(req.redirectURI, "?") {
		separator = "&"
	}
	// 303, never 307: a 307 would send the sign-in form on to the client (RFC 9700 §4.12).
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	w.Header().Set("Location", req.redirectURI+separator+params.Encode())
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "Back to the program.\n")
}

func unique(list []string) []string {
	var out []string
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// validScope: RFC 6749 §3.3.
func validScope(scope []string) bool {
	for _, sc := range scope {
		for _, r := range sc {
			if r < 0x21 || r > 0x7e || r == '"' || r == '\\' {
				return false
			}
		}
	}
	return true
}

// isSHA256 reports whether v is 43 characters of base64url: a challenge or a thumbprint.
func isSHA256(v string) bool { return len(v) == 43 && isURLSafe(v, "-_") }

// validVerifier: RFC 7636 §4.1.
func validVerifier(v string) bool { return len(v) >= 43 && len(v) <= 128 && isURLSafe(v, "-._~") }

func isURLSafe(v, marks string) bool {
	for _, r := range v {
		if !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune(marks, r)) {
			return false
		}
	}
	return true
}
