package authserver

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	deviceLifetime = 10 * time.Minute
	userCodeChars  = "BCDFGHJKLMNPQRSTVWXZ" // no vowels, so no words; RFC 8628 §6.1
	maxWrongCodes  = 30                     // a minute, from anybody (RFC 8628 §5.1)
)

// device is a device authorization (RFC 8628) on its way.
type device struct {
	client    *Client
	userCode  string
	scope     []string
	resources []string
	challenge string // PKCE, where the client sends it; "": none
	expires   time.Time
	interval  time.Duration
	lastPoll  time.Time
	state     deviceState
	session   *session // who approved
}

type deviceState int

const (
	devicePending deviceState = iota
	deviceApproved
	deviceDenied
	deviceDone
)

func (s *Server) serveDevice(w http.ResponseWriter, r *http.Request) {
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
	d := &device{
		client:    c,
		scope:     unique(strings.Fields(form.Get("scope"))),
		resources: form["resource"],
		challenge: form.Get("code_challenge"),
		interval:  s.cfg.DeviceInterval,
		expires:   s.now().Add(deviceLifetime),
	}
	switch {
	case !c.may(grantDevice):
		e = refuse("unauthorized_client", "this client may not use the device flow")
	case !validScope(d.scope) || len(d.scope) > 0 && len(s.narrow(d.scope)) == 0:
		e = refuse("invalid_scope", "scope is malformed, or none of it is available")
	case (d.challenge != "" || form.Has("code_challenge_method")) && (form.Get("code_challenge_method") != "S256" || !isSHA256(d.challenge)):
		e = invalidRequest("PKCE must be a code_challenge with code_challenge_method=S256")
	default:
		e = s.checkResources(d.resources)
	}
	if e != nil {
		answerRefusal(w, e)
		return
	}
	deviceCode := newToken("dc_")
	d.userCode = newUserCode()
	s.mu.Lock()
	now := s.now()
	// Kept on for a while, so that a late poll learns that it is late.
	s.devices.put(hash(deviceCode), d, now, d.expires.Add(deviceLifetime))
	s.devices.put(hash("user "+d.userCode), d, now, d.expires)
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"device_code":               deviceCode,
		"user_code":                 d.userCode,
		"verification_uri":          s.URL("/device"),
		"verification_uri_complete": s.URL("/device") + "?user_code=" + d.userCode,
		"expires_in":                int(deviceLifetime.Seconds()),
		"interval":                  int(d.interval.Seconds()),
	})
}

func newUserCode() string {
	var b [8]byte
	for i := range b {
		for {
			var one [1]byte
			_, _ = rand.Read(one[:])              // never fails
			if n := int(one[0]); n < 256-256%20 { // so that each character is as likely as the others
				b[i] = userCodeChars[n%20]
				break
			}
		}
	}
	return string(b[:4]) + "-" + string(b[4:])
}

// findDevice takes a user code as people type them: in either case, with or without the dash.
func (s *Server) findDevice(typed string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.wrongCodes.over(now, maxWrongCodes) {
		return nil
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		if strings.ContainsRune(userCodeChars, r) {
			b.WriteRune(r)
		}
	}
	if plain := b.String(); len(plain) == 8 {
		d, ok := s.devices.get(hash("user "+plain[:4]+"-"+plain[4:]), now)
		if ok && d.state == devicePending {
			return d
		}
	}
	s.wrongCodes.add(now, maxWrongCodes)
	return nil
}

// serveVerification is the page at verification_uri. A code that came in the URL is shown and has to be confirmed (RFC 8628 §5.4).
func (s *Server) serveVerification(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	params, e := readQuery(r)
	if e != nil {
		s.showFailure(w, e.description)
		return
	}
	typed := params.Get("user_code")
	if typed == "" {
		s.showUserCode(w, http.StatusOK, "")
		return
	}
	d := s.findDevice(typed)
	if d == nil {
		s.showUserCode(w, http.StatusBadRequest, "This code is unknown, was used before, or has expired.")
		return
	}
	s.mu.Lock()
	auto, denied := s.autoUser, s.deny
	s.deny = s.deny && auto == ""
	s.mu.Unlock()
	if auto == "" {
		s.showSignIn(w, r, &interaction{device: d, session: s.session(r)})
		return
	}
	if denied {
		s.denied(w, r, &interaction{device: d})
		return
	}
	s.allowed(w, r, &interaction{device: d}, url.Values{"username": {auto}})
}

// resolveDevice writes down a person's answer; false: there was one before, or it comes too late.
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

var errNoDevice = errors.New("authserver: no device waits under this code")

// ApproveDevice approves the device that shows userCode, as user.
func (s *Server) ApproveDevice(userCode, user string) error {
	if _, ok := s.user(user); !ok {
		return errors.New("authserver: there is no such user")
	}
	d := s.findDevice(userCode)
	if d == nil || !s.resolveDevice(d, &session{user: user, acr: s.reachedACR(&authRequest{}), authTime: s.now()}, true) {
		return errNoDevice
	}
	return nil
}

// DenyDevice refuses the device that shows userCode.
func (s *Server) DenyDevice(userCode string) error {
	if d := s.findDevice(userCode); d == nil || !s.resolveDevice(d, nil, false) {
		return errNoDevice
	}
	return nil
}

// poll is a device's request for its tokens (RFC 8628 §3.4, §3.5). It is called with s.mu held.
func (s *Server) poll(c *Client, deviceCode, challenge string) (*grant, *refusal) {
	now := s.now()
	d, ok := s.devices.get(hash(deviceCode), now)
	if !ok || d.client.ID != c.ID {
		return nil, invalidGrant("the device code is unknown, or belongs to another client")
	}
	if !now.Before(d.expires) {
		return nil, refuse("expired_token", "the device code has expired")
	}
	// The last poll counts even when it was too early, so a client that ignores slow_down gets nothing but that.
	early := !d.lastPoll.IsZero() && now.Sub(d.lastPoll) < d.interval
	d.lastPoll = now
	if early {
		d.interval += 5 * time.Second
		return nil, refuse("slow_down", "wait five seconds longer between polls, from now on")
	}
	switch d.state {
	case devicePending:
		return nil, refuse("authorization_pending", "the person has not answered yet")
	case deviceDenied:
		return nil, refuse("access_denied", "the person said no")
	case deviceDone:
		return nil, invalidGrant("the device code was used before")
	}
	if d.challenge != "" && !equal(d.challenge, challenge) {
		return nil, invalidGrant("code_verifier does not match code_challenge")
	}
	d.state = deviceDone
	return &grant{
		client: c.ID, user: d.session.user, scope: s.narrow(d.scope), resources: d.resources,
		acr: d.session.acr, authTime: d.session.authTime, epoch: s.epoch,
	}, nil
}
