// Package authserver is a strict OAuth 2.1 authorization server and OpenID
// provider that lives in memory.
//
// It stands behind oauthclient/oauthtest, with which programs test their
// sign-in, and behind the command's demo. It is strict on purpose: a client
// should learn here about the mistakes that a lenient provider would let pass.
// It speaks
//
//   - the authorization code flow with PKCE S256 only (RFC 7636, RFC 8252,
//     RFC 9207), with a page for the user or without one,
//   - pushed authorization requests (RFC 9126), DPoP (RFC 9449), resource
//     indicators (RFC 8707) and the device flow (RFC 8628),
//   - refresh with rotation and reuse detection, with a grace period, or without
//     rotation (RFC 9700 §4.14),
//   - client credentials (RFC 6749 §4.4), and JWTs of platforms that it trusts, as
//     client assertion, grant (RFC 7523) or subject of a token exchange (RFC 8693),
//   - token exchange of an ID token for an identity assertion (RFC 8693), and such an
//     assertion of another server as a grant (RFC 7523 §2.1),
//   - revocation (RFC 7009), introspection (RFC 7662), registration (RFC 7591) and
//     metadata (RFC 8414, OpenID Connect Discovery),
//   - ID tokens, userinfo and RP-initiated logout (OpenID Connect), and
//   - the resource server's side: RFC 6750, RFC 9470 and RFC 9728
//     ([Server.Protect]).
//
// The package shares no code with the client's internal/oauth, oidc and jose.
// Both sides read the specifications independently, so that a misreading shows.
//
// Everything that the server keeps is bounded and expires. Nothing survives the
// process, and the server starts no goroutine. Its http.Server provides the
// listener, TLS, and limits of headers and time.
//
// # Reading the code
//
// Each endpoint is a row in [Server.route]. http.go has the one adapter that
// does what all endpoints have in common. A handler gets a request that the
// adapter has read and returns a reply or an *oauthError. [User] plays the user
// at the sign-in page.
package authserver

import (
	"cmp"
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
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// The names of the endpoints, for [Server.Requests], [Server.Hold],
// [Server.Delay] and [Config.Misbehave].
const (
	Metadata      = "metadata" // at all of the server's own well-known addresses
	JWKS          = "jwks"
	Authorize     = "authorize"
	Decide        = "decide" // the target of the sign-in page's form
	Token         = "token"
	PAR           = "par"
	Device        = "device"       // the device authorization endpoint
	Verification  = "verification" // the page at which a user types the user code
	Revocation    = "revocation"
	Introspection = "introspection"
	Userinfo      = "userinfo"
	EndSession    = "end_session"
	Registration  = "registration"
)

// Rotation says what a refresh does to the refresh token.
type Rotation int

const (
	// RotateStrict issues a new refresh token with each refresh. A consumed one
	// that is presented again revokes the whole family (RFC 9700 §4.14.2).
	RotateStrict Rotation = iota
	// RotateGrace accepts a consumed refresh token for Config.Grace after its
	// use. Each time it answers with a new pair of tokens.
	RotateGrace
	// RotateNever keeps the refresh token. A refresh response has none.
	RotateNever
)

// Config describes a server. Only Issuer is required. [New] copies the Config;
// the maps in it must not change afterwards.
type Config struct {
	// Issuer is the server's identifier and the base of its endpoints: https,
	// or http on a loopback address. It may have a path.
	Issuer string
	// Clients are known from the start. nil means only those that register.
	Clients []Client
	// Users can sign in. The key is the name that they type, the value their
	// claims; "sub" defaults to the name. nil lets anybody sign in under any
	// name, without further claims.
	Users map[string]map[string]any
	// AutoUser signs in and approves at once, without a page, or else the one of
	// Users that login_hint names. "" shows a page. [Server.SetAutoUser] changes
	// it.
	AutoUser string

	// Scopes are those that can be granted; nil means every scope. Only the
	// scope offline_access brings a refresh token.
	Scopes []string
	// Resources are the resource indicators that are accepted (RFC 8707). nil
	// means every absolute URI without a fragment.
	Resources []string

	// AccessTokenLifetime and IDTokenLifetime default to five minutes,
	// RefreshTokenLifetime to thirty days.
	AccessTokenLifetime, IDTokenLifetime, RefreshTokenLifetime time.Duration
	// DeviceInterval is the time between a device's polls, in whole seconds. 0
	// means five seconds.
	DeviceInterval time.Duration
	// Rotation is RotateStrict by default.
	Rotation Rotation
	// Grace is for RotateGrace. 0 means thirty seconds.
	Grace time.Duration

	// Trusted are other issuers whose JWTs are accepted as a grant. nil: none.
	Trusted []Trusted

	// SigningAlg signs ID tokens: ES256, RS256, PS256 or EdDSA. "" means ES256.
	// An RSA key takes some time to generate.
	SigningAlg string

	// RequirePAR rejects authorization requests that were not pushed, and
	// RequireDPoP token requests and API requests without a proof.
	RequirePAR  bool
	RequireDPoP bool
	// DPoPNonce makes the server's own endpoints demand a nonce (RFC 9449 §8),
	// and ResourceNonce userinfo and the APIs behind [Server.Protect] (§9).
	DPoPNonce, ResourceNonce bool
	// OpenRegistration lets anybody register (RFC 7591). Otherwise a client
	// needs InitialAccessToken to register. With neither there is no
	// registration.
	OpenRegistration   bool
	InitialAccessToken string

	// Misbehave, if not nil, is called by [New] once for each endpoint. The
	// handler that it returns answers instead of next.
	Misbehave func(endpoint string, next http.Handler) http.Handler
	// EditIDToken, if not nil, may change the claims of every ID token before
	// it is signed.
	EditIDToken func(claims map[string]any)
	// EditAssertion is the same for identity assertions.
	EditAssertion func(claims map[string]any)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Server is an [http.Handler]. It is safe for concurrent use.
type Server struct {
	cfg       Config
	base      string // the issuer without a closing slash
	path      string // the issuer's path: "", or "/tenant"
	origin    string // the issuer's origin
	routes    map[string]*endpoint
	endpoints map[string]*endpoint // by name

	nonceKey []byte

	mu           sync.Mutex // of everything below
	clients      map[string]*Client
	registered   []string     // ids of the clients that registered, the oldest first
	keys         []signingKey // the last one signs
	autoUser     string
	denyNext     bool
	epoch        int // grants of an earlier epoch were revoked together
	expired      int // access tokens of an earlier epoch were expired together
	codes        *table[*code]
	tokens       *table[*token]
	pushed       *table[*authRequest]
	devices      *table[*device]
	interactions *table[*interaction]
	sessions     *table[*session]
	consents     *table[[]string]
	seen         *table[struct{}] // jti of proofs and assertions
	wrongCodes   *table[struct{}] // user codes that were typed wrong in the last minute
	stats        Stats
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
	if _, ok := cfg.Users[""]; ok {
		return nil, errors.New("authserver: Users: a user has no name")
	}
	cfg.setDefaults()
	s := &Server{
		cfg:      cfg,
		base:     strings.TrimSuffix(cfg.Issuer, "/"),
		path:     strings.TrimSuffix(u.EscapedPath(), "/"),
		origin:   wire.Origin(u),
		nonceKey: []byte(newToken("")),
		clients:  map[string]*Client{},
		autoUser: cfg.AutoUser,

		codes:        newTable[*code](manySmall, cfg.Now),
		tokens:       newTable[*token](2*manySmall, cfg.Now), // of both kinds
		pushed:       newTable[*authRequest](fewLarge, cfg.Now),
		devices:      newTable[*device](fewLarge, cfg.Now),
		interactions: newTable[*interaction](fewLarge, cfg.Now),
		sessions:     newTable[*session](manySmall, cfg.Now),
		consents:     newTable[[]string](manySmall, cfg.Now),
		seen:         newTable[struct{}](manySmall, cfg.Now),
		wrongCodes:   newTable[struct{}](fewLarge, cfg.Now),
	}
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

// setDefaults replaces the zero values, as the fields' comments say.
func (cfg *Config) setDefaults() {
	cfg.AccessTokenLifetime = cmp.Or(cfg.AccessTokenLifetime, 5*time.Minute)
	cfg.IDTokenLifetime = cmp.Or(cfg.IDTokenLifetime, 5*time.Minute)
	cfg.RefreshTokenLifetime = cmp.Or(cfg.RefreshTokenLifetime, 30*24*time.Hour)
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Second)
	// Clients are told whole seconds.
	interval := cmp.Or(cfg.DeviceInterval, 5*time.Second)
	cfg.DeviceInterval = max(interval, time.Second).Round(time.Second)
	cfg.SigningAlg = cmp.Or(cfg.SigningAlg, "ES256")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// route sets up the endpoints.
func (s *Server) route() {
	get, post := []string{http.MethodGet}, []string{http.MethodPost}
	both := slices.Concat(get, post)
	s.routes, s.endpoints = map[string]*endpoint{}, map[string]*endpoint{}
	add := func(name, path string, methods []string, in input, handle handler) {
		e := &endpoint{methods: methods, input: in, handle: handle}
		e.next = s.adapt(e)
		if s.cfg.Misbehave != nil {
			e.next = s.cfg.Misbehave(name, e.next)
		}
		s.endpoints[name], s.routes[s.path+path] = e, e
	}
	const wellKnown = "/.well-known/openid-configuration"
	add(Metadata, wellKnown, get, unread, s.serveMetadata)
	// OpenID Connect Discovery §4 puts the well-known part after the issuer's
	// path, RFC 8414 §3.1 before it.
	s.routes[wellKnown+s.path] = s.endpoints[Metadata]
	s.routes["/.well-known/oauth-authorization-server"+s.path] = s.endpoints[Metadata]

	add(JWKS, "/jwks", get, unread, s.serveJWKS)
	add(Authorize, "/authorize", both, fromBrowser, s.serveAuthorize)
	add(Decide, "/decide", post, fromBrowser, s.serveDecide)
	add(Token, "/token", post, fromClient, s.serveToken)
	add(PAR, "/par", post, fromClient, s.servePAR)
	add(Device, "/device_authorization", post, fromClient, s.serveDevice)
	add(Verification, "/device", get, fromBrowser, s.serveVerification)
	add(Revocation, "/revoke", post, fromClient, s.serveRevocation)
	add(Introspection, "/introspect", post, fromClient, s.serveIntrospection)
	add(Userinfo, "/userinfo", both, unread, s.serveUserinfo)
	add(EndSession, "/end_session", both, fromBrowser, s.serveEndSession)
	if s.canRegister() {
		add(Registration, "/register", post, unread, s.serveRegistration)
	}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// An attacker's host name that was rebound to this address would otherwise
	// be the origin of a copy of the sign-in page.
	scheme, _, _ := strings.Cut(s.origin, ":")
	if origin := wire.Origin(&url.URL{Scheme: scheme, Host: r.Host}); origin != s.origin {
		http.Error(w, "this server is "+s.origin, http.StatusMisdirectedRequest)
		return
	}
	e := s.routes[r.URL.EscapedPath()]
	if e == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	e.ServeHTTP(w, r)
}

// Issuer returns the issuer identifier.
func (s *Server) Issuer() string { return s.cfg.Issuer }

// URL returns the address of a path below the issuer, such as "/token".
func (s *Server) URL(path string) string { return s.base + path }

func (s *Server) now() time.Time { return s.cfg.Now() }

// user returns a user's claims, with their sub. The caller may change them.
func (s *Server) user(name string) (map[string]any, bool) {
	claims, known := s.cfg.Users[name]
	// A name is shown on pages and told to clients, so it must be plain text.
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

// subject returns a user's sub.
func (s *Server) subject(name string) string {
	claims, _ := s.user(name)
	sub, _ := claims["sub"].(string)
	return sub
}

// hash is the form in which a secret is kept. A lookup by it takes the same
// time whatever was guessed, and the memory holds no tokens.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// subset reports whether all elements of a are in b.
func subset(a, b []string) bool { return len(intersect(a, b)) == len(a) }

// intersect returns the elements of a that are in b.
func intersect(a, b []string) (both []string) {
	for _, v := range a {
		if slices.Contains(b, v) {
			both = append(both, v)
		}
	}
	return both
}

// unique returns the list without repetitions. It is nil for an empty list.
func unique(list []string) (out []string) {
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// absolute reports whether s is an absolute URI without a fragment (RFC 8707
// §2).
func absolute(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && !strings.Contains(s, "#")
}
