package model

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	issuer = "https://op.example"
	api    = "https://api.example"
	life   = 10 * time.Minute // of an access token
	idLife = 5 * time.Minute  // of an ID token
	grace  = 30 * time.Second // in which a spent refresh token is still good
	// fetchTimeout is about what the SDK waits for an answer.
	fetchTimeout = 20 * time.Second
	patient      = 2 * time.Minute // how long an unanswered request stays open
)

// habits are what a provider always does. It keeps them when it is healthy.
type habits struct {
	Rotation string // "": the refresh token stays; "strict"; "grace"
	Refuses  string // what it says to a dead refresh token; "": invalid_grant
	// Refreshed is what is odd about the ID token of a refresh: "auth_time",
	// "at_hash", "soon" (it expires in 5 s), "none", "sub", "iss".
	Refreshed     string
	TokenStatus   int    // of a good token response; 0: 200
	RevokesUser   bool   // a revocation ends all grants of the user to the client
	RevokesAccess string // the error code for an access token's revocation; "": none
	Narrow        bool   // a narrowed refresh gets invalid_grant
	Registers     bool   // clients register themselves, and get a secret
	NoRefresh     bool   // there are no refresh tokens
}

// answer is how one endpoint answers while it is bent.
type answer struct {
	Status int    // 0: as it is
	Body   string // "": as it is, "empty", "html", "truncated", "json", "error"
	Code   string // of an error
	Type   string // the media type; "": that of the body
	Delay  time.Duration
	Lost   string // "dial", "reset", "answer" (reset after processing), "hang"
	Retry  int    // Retry-After in seconds
	Life   string // expires_in: "0", "-1", "none"; "": as it is
	Done   bool   // the request is processed although the answer is bent
}

// processed reports whether the provider acts on the request.
func (a answer) processed() bool {
	return a.Lost == "" && a.Body == "" || a.Lost == "answer" || a.Done
}

// counts reports whether the answer is a refusal of the refresh token, or may
// be taken for one.
func (a answer) counts(registered bool) bool {
	if a.Lost != "" {
		return false
	}
	switch a.Body {
	case "error":
		switch a.Code {
		case "invalid_client":
			return registered
		case "invalid_scope", "invalid_target":
			return false
		case "invalid_grant":
			return true
		}
		return a.Status == 200 || a.Status == 400 || a.Status == 401 || a.Status == 403
	case "empty":
		return a.Status == 400 || a.Status == 401 || a.Status == 403
	case "json", "truncated":
		return a.Status == 200 || a.Status == 400 || a.Status == 401 || a.Status == 403
	}
	return false
}

// loses reports whether a rotated refresh token may be lost with the answer.
func (a answer) loses() bool {
	return a.processed() &&
		(a.Lost != "" || a.Body != "" || a.Delay > 0 || a.Status/100 > 2 || a.Type == "text/html")
}

type bend struct {
	answer answer
	left   int // how often; negative: until healed
}

type grant struct {
	user, client string
	alive        bool
	refresh      string
	spent        map[string]time.Duration // refresh tokens, and when they were spent
	authTime     int64
	access       map[string]bool
	revoked      bool // by a revocation request
}

// provider is an authorization server and an API in memory. It has no channels,
// so it lives through several bubbles.
type provider struct {
	habits

	mu      sync.Mutex
	base    time.Duration // time of earlier bubbles
	drift   time.Duration // of its clock
	behind  time.Duration // how far this machine's clock was set back
	bends   map[string]bend
	key     *ecdsa.PrivateKey
	kid     int
	serial  int
	grants  []*grant
	access  map[string]access
	clients map[string]bool // false: forgotten, or its secret has expired
	codes   map[string]string
	users   map[string]string // by code: the user that confirmed it
	nonces  map[string]string // by code
	hasty   bool              // nothing is waited for: see expiring

	reused int // spent refresh tokens that arrived
}

type access struct {
	grant     *grant
	expiry    time.Duration
	refreshed bool // by a refresh
}

// signingKeys are made once: making one costs more than a sequence.
var signingKeys = sync.OnceValue(func() (keys [8]*ecdsa.PrivateKey) {
	for i := range keys {
		keys[i], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return keys
})

func newProvider(h habits) *provider {
	return &provider{
		habits: h, key: signingKeys()[0], bends: map[string]bend{},
		access: map[string]access{}, clients: map[string]bool{"cli": true},
		codes: map[string]string{}, users: map[string]string{}, nonces: map[string]string{},
	}
}

// bubbleStart is when every bubble's clock begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// now is a clock that nobody sets.
func (p *provider) now() time.Duration { return p.base + time.Since(bubbleStart) }

func endpointOf(u *url.URL) string {
	if u.Host == "api.example" {
		return "api"
	}
	switch u.Path {
	case "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server":
		return "metadata"
	}
	return strings.TrimPrefix(u.Path, "/")
}

// RoundTrip answers req, bent if its endpoint is.
func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	at := endpointOf(req.URL)
	var form url.Values
	if req.Body != nil {
		body, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		form, _ = url.ParseQuery(string(body))
	}
	p.mu.Lock()
	a := p.bent(at)
	hasty := p.hasty
	p.mu.Unlock()
	late := hasty && a.Delay > fetchTimeout
	if hasty {
		a.Delay = 0
	}
	if err := a.unheard(req.Context(), hasty); err != nil {
		return nil, err
	}
	var resp *http.Response
	if a.processed() {
		p.mu.Lock()
		resp = p.serve(at, req, form, a)
		p.mu.Unlock()
	}
	if err := sleep(req.Context(), a.Delay); err != nil {
		return nil, err
	}
	switch {
	case a.Lost == "answer":
		return nil, errReset
	case late:
		return nil, context.DeadlineExceeded
	case a.Body != "":
		resp = a.response()
	case a.Status != 0:
		resp.StatusCode = a.Status
	}
	if a.Type != "" {
		resp.Header.Set("Content-Type", a.Type)
	}
	if a.Retry > 0 {
		resp.Header.Set("Retry-After", strconv.Itoa(a.Retry))
	}
	resp.Request = req
	return resp, nil
}

var errReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// unheard returns the error of a request that the provider never sees; nil: it
// sees it.
func (a answer) unheard(ctx context.Context, hasty bool) error {
	switch {
	case a.Lost == "dial":
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case a.Lost == "reset":
		return errReset
	case a.Lost == "hang" && hasty:
		return context.DeadlineExceeded
	case a.Lost == "hang":
		if err := sleep(ctx, patient); err != nil {
			return err
		}
		return errReset
	}
	return nil
}

// bent returns the answer that is due at an endpoint.
func (p *provider) bent(at string) answer {
	for _, name := range []string{at, "all"} {
		b, ok := p.bends[name]
		if !ok || name == "all" && at == "api" {
			continue
		}
		if b.left--; b.left == 0 {
			delete(p.bends, name)
		} else {
			p.bends[name] = b
		}
		return b.answer
	}
	return answer{}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func reply(status int, mediaType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {mediaType}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func replyJSON(status int, v any) *http.Response {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		panic(err)
	}
	return reply(status, "application/json", b.String())
}

func refusal(status int, code string) *http.Response {
	return replyJSON(status, map[string]any{"error": code})
}

// response is the bent answer, without what the endpoint would have said.
func (a answer) response() *http.Response {
	var resp *http.Response
	switch a.Body {
	case "empty":
		resp = reply(a.Status, "", "")
	case "html":
		resp = reply(a.Status, "text/html", "<html><title>Sign in to the network</title></html>")
	case "truncated":
		resp = reply(a.Status, "application/json", `{"access_token":"cut`)
	case "json":
		resp = reply(a.Status, "application/json", `{"message":"hello"}`)
	default:
		resp = refusal(a.Status, a.Code)
	}
	if a.Status == 302 {
		resp.Header.Set("Location", "https://portal.example/")
	}
	return resp
}

func (p *provider) serve(at string, req *http.Request, form url.Values, a answer) *http.Response {
	switch at {
	case "metadata":
		return replyJSON(200, p.metadata())
	case "keys":
		return replyJSON(200, map[string]any{"keys": []any{p.jwk()}})
	case "register":
		id := p.next("client")
		p.clients[id] = true
		return replyJSON(201, map[string]any{
			"client_id": id, "client_secret": "secret-" + id, "client_secret_expires_at": 0,
			"token_endpoint_auth_method": "client_secret_basic",
		})
	case "api":
		if token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); p.accepts(token) == "" {
			resp := reply(401, "text/plain", "no")
			resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			return resp
		}
		return reply(200, "text/plain", "yes")
	}
	client := form.Get("client_id")
	if id, _, ok := req.BasicAuth(); ok {
		client = id
	}
	if !p.clients[client] {
		return refusal(401, "invalid_client")
	}
	switch at {
	case "device":
		code := p.next("device")
		p.codes[code] = client
		return replyJSON(200, map[string]any{
			"device_code": code, "user_code": code, "verification_uri": issuer + "/device",
			"expires_in": 600, "interval": 1,
		})
	case "revoke":
		return p.revoke(form)
	case "token":
		if form.Get("grant_type") == "refresh_token" {
			return p.refreshed(form, a)
		}
		return p.confirmed(cmp.Or(form.Get("device_code"), form.Get("code")), client, a)
	}
	return reply(404, "text/plain", "not found")
}

func (p *provider) next(kind string) string {
	p.serial++
	return fmt.Sprintf("%s-%d", kind, p.serial)
}

func (p *provider) metadata() map[string]any {
	m := map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/keys",
		"authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
		"device_authorization_endpoint": issuer + "/device", "revocation_endpoint": issuer + "/revoke",
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"response_types_supported":              []string{"code"}, "subject_types_supported": []string{"public"},
	}
	if p.Registers {
		m["registration_endpoint"] = issuer + "/register"
	}
	return m
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *provider) jwk() map[string]any {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]any{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": fmt.Sprint(p.kid),
		"x": encode(point[1:33]), "y": encode(point[33:]),
	}
}

func (p *provider) sign(claims map[string]any) string {
	header, _ := json.Marshal(map[string]any{"alg": "ES256", "kid": fmt.Sprint(p.kid)})
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	input := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + encode(signature)
}

// accepts returns the user of an access token that the API takes; "": none.
func (p *provider) accepts(token string) (user string) {
	t, ok := p.access[token]
	if !ok || !t.grant.alive || !t.grant.access[token] || p.now() >= t.expiry {
		return ""
	}
	return t.grant.user
}

// stranger reports whether the ID token that came with an access token was for
// another identity than that of the sign-in.
func (p *provider) stranger(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.access[token].refreshed && (p.Refreshed == "sub" || p.Refreshed == "iss")
}

// user returns the user of an access token, dead or alive.
func (p *provider) user(token string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.access[token]; ok {
		return t.grant.user
	}
	return ""
}

func (p *provider) works(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepts(token) != ""
}

// confirmed answers the token request for a code.
func (p *provider) confirmed(code, client string, a answer) *http.Response {
	user, decided := p.users[code]
	switch {
	case p.codes[code] != client:
		return refusal(400, "invalid_grant")
	case !decided:
		return refusal(400, "authorization_pending")
	case user == "nobody":
		return refusal(400, "access_denied")
	}
	delete(p.codes, code)
	g := &grant{
		user: user, client: client, alive: true,
		spent: map[string]time.Duration{}, access: map[string]bool{},
		authTime: p.wall().Unix(),
	}
	if !p.NoRefresh {
		g.refresh = p.next("refresh")
	}
	p.grants = append(p.grants, g)
	return p.issue(g, a, false, p.nonces[code])
}

// refreshed answers a refresh request.
func (p *provider) refreshed(form url.Values, a answer) *http.Response {
	sent := form.Get("refresh_token")
	for _, g := range p.grants {
		at, spent := g.spent[sent]
		if g.refresh != sent && !spent {
			continue
		}
		if spent {
			p.reused++
		}
		switch {
		case !g.alive:
			return p.dead()
		case p.Narrow && form.Get("scope") != "":
			return refusal(400, "invalid_grant")
		case spent && (p.Rotation == "strict" || p.now()-at > grace):
			g.alive = false
			return p.dead()
		}
		if p.Rotation != "" {
			if !spent {
				g.spent[sent] = p.now()
			}
			g.refresh = p.next("refresh")
		}
		return p.issue(g, a, true, "")
	}
	return p.dead()
}

// dead is what the provider says to a refresh token that is no longer good.
func (p *provider) dead() *http.Response {
	switch p.Refuses {
	case "":
		return refusal(400, "invalid_grant")
	case "empty 400":
		return reply(400, "", "")
	case "empty 401":
		return reply(401, "", "")
	case "200":
		return refusal(200, "expired")
	case "invalid_token":
		return refusal(401, p.Refuses)
	case "access_denied":
		return refusal(403, p.Refuses)
	}
	return refusal(400, p.Refuses)
}

// issue answers with new tokens.
func (p *provider) issue(g *grant, a answer, refresh bool, nonce string) *http.Response {
	token := p.next("access")
	p.access[token] = access{g, p.now() + life, refresh}
	g.access[token] = true
	m := map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(life / time.Second),
		"scope": "openid offline_access read",
	}
	switch a.Life {
	case "0":
		m["expires_in"] = 0
	case "-1":
		m["expires_in"] = -1
	case "none":
		delete(m, "expires_in")
	}
	if g.refresh != "" {
		m["refresh_token"] = g.refresh
	}
	if raw := p.idToken(g, token, refresh, nonce); raw != "" {
		m["id_token"] = raw
	}
	status := 200
	if p.TokenStatus != 0 {
		status = p.TokenStatus
	}
	return replyJSON(status, m)
}

func (p *provider) idToken(g *grant, token string, refresh bool, nonce string) string {
	now := p.wall()
	sum := sha256.Sum256([]byte(token))
	claims := map[string]any{
		"iss": issuer, "sub": g.user, "aud": g.client,
		"iat": now.Unix(), "exp": now.Add(idLife).Unix(), "auth_time": g.authTime,
		"at_hash": encode(sum[:16]), "preferred_username": g.user,
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if refresh {
		switch p.Refreshed {
		case "auth_time":
			claims["auth_time"] = now.Unix()
		case "at_hash":
			claims["at_hash"] = encode(sum[16:])
		case "soon":
			claims["exp"] = now.Add(5 * time.Second).Unix()
		case "sub":
			claims["sub"] = "the new " + g.user
		case "iss":
			claims["iss"] = issuer + "/new"
		case "none":
			return ""
		}
	}
	return p.sign(claims)
}

// revoke answers a revocation request (RFC 7009).
func (p *provider) revoke(form url.Values) *http.Response {
	token := form.Get("token")
	for _, g := range p.grants {
		if _, spent := g.spent[token]; g.refresh == token && token != "" || spent {
			p.revokeGrant(g)
			return reply(200, "", "")
		}
		if g.access[token] {
			if p.RevokesAccess != "" {
				return refusal(400, p.RevokesAccess)
			}
			delete(g.access, token)
			if g.refresh == "" || p.RevokesUser {
				p.revokeGrant(g)
			}
			return reply(200, "", "")
		}
	}
	return reply(200, "", "")
}

func (p *provider) revokeGrant(revoked *grant) {
	for _, g := range p.grants {
		if g == revoked || p.RevokesUser && g.user == revoked.user && g.client == revoked.client {
			g.revoked = g.revoked || g.alive
			g.alive = false
		}
	}
}

// event changes the provider for good.
func (p *provider) event(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case "revoke":
		for _, g := range p.grants {
			g.alive = false
		}
	case "forget":
		for id := range p.clients {
			if id != "cli" {
				p.clients[id] = false
			}
		}
	case "new keys":
		p.kid++
		p.key = signingKeys()[p.kid%len(signingKeys())]
	case "fast clock":
		p.drift = 10 * time.Minute
	case "slow clock":
		p.drift = -10 * time.Minute
	}
}

// heal ends every bend and sets the provider's clock right. Events and habits
// stay. It returns how long this machine has to wait for its clock to be right.
func (p *provider) heal() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	behind := p.behind
	p.bends, p.drift, p.behind = map[string]bend{}, 0, 0
	return behind
}

// restart tells the provider that this bubble ends. The next one begins at the
// time of its start, so this machine's clock is behind then.
func (p *provider) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	passed := time.Since(bubbleStart)
	p.base += passed
	p.behind += passed
}

// wall is the time as the provider tells it.
func (p *provider) wall() time.Time { return time.Now().Add(p.behind + p.drift) }

func (p *provider) bendTo(at string, a answer, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if times == 0 {
		times = -1
	}
	p.bends[at] = bend{a, times}
}

// confirm is what the user does with a device code.
func (p *provider) confirm(code, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[code] = user
}

// newest returns user's newest grant; nil: there is none.
func (p *provider) newest(user string) *grant {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.grants) - 1; i >= 0; i-- {
		if p.grants[i].user == user {
			return p.grants[i]
		}
	}
	return nil
}

var errKilled = errors.New("the process is dead")
