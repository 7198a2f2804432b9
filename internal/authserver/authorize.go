package authserver

import (
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
	jkt         string // dpop_jkt; "" for none
	prompt      []string
	maxAge      time.Duration
	hasMaxAge   bool
	loginHint   string
	hintSubject string // of id_token_hint; "" for none
	acrValues   []string
	claims      claimsRequest
	pushed      string // its request_uri; "" if it was not pushed
}

// claimsRequest is the claims parameter (OpenID Connect Core §5.5).
type claimsRequest struct {
	IDToken  map[string]any `json:"id_token"`
	Userinfo map[string]any `json:"userinfo"`
}

// errNoClient is for the user, at the endpoints with pages. At the others an
// unknown client fails its authentication.
var errNoClient = invalidRequest("No program is known under this client_id.")

// serveAuthorize is the authorization endpoint (RFC 6749 §3.1). Until the
// client and its redirect URI are known to be good, an error is shown to the
// user. It must not be sent to an address that anybody could have written there
// (§4.1.2.1).
func (s *Server) serveAuthorize(r *request) (*reply, *oauthError) {
	c := s.client(r.params.Get("client_id"))
	if c == nil {
		return nil, errNoClient
	}
	if uri := r.params.Get("request_uri"); uri != "" {
		req, e := s.pushedRequest(c, uri)
		if e != nil {
			return nil, e
		}
		return s.decide(r, req)
	}
	if !registeredURI(c.RedirectURIs, r.params.Get("redirect_uri")) {
		return nil, invalidRequest(
			"The redirect_uri is missing, or is not registered for this program.")
	}
	req, e := s.checkAuthRequest(c, r.params)
	if e == nil && (s.cfg.RequirePAR || c.RequirePAR) {
		e = invalidRequest("the authorization request must be pushed first (RFC 9126)")
	}
	if e != nil {
		return s.sendError(r, req, e), nil
	}
	return s.decide(r, req)
}

// checkAuthRequest checks everything except redirect_uri. It returns the
// request beside an error too, because the error is sent to the request's
// redirect URI.
func (s *Server) checkAuthRequest(c *Client, p url.Values) (*authRequest, *oauthError) {
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
	e := checkResponseType(c, p)
	if e == nil {
		e = req.checkFormat(p.Get("code_challenge_method"))
	}
	if e == nil {
		e = s.checkResources(req.resources)
	}
	if e == nil {
		e = s.readOpenID(req, p)
	}
	if e == nil && len(req.scope) > 0 && len(s.narrow(req.scope)) == 0 {
		e = fail("invalid_scope", "none of the scopes is available")
	}
	return req, e
}

// checkResponseType rejects every kind of request but the authorization code
// flow, and parameters that the server does not support. To ignore those could
// mean less security than the client wanted.
func checkResponseType(c *Client, p url.Values) *oauthError {
	kind, mode := p.Get("response_type"), p.Get("response_mode")
	switch {
	case p.Has("request"):
		return fail("request_not_supported", "request objects are not supported")
	case p.Has("registration"):
		return fail("registration_not_supported", "the registration parameter is not supported")
	case kind == "":
		return invalidRequest("response_type is missing")
	case kind != "code":
		return fail("unsupported_response_type", "only response_type=code is supported")
	case mode != "" && mode != "query" && mode != "form_post":
		return invalidRequest("response_mode is neither query nor form_post")
	case !c.may(grantCode):
		return fail("unauthorized_client", "this client may not use the authorization code grant")
	}
	return nil
}

// checkFormat checks the parameters that are wrong or right by themselves.
func (req *authRequest) checkFormat(challengeMethod string) *oauthError {
	switch {
	case req.challenge == "":
		return invalidRequest("code_challenge is missing: PKCE is required (RFC 7636)")
	case challengeMethod != "S256":
		return invalidRequest("code_challenge_method must be S256")
	case !isSHA256(req.challenge):
		return invalidRequest("code_challenge is not the base64url of a SHA-256")
	case req.jkt != "" && !isSHA256(req.jkt):
		return invalidRequest("dpop_jkt is not a JWK thumbprint")
	case !validScope(req.scope):
		return fail("invalid_scope", "scope holds a character that is not allowed there")
	case slices.Contains(req.prompt, "none") && len(req.prompt) > 1:
		return invalidRequest("prompt=none stands alone")
	case !subset(req.prompt, []string{"none", "login", "consent", "select_account"}):
		return invalidRequest("prompt has an unknown value")
	}
	return nil
}

// readOpenID reads the parameters of OpenID Connect that have a format.
func (s *Server) readOpenID(req *authRequest, p url.Values) *oauthError {
	if raw := p.Get("max_age"); raw != "" {
		n, err := strconv.ParseUint(raw, 10, 31)
		if err != nil {
			return invalidRequest("max_age is not a number of seconds")
		}
		req.maxAge, req.hasMaxAge = time.Duration(n)*time.Second, true
	}
	if raw := p.Get("claims"); raw != "" {
		if wire.UnmarshalJSON([]byte(raw), &req.claims) != nil {
			return invalidRequest("claims is not the JSON that OpenID Connect Core §5.5 describes")
		}
	}
	if raw := p.Get("id_token_hint"); raw != "" {
		sub, _, ok := s.readHint(raw)
		if !ok {
			return invalidRequest("id_token_hint is not an ID token of this server")
		}
		req.hintSubject = sub
	}
	return nil
}

// checkResources checks resource indicators (RFC 8707 §2).
func (s *Server) checkResources(resources []string) *oauthError {
	for _, res := range resources {
		if !absolute(res) || s.cfg.Resources != nil && !slices.Contains(s.cfg.Resources, res) {
			return fail("invalid_target",
				"a resource is unknown, or is not an absolute URI without a fragment (RFC 8707)")
		}
	}
	return nil
}

// servePAR is the pushed authorization request endpoint (RFC 9126).
func (s *Server) servePAR(r *request) (*reply, *oauthError) {
	jkt, e := s.serverProof(r, "/par")
	given := r.params.Get("dpop_jkt")
	switch {
	case e != nil:
		return nil, e
	case r.params.Has("request_uri"):
		return nil, invalidRequest("request_uri is not allowed in a pushed request (RFC 9126 §2.1)")
	case !registeredURI(r.client.RedirectURIs, r.params.Get("redirect_uri")):
		return nil, invalidRequest("redirect_uri is missing, or is not registered for this client")
	case jkt != "" && given != "" && given != jkt:
		return nil, invalidRequest("dpop_jkt is not the key of the DPoP proof (RFC 9449 §10.1)")
	}
	req, e := s.checkAuthRequest(r.client, r.params)
	if e != nil {
		return nil, e
	}
	// The proof binds the code to its key, as dpop_jkt does (RFC 9449 §10.1).
	if jkt != "" {
		req.jkt = jkt
	}
	req.pushed = "urn:ietf:params:oauth:request_uri:" + newToken("")
	s.mu.Lock()
	s.pushed.put(req.pushed, req, codeLifetime)
	s.mu.Unlock()
	return jsonReply(http.StatusCreated, map[string]any{
		"request_uri": req.pushed, "expires_in": int(codeLifetime.Seconds()),
	})
}

// pushedRequest returns a pushed request. The request stays until it is
// answered, so that the user may reload the page (RFC 9126 §4).
func (s *Server) pushedRequest(c *Client, uri string) (*authRequest, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.pushed.get(uri)
	if !ok || req.client.ID != c.ID {
		return nil, fail("invalid_request_uri",
			"The request_uri is unknown, was used before, has expired, or belongs to another program.")
	}
	return req, nil
}

// decide answers at once if the user need not be prompted, or must not be. It
// shows the sign-in page otherwise.
func (s *Server) decide(r *request, req *authRequest) (*reply, *oauthError) {
	sess := s.session(r)
	needLogin := s.needsLogin(sess, req)
	needConsent := sess != nil && s.needsConsent(sess.user, req)
	if slices.Contains(req.prompt, "none") { // OpenID Connect Core §3.1.2.6
		switch {
		case needLogin:
			e := fail("login_required", "nobody is signed in, or not as the request demands")
			return s.sendError(r, req, e), nil
		case needConsent:
			e := fail("consent_required", "the user has not consented yet")
			return s.sendError(r, req, e), nil
		}
		return s.sendCode(r, req, sess)
	}
	auto, denied := s.scripted(req.loginHint)
	switch {
	case denied:
		return s.reject(r, &interaction{request: req}), nil
	case auto != "":
		if needLogin || sess.user != auto {
			sess = s.signIn(r, auto, reachedACR(req))
		}
		s.consent(sess.user, req)
	case needLogin:
		return s.signInPage(r, &interaction{request: req}), nil
	case needConsent:
		return s.signInPage(r, &interaction{request: req, session: sess}), nil
	}
	return s.sendCode(r, req, sess)
}

// scripted returns the user that signs in without a page, or "". If hint (the
// login_hint) names one of Config.Users, it is that one. denied tells whether this
// user says no, which they do once after a call of Deny.
func (s *Server) scripted(hint string) (auto string, denied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.autoUser == "" {
		return "", false
	}
	denied, s.denyNext = s.denyNext, false
	if s.cfg.Users[hint] != nil {
		return hint, denied
	}
	return s.autoUser, denied
}

// needsLogin reports whether the browser's session is not what the request
// demands: another user, too old, or signed in by weaker means.
func (s *Server) needsLogin(sess *session, req *authRequest) bool {
	switch {
	case sess == nil,
		slices.Contains(req.prompt, "login"), slices.Contains(req.prompt, "select_account"),
		req.hasMaxAge && (req.maxAge == 0 || s.now().Sub(sess.authTime) > req.maxAge),
		req.hintSubject != "" && req.hintSubject != s.subject(sess.user):
		return true
	}
	wanted := reachableACR(req)
	return len(wanted) > 0 && !slices.Contains(wanted, sess.acr)
}

// needsConsent reports whether the client wants more than the user allowed it
// before.
func (s *Server) needsConsent(user string, req *authRequest) bool {
	if slices.Contains(req.prompt, "consent") {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _ := s.consents.get(consentKey(user, req.client))
	return !subset(s.narrow(req.scope), before)
}

// consent adds the request's scopes to those that the user has allowed.
func (s *Server) consent(user string, req *authRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := consentKey(user, req.client)
	before, _ := s.consents.get(key)
	all := unique(slices.Concat(before, s.narrow(req.scope)))
	s.consents.put(key, all, s.cfg.RefreshTokenLifetime)
}

// consentKey tells apart all pairs of user and client: a user's name has no line
// break.
func consentKey(user string, c *Client) string { return user + "\n" + c.ID }

// acrValues are the authentication context classes that a sign-in can reach. The
// first is that of a usual sign-in.
func acrValues() []string { return []string{"pwd", "mfa"} }

// reachableACR returns the requested acr values that this server can reach, in
// the client's order. A client requests them by acr_values or by the claims
// parameter.
func reachableACR(req *authRequest) []string {
	wanted := req.acrValues
	if claim, ok := req.claims.IDToken["acr"].(map[string]any); ok {
		if v, ok := claim["value"].(string); ok {
			wanted = []string{v}
		}
		if vs, ok := claim["values"].([]any); ok {
			wanted = nil
			for _, v := range vs {
				if v, ok := v.(string); ok {
					wanted = append(wanted, v)
				}
			}
		}
	}
	return intersect(wanted, acrValues())
}

// reachedACR is the acr of a sign-in for this request.
func reachedACR(req *authRequest) string {
	return slices.Concat(reachableACR(req), acrValues())[0]
}

// sendCode answers with an authorization code.
func (s *Server) sendCode(r *request, req *authRequest, sess *session) (*reply, *oauthError) {
	s.mu.Lock()
	if req.pushed != "" {
		if _, ok := s.pushed.take(req.pushed); !ok {
			s.mu.Unlock()
			return nil, invalidRequest(
				"This request was answered before, or has expired. Start again in the program.")
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
	// The code is kept for longer than it is good, so that a late second use of
	// it still revokes the tokens of the first.
	s.codes.put(issued, &code{
		grant: g, redirectURI: req.redirectURI, challenge: req.challenge, jkt: req.jkt,
		expires: s.now().Add(codeLifetime),
	}, s.cfg.AccessTokenLifetime+codeLifetime)
	s.mu.Unlock()
	return s.sendResponse(r, req, url.Values{"code": {issued}}), nil
}

// sendError answers with an error. A pushed request is used up by it.
func (s *Server) sendError(r *request, req *authRequest, e *oauthError) *reply {
	if req.pushed != "" {
		s.mu.Lock()
		s.pushed.remove(req.pushed)
		s.mu.Unlock()
	}
	params := url.Values{"error": {e.code}, "error_description": {e.description}}
	return s.sendResponse(r, req, params)
}

// sendResponse sends the browser back to the client, by a redirect or by a
// form.
func (s *Server) sendResponse(r *request, req *authRequest, params url.Values) *reply {
	if req.state != "" {
		params.Set("state", req.state)
	}
	params.Set("iss", s.cfg.Issuer) // RFC 9207 §2
	if req.formPost {
		return s.formPostPage(req.redirectURI, params)
	}
	// 303 after a form, never 307: a 307 would send the sign-in form on to the
	// client (RFC 9700 §4.12).
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	return redirect(status, withQuery(req.redirectURI, params))
}

// validScope reports whether every scope follows RFC 6749 §3.3.
func validScope(scope []string) bool {
	return !strings.ContainsFunc(strings.Join(scope, ""), func(r rune) bool {
		return r < 0x21 || r > 0x7e || r == '"' || r == '\\'
	})
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// isSHA256 reports whether v is 43 characters of base64url, as a PKCE challenge
// and a JWK thumbprint are.
func isSHA256(v string) bool { return len(v) == 43 && strings.Trim(v, alphanumeric+"-_") == "" }

// validVerifier reports whether v may be a code_verifier (RFC 7636 §4.1).
func validVerifier(v string) bool {
	return len(v) >= 43 && len(v) <= 128 && strings.Trim(v, alphanumeric+"-._~") == ""
}
