// Package authserver is a strict OAuth 2.1 authorization server and OpenID provider that lives in memory.
//
// It stands behind oauthclient/oauthtest, where programs test their sign-in, and behind `nativeoauth login --demo`.
// It is strict on purpose: what a lenient provider lets pass, a client should learn about here. It speaks
//
//   - the authorization code flow with PKCE S256 only (RFC 7636, RFC 8252, RFC 9207), at a page for a person or without one,
//   - pushed authorization requests (RFC 9126), DPoP (RFC 9449), resource indicators (RFC 8707), the device flow (RFC 8628),
//   - refresh with rotation and reuse detection, with a grace period, or without rotation (RFC 9700 §4.14),
//   - revocation (RFC 7009), introspection (RFC 7662), registration (RFC 7591), metadata (RFC 8414, OpenID Connect Discovery),
//   - ID tokens, userinfo and RP-initiated logout (OpenID Connect), and
//   - the resource server's side: RFC 6750, RFC 9470 and RFC 9728 ([Server.Protect]).
//
// Everything it keeps is bounded and ends; nothing survives the process. It starts no goroutine. The listener, TLS and the limits of
// headers and time are its http.Server's.
// Within each file the order is: what the endpoint takes, what it refuses, what it answers.
package authserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Names of endpoints, for [Server.Requests], [Server.Hold], [Server.Delay] and [Config.Misbehave].
const (
	Metadata      = "metadata" // all of the well-known places of the server itself
	JWKS          = "jwks"
	Authorize     = "authorize"
	Decide        = "decide" // where the sign-in page posts to
	Token         = "token"
	PAR           = "par"
	Device        = "device"       // the device authorization endpoint
	Verification  = "verification" // the page where a person types the user code
	Revocation    = "revocation"
	Introspection = "introspection"
	Userinfo      = "userinfo"
	EndSession    = "end_session"
	Registration  = "registration"
)

// Rotation says what a refresh does to the refresh token.
type Rotation int

const (
	// RotateStrict: each refresh brings a new refresh token, and a consumed one that is presented again revokes the whole
	// family (RFC 9700 §4.14.2).
	RotateStrict Rotation = iota
	// RotateGrace: for Config.Grace after its use, a consumed refresh token answers again, each time with a fresh pair.
	RotateGrace
	// RotateGraceSame: for Config.Grace after its use, and until its successor is used, a consumed refresh token answers
	// again with that same successor and a fresh access token.
	RotateGraceSame
	// RotateNever: the refresh token stays, and a refresh response has none.
	RotateNever
)

// Config is what a server is made of. Only Issuer is required. [New] copies it; the maps in it must not change afterwards.
type Config struct {
	// Issuer is the server's identifier and the base of its endpoints: https, or http on a loopback address. It may have a path.
	Issuer string
	// Clients are known from the start; nil: only those that register.
	Clients []Client
	// Users are the people who can sign in, by name, with their claims; "sub" defaults to the name.
	// nil: anybody, under the name they give, without further claims.
	Users map[string]map[string]any
	// AutoUser signs in and approves at once, without a page; "": a person does, on a page. [Server.SetAutoUser] changes it.
	AutoUser string

	// Scopes are granted at most; nil: whatever is asked for. A refresh token comes with offline_access only.
	Scopes []string
	// Resources are the resource indicators that are accepted (RFC 8707); nil: every absolute URI without a fragment.
	Resources []string
	// ACRValues are the authentication context classes that a sign-in can reach, the usual one first; nil: "pwd", "mfa".
	ACRValues []string

	// Lifetimes; 0: five minutes, five minutes, thirty days.
	AccessTokenLifetime, IDTokenLifetime, RefreshTokenLifetime time.Duration
	// DeviceInterval is what a device waits between polls, in whole seconds; 0: five seconds.
	DeviceInterval time.Duration
	Rotation       Rotation
	// Grace is for RotateGrace and RotateGraceSame; 0: thirty seconds.
	Grace time.Duration

	// SigningAlg signs ID tokens: ES256, RS256, PS256 or EdDSA; "": ES256. An RSA key takes a moment to make.
	SigningAlg string

	RequirePAR  bool
	RequireDPoP bool
	// DPoPNonce has the server's own endpoints demand a nonce (RFC 9449 §8), ResourceNonce those behind [Server.Protect] and userinfo (§9).
	DPoPNonce, ResourceNonce bool
	// OpenRegistration lets anybody register (RFC 7591); else InitialAccessToken is needed, and without one there is no registration.
	OpenRegistration   bool
	InitialAccessToken string

	// Misbehave, if not nil, is called once for each endpoint by [New], and what it returns answers in its place.
	Misbehave func(endpoint string, next http.Handler) http.Handler
	// EditIDToken, if not nil, may change the claims of every ID token before it is signed.
	EditIDToken func(claims map[string]any)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Server is an [http.Handler], safe for concurrent use.
type Server struct {
	cfg    Config
	base   string // the issuer without a closing slash
	path   string // its path, "" or "/tenant"
	origin string // and its origin
	routes map[string]http.Handler
	gates  map[string]*gate

	nonceKey []byte
	nonces   atomic.Int64 // how often RotateNonces was called

	mu           sync.Mutex // everything below
	clients      map[string]*Client
	registered   []string     // ids of clients that registered, oldest first
	keys         []signingKey // the last one signs
	autoUser     string
	deny         bool
	epoch        int // grants of an earlier one were revoked together
	expired      int // access tokens of an earlier one were expired together
	codes        table[*code]
	access       table[*accessToken]
	refresh      table[*refreshToken]
	pushed       table[*authRequest]
	devices      table[*device]
	interactions table[*interaction]
	sessions     table[*session]
	consents     table[[]string]
	seen         table[struct{}] // jti of proofs and assertions
	wrongCodes   window
	stats        Stats
}

// Stats counts what happened since the start.
type Stats struct {
	Logins          int // sign-ins, by page or without
	CodesExchanged  int
	CodesReused     int
	Refreshes       int // refresh tokens presented, whatever came of it
	Reuses          int // of them: consumed ones
	FamiliesRevoked int // because a consumed code or refresh token was presented
}

// New checks cfg and returns a server that is ready to serve.
func New(cfg Config) (*Server, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("authserver: Issuer: %w", err)
	}
	if strings.Contains(cfg.Issuer, "?") {
		return nil, errors.New("authserver: Issuer: it has a query (RFC 8414 §2)")
	}
	if cfg.AutoUser != "" && cfg.Users != nil && cfg.Users[cfg.AutoUser] == nil {
		return nil, errors.New("authserver: AutoUser is not one of Users")
	}
	cfg.AccessTokenLifetime = orDefault(cfg.AccessTokenLifetime, 5*time.Minute)
	cfg.IDTokenLifetime = orDefault(cfg.IDTokenLifetime, 5*time.Minute)
	cfg.RefreshTokenLifetime = orDefault(cfg.RefreshTokenLifetime, 30*24*time.Hour)
	cfg.DeviceInterval = max(orDefault(cfg.DeviceInterval, 5*time.Second), time.Second).Round(time.Second)
	cfg.Grace = orDefault(cfg.Grace, 30*time.Second)
	if cfg.SigningAlg == "" {
		cfg.SigningAlg = "ES256"
	}
	if cfg.ACRValues == nil {
		cfg.ACRValues = []string{"pwd", "mfa"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}

	s := &Server{
		cfg:      cfg,
		base:     strings.TrimSuffix(cfg.Issuer, "/"),
		path:     strings.TrimSuffix(u.EscapedPath(), "/"),
		nonceKey: []byte(newToken("")),
		clients:  map[string]*Client{},
		autoUser: cfg.AutoUser,

		pushed:       table[*authRequest]{max: fewLarge},
		devices:      table[*device]{max: fewLarge},
		interactions: table[*interaction]{max: fewLarge},
	}
	s.origin = wire.Origin(u)
	for _, c := range cfg.Clients {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("authserver: client %q: %w", c.ID, err)
		}
		s.clients[c.ID] = &c
	}
	key, err := newSigningKey(cfg.SigningAlg)
	if err != nil {
		return nil, err
	}
	s.keys = []signingKey{key}
	s.route()
	return s, nil
}

func (s *Server) route() {
	s.routes, s.gates = map[string]http.Handler{}, map[string]*gate{}
	add := func(name string, h http.HandlerFunc, paths ...string) {
		var handler http.Handler = h
		if s.cfg.Misbehave != nil {
			handler = s.cfg.Misbehave(name, handler)
		}
		g := &gate{next: handler}
		s.gates[name] = g
		for _, p := range paths {
			s.routes[p] = g
		}
	}
	// RFC 8414 §3.1 puts the well-known part before the path, OpenID Connect Discovery §4 after it.
	add(Metadata, s.serveMetadata, s.path+"/.well-known/openid-configuration",
		"/.well-known/openid-configuration"+s.path, "/.well-known/oauth-authorization-server"+s.path)
	add(JWKS, s.serveJWKS, s.path+"/jwks")
	add(Authorize, s.serveAuthorize, s.path+"/authorize")
	add(Decide, s.serveDecide, s.path+"/decide")
	add(Token, s.serveToken, s.path+"/token")
	add(PAR, s.servePAR, s.path+"/par")
	add(Device, s.serveDevice, s.path+"/device_authorization")
	add(Verification, s.serveVerification, s.path+"/device")
	add(Revocation, s.serveRevocation, s.path+"/revoke")
	add(Introspection, s.serveIntrospection, s.path+"/introspect")
	add(Userinfo, s.serveUserinfo, s.path+"/userinfo")
	add(EndSession, s.serveEndSession, s.path+"/end_session")
	if s.canRegister() {
		add(Registration, s.serveRegistration, s.path+"/register")
	}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page whose name was rebound to this address would otherwise be of the same origin as the sign-in page.
	if origin := (&url.URL{Scheme: strings.Split(s.origin, ":")[0], Host: r.Host}); wire.Origin(origin) != s.origin {
		http.Error(w, "this server is "+s.origin, http.StatusMisdirectedRequest)
		return
	}
	h := s.routes[r.URL.EscapedPath()]
	if h == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	h.ServeHTTP(w, r)
}

// Issuer returns the issuer identifier.
func (s *Server) Issuer() string { return s.cfg.Issuer }

// URL returns the address of a path below the issuer, such as "/token".
func (s *Server) URL(path string) string { return s.base + path }

// Requests returns how many requests an endpoint has had, those that were refused, held or misbehaved at among them.
func (s *Server) Requests(endpoint string) int {
	if g := s.gates[endpoint]; g != nil {
		return int(g.requests.Load())
	}
	return 0
}

// Delay has every further request to an endpoint wait that long before it is handled; 0 ends it.
func (s *Server) Delay(endpoint string, d time.Duration) {
	if g := s.gates[endpoint]; g != nil {
		g.delay.Store(int64(d))
	}
}

// Hold has every further request to an endpoint wait until release is called, which may be done more than once.
func (s *Server) Hold(endpoint string) (release func()) {
	g := s.gates[endpoint]
	if g == nil {
		return func() {}
	}
	held := make(chan struct{})
	g.held.Store(&held)
	return sync.OnceFunc(func() {
		g.held.CompareAndSwap(&held, nil)
		close(held)
	})
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Presented returns how often a refresh token was presented at the token endpoint.
func (s *Server) Presented(refreshToken string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.refresh.get(hash(refreshToken), s.now()); ok {
		return t.presented
	}
	return 0
}

// Active reports whether a token, access or refresh, would be accepted now.
func (s *Server) Active(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.access.get(hash(token), s.now()); ok {
		return s.liveAccess(t)
	}
	t, ok := s.refresh.get(hash(token), s.now())
	return ok && s.live(t.grant) && t.consumed.IsZero()
}

// Alive returns how many grants have a token, access or refresh, that would be accepted now.
func (s *Server) Alive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	grants := map[*grant]bool{}
	for t := range s.access.all(s.now()) {
		if s.liveAccess(t) {
			grants[t.grant] = true
		}
	}
	for t := range s.refresh.all(s.now()) {
		if s.live(t.grant) && t.consumed.IsZero() {
			grants[t.grant] = true
		}
	}
	return len(grants)
}

// Sessions returns how many browser sessions are signed in.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for range s.sessions.all(s.now()) {
		n++
	}
	return n
}

// Deny has the next person who is asked without a page say no, once.
func (s *Server) Deny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deny = true
}

// SetAutoUser changes who signs in without a page; "": a person does, on a page.
func (s *Server) SetAutoUser(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.autoUser = name
}

// Expire ends every access token issued so far; refresh tokens go on.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired++
}

// Revoke ends every grant made so far, with all of its tokens.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

// EndSessions signs every browser out; the grants go on.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = table[*session]{}
}

// RotateNonces makes every DPoP nonce handed out so far too old.
func (s *Server) RotateNonces() { s.nonces.Add(1) }

func (s *Server) now() time.Time { return s.cfg.Now() }

// user returns a person's claims with their sub.
func (s *Server) user(name string) (map[string]any, bool) {
	claims, known := s.cfg.Users[name]
	if name == "" || name != wire.SafeText(name, 100) || !known && s.cfg.Users != nil {
		return nil, false
	}
	claims = maps.Clone(claims)
	if claims == nil {
		claims = map[string]any{"preferred_username": name}
	}
	if sub, _ := claims["sub"].(string); sub == "" {
		claims["sub"] = name
	}
	return claims, true
}

func (s *Server) subject(name string) string {
	claims, _ := s.user(name)
	sub, _ := claims["sub"].(string)
	return sub
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// hash is how a secret is kept: a lookup by it takes the same time whatever was guessed, and memory holds no tokens.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// subset reports whether every one of a is in b.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// absolute reports whether s is an absolute URI without a fragment (RFC 8707 §2).
func absolute(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && !strings.Contains(s, "#")
}
