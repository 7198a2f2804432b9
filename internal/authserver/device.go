package authserver

import (
	"crypto/rand"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	deviceLifetime = 10 * time.Minute
	userCodeChars  = "BCDFGHJKLMNPQRSTVWXZ" // no vowels, so no words (RFC 8628 §6.1)
	maxWrongCodes  = 30                     // a minute, from all browsers together (RFC 8628 §5.1)
)

// device is a device authorization on its way (RFC 8628).
type device struct {
	client    *Client
	userCode  string
	scope     []string
	resources []string
	challenge string // of PKCE, if the client sends it; "" for none
	expires   time.Time
	interval  time.Duration // between polls
	lastPoll  time.Time
	state     deviceState
	session   *session // of the user, once they approved
}

type deviceState int

const (
	devicePending deviceState = iota
	deviceApproved
	deviceDenied
	deviceDone // its tokens were issued
)

// serveDevice is the device authorization endpoint (RFC 8628 §3.1).
func (s *Server) serveDevice(r *request) (*reply, *oauthError) {
	method := r.params.Get("code_challenge_method")
	d := &device{
		client:    r.client,
		scope:     unique(strings.Fields(r.params.Get("scope"))),
		resources: r.params["resource"],
		challenge: r.params.Get("code_challenge"),
		interval:  s.cfg.DeviceInterval,
		expires:   s.now().Add(deviceLifetime),
		userCode:  newUserCode(),
	}
	switch {
	case !d.client.may(grantDevice):
		return nil, fail("unauthorized_client", "this client may not use the device flow")
	case !validScope(d.scope) || len(d.scope) > 0 && len(s.narrow(d.scope)) == 0:
		return nil, fail("invalid_scope", "scope is malformed, or none of it is available")
	case (d.challenge != "" || method != "") && (method != "S256" || !isSHA256(d.challenge)):
		return nil, invalidRequest("PKCE must be a code_challenge with code_challenge_method=S256")
	}
	if e := s.checkResources(d.resources); e != nil {
		return nil, e
	}
	deviceCode := newToken("dc_")
	s.mu.Lock()
	// It is kept after it has expired, so that a late poll learns why it fails.
	s.devices.put(deviceCode, d, 2*deviceLifetime)
	s.devices.put("user "+d.userCode, d, deviceLifetime)
	s.mu.Unlock()
	return jsonReply(http.StatusOK, map[string]any{
		"device_code":               deviceCode,
		"user_code":                 d.userCode,
		"verification_uri":          s.URL("/device"),
		"verification_uri_complete": s.URL("/device") + "?user_code=" + d.userCode,
		"expires_in":                int(deviceLifetime.Seconds()),
		"interval":                  int(d.interval.Seconds()),
	})
}

// newUserCode returns a code such as BCDF-GHJK: 20^8 possible ones, which
// maxWrongCodes protects against guessing.
func newUserCode() string {
	var b [8]byte
	for i := range b {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(userCodeChars)))) // it never fails
		b[i] = userCodeChars[n.Int64()]
	}
	return string(b[:4]) + "-" + string(b[4:])
}

// findDevice returns the pending device with a user code, or nil. Users may
// type the code in either case, with or without the dash. After too many wrong
// codes it finds nothing for a while, so that nobody can guess one.
func (s *Server) findDevice(typed string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(slices.Collect(s.wrongCodes.all())) > maxWrongCodes {
		return nil
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		if strings.ContainsRune(userCodeChars, r) {
			b.WriteRune(r)
		}
	}
	if plain := b.String(); len(plain) == 8 {
		d, ok := s.devices.get("user " + plain[:4] + "-" + plain[4:])
		if ok && d.state == devicePending {
			return d
		}
	}
	s.wrongCodes.put(newToken(""), struct{}{}, time.Minute)
	return nil
}

// serveVerification is the page at verification_uri. A code in the URL is shown
// and has to be confirmed (RFC 8628 §5.4): the link may come from an attacker.
func (s *Server) serveVerification(r *request) (*reply, *oauthError) {
	typed := r.params.Get("user_code")
	if typed == "" {
		return s.userCodePage(http.StatusOK, ""), nil
	}
	d := s.findDevice(typed)
	if d == nil {
		return s.userCodePage(http.StatusBadRequest,
			"This code is unknown, was used before, or has expired."), nil
	}
	switch auto, denied := s.scripted(""); {
	case denied:
		return s.reject(r, &interaction{device: d}), nil
	case auto != "":
		return s.approve(r, &interaction{device: d}, auto)
	}
	return s.signInPage(r, &interaction{device: d, session: s.session(r)}), nil
}

// resolveDevice records the user's decision. It returns false if there was one
// before, or if this one comes too late.
func (s *Server) resolveDevice(d *device, sess *session, approve bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.state != devicePending || !s.now().Before(d.expires) {
		return false
	}
	d.state, d.session = deviceDenied, sess
	if approve {
		d.state = deviceApproved
	}
	return true
}

// ApproveDevice approves the device that shows userCode, as user. It does what
// the page at verification_uri does, without a browser. It fails if no device
// waits under this code.
func (s *Server) ApproveDevice(userCode, user string) error {
	if _, ok := s.user(user); !ok {
		return errors.New("authserver: there is no such user")
	}
	d := s.findDevice(userCode)
	sess := &session{user: user, acr: reachedACR(&authRequest{}), authTime: s.now()}
	if d == nil || !s.resolveDevice(d, sess, true) {
		return errors.New("authserver: no device waits under this code")
	}
	return nil
}

// poll returns the grant of a device that asks for its tokens (RFC 8628 §3.4,
// §3.5). It is called with s.mu held.
func (s *Server) poll(t *tokenRequest) (*grant, *oauthError) {
	now := s.now()
	d, ok := s.devices.get(t.form.Get("device_code"))
	if !ok || d.client.ID != t.client.ID {
		return nil, invalidGrant("the device code is unknown, or belongs to another client")
	}
	if !now.Before(d.expires) {
		return nil, fail("expired_token", "the device code has expired")
	}
	// A poll counts even if it comes too early. So a client that ignores
	// slow_down gets nothing else.
	early := !d.lastPoll.IsZero() && now.Sub(d.lastPoll) < d.interval
	d.lastPoll = now
	if early {
		d.interval += 5 * time.Second
		return nil, fail("slow_down", "wait five seconds longer between polls, from now on")
	}
	switch d.state {
	case devicePending:
		return nil, fail("authorization_pending", "the user has not answered yet")
	case deviceDenied:
		return nil, fail("access_denied", "the user said no")
	case deviceDone:
		return nil, invalidGrant("the device code was used before")
	}
	if d.challenge != "" && !equal(d.challenge, t.challenge) {
		return nil, invalidGrant("code_verifier does not match code_challenge")
	}
	d.state = deviceDone
	g := &grant{
		client: d.client.ID, user: d.session.user, scope: s.narrow(d.scope), resources: d.resources,
		acr: d.session.acr, authTime: d.session.authTime, epoch: s.epoch,
	}
	return g, t.within(g)
}
