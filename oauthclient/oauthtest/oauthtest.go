// Package oauthtest provides an authorization server for tests, as
// net/http/httptest does for HTTP.
//
// A program that signs in with [oauthclient] is tested in three lines, without
// a browser, a network or a registration:
//
//	server := oauthtest.NewServer(t, nil)
//	client, err := oauthclient.New(server.Config())
//	session, err := client.Login(ctx, nil)
//
// The server listens on 127.0.0.1 and is a real one. It has metadata, an
// authorization endpoint, the redirect to the program's own listener, a token
// endpoint and signed ID tokens. Only the user is scripted: "alice" signs in
// and allows what the program asks for. [Options].Users adds others, for programs
// with several accounts.
//
// A program that makes its own [oauthclient.Config] is tested with [Server.Apply].
// Outside of a test, [Start] starts a server.
//
// # Testing what goes wrong
//
// A program should be tested in the situations that its users meet:
//
//   - [Server.Deny]: the user says no.
//   - [Server.Expire]: an API rejects a token that looked good.
//   - [Server.Revoke]: the provider has ended the session.
//   - [Options].Misbehave: an endpoint fails, or answers with nonsense.
//
// [Server.Protect] makes an API that accepts the server's tokens, and
// [Server.Requests] counts what the program sent.
//
// # Strictness
//
// The server is strict where many providers are lenient. It demands PKCE with
// S256, compares redirect URIs as strings except for the port (RFC 8252 §7.3),
// and accepts a code or a refresh token once. A refresh token that is presented
// a second time ends the session (RFC 9700 §4.14.2). So a program's mistakes
// show in its tests, and not first at the strictest provider of its users.
package oauthtest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	clientID = "oauthtest"
	userName = "alice"
)

// Options changes what a server does. The zero Options are strict. [NewServer]
// copies them.
type Options struct {
	// Claims describe the user. They are added to sub, name,
	// preferred_username, email and email_verified, and replace those. A claim
	// that belongs to a standard scope is released with that scope only, any
	// other always. nil means the claims of alice.
	Claims map[string]any
	// Users are the claims of other users, by name. A login with such a name as
	// its LoginHint signs that user in; any other signs in alice. The device flow
	// has no hint. nil means that there is only alice.
	Users map[string]map[string]any
	// TokenLifetime is the lifetime of access tokens and ID tokens. 0 means
	// five minutes.
	TokenLifetime time.Duration
	// Scopes are those that can be granted, and those that [Server.Config] asks
	// for. nil means that every scope is granted, and that the Config asks for
	// openid, profile, email and offline_access. Only offline_access brings a
	// refresh token.
	Scopes []string
	// RequireDPoP rejects tokens and requests without a proof (RFC 9449), and
	// demands nonces. The Config turns DPoP on.
	RequireDPoP bool
	// RequirePAR rejects authorization requests that were not pushed (RFC
	// 9126). The Config then pushes them.
	RequirePAR bool
	// IdentityProvider is a server whose users this one knows. It accepts the
	// identity assertions that a program with [oauthclient.Config].IdentityProvider
	// gets there (enterprise-managed authorization). nil: none.
	IdentityProvider *Server
	// Misbehave, if not nil, is called once for each endpoint when the server
	// starts. The handler that it returns answers instead of next, which is the
	// strict behaviour. Return next for the endpoints that shall behave.
	//
	// The endpoints are metadata, jwks, authorize, token, par, device,
	// verification, revocation, introspection, userinfo, end_session and
	// registration. It must return next for names that it does not know: later
	// versions may have more.
	Misbehave func(endpoint string, next http.Handler) http.Handler
}

// Server is an authorization server on a loopback address. Create it with
// [NewServer] or [Start]. It is safe for concurrent use.
type Server struct {
	// URL is the issuer, http://127.0.0.1:port. It must not be changed.
	URL string

	opts   Options
	auth   *authserver.Server
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	http   *httptest.Server
	visits sync.WaitGroup  // of browsers on their last page
	client *http.Transport // of all browsers
}

// NewServer starts a server. It stops when the test ends. If opts is nil, the
// zero Options apply. A server that cannot start fails the test with Fatalf.
func NewServer(tb testing.TB, opts *Options) *Server {
	tb.Helper()
	s, err := start(opts, tb.Name())
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start is NewServer for programs that are not a test. The caller calls
// [Server.Close] at the end. It fails if no port can be had, or if opts contradict
// each other.
func Start(opts *Options) (*Server, error) { return start(opts, "oauthtest") }

// start starts a server. name is shown as the client's.
func start(opts *Options, name string) (*Server, error) {
	s := &Server{client: &http.Transport{}}
	if opts != nil {
		s.opts = *opts
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("oauthtest: no port on 127.0.0.1: %w", err)
	}
	s.URL = "http://" + ln.Addr().String()
	if s.auth, err = authserver.New(s.config(name)); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("oauthtest: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &httptest.Server{Listener: ln, Config: &http.Server{Handler: s.auth}}
	s.http.Start()
	return s, nil
}

// Close stops the server and waits until it has stopped. A test that called
// NewServer need not call it. Later calls do nothing.
func (s *Server) Close() {
	s.cancel()
	s.visits.Wait()
	s.client.CloseIdleConnections()
	// A request that Misbehave holds must not hold the test.
	s.http.CloseClientConnections()
	s.http.Close()
}

// config translates the Options for the server. name is shown as the client's.
func (s *Server) config(name string) authserver.Config {
	claims := map[string]any{
		"sub": userName, "name": "Alice Example", "preferred_username": userName,
		"email": "alice@example.com", "email_verified": true,
	}
	maps.Copy(claims, s.opts.Claims)
	users := map[string]map[string]any{userName: claims}
	for name, claims := range s.opts.Users {
		if claims == nil {
			claims = map[string]any{}
		}
		users[name] = claims
	}
	redirects := []string{
		"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback",
	}
	var trusted []authserver.Trusted
	if idp := s.opts.IdentityProvider; idp != nil {
		trusted = []authserver.Trusted{{Issuer: idp.URL, Keys: idp.auth.PublicKeys, Users: true}}
	}
	return authserver.Config{
		Issuer:  s.URL,
		Trusted: trusted,
		Clients: []authserver.Client{{
			ID: clientID, Name: name, RedirectURIs: redirects, PostLogoutRedirectURIs: redirects,
		}},
		Users:               users,
		AutoUser:            userName,
		Scopes:              s.opts.Scopes,
		AccessTokenLifetime: s.opts.TokenLifetime,
		IDTokenLifetime:     s.opts.TokenLifetime,
		DeviceInterval:      time.Second, // the least, so that tests of the device flow are quick
		RequirePAR:          s.opts.RequirePAR,
		RequireDPoP:         s.opts.RequireDPoP,
		DPoPNonce:           s.opts.RequireDPoP,
		ResourceNonce:       s.opts.RequireDPoP,
		OpenRegistration:    true,
		Misbehave:           s.opts.Misbehave,
	}
}

// Config returns the configuration of a program that signs in at the server.
// Each call returns one with an empty [tokenstore.Memory] of its own, and with
// a browser of its own, in which nobody is signed in yet. Its UI completes
// whatever flow the program chooses.
//
// The caller may change the Config before it passes it to [oauthclient.New]. A
// changed Loopback.Path is not registered, so the server rejects it as any
// provider would.
func (s *Server) Config() oauthclient.Config {
	scopes := []string{"openid", "profile", "email", "offline_access"}
	if s.opts.Scopes != nil {
		scopes = slices.Clone(s.opts.Scopes)
	}
	cfg := oauthclient.Config{Scopes: scopes}
	s.Apply(&cfg)
	return cfg
}

// Apply points a program's own Config at the server, and puts the scripted user
// into UI and an empty [tokenstore.Memory] into Store. What the program's real
// provider knows of it is replaced (Issuer, ClientID, and the path of the
// listener) or cleared (Endpoints, TenantIssuer, ClientAuth, Registration). DPoP
// and RequirePAR are turned on if the server requires them. The rest stays as it
// is: the test is about what the program asks for.
func (s *Server) Apply(cfg *oauthclient.Config) {
	user := s.newUser()
	cfg.Issuer, cfg.ClientID = s.URL, clientID
	cfg.Endpoints, cfg.TenantIssuer, cfg.Registration = nil, "", nil
	cfg.ClientAuth = oauthclient.ClientAuth{}
	cfg.Loopback.Path, cfg.Loopback.RedirectURI = "", ""
	cfg.DPoP = cfg.DPoP || s.opts.RequireDPoP
	cfg.RequirePAR = cfg.RequirePAR || s.opts.RequirePAR
	cfg.Store = new(tokenstore.Memory)
	cfg.UI.OpenURL, cfg.UI.Instruct = user.openURL, user.instruct
}

// Protect returns an API that accepts the server's access tokens. A request
// with a token that has scope goes to h. Any other is answered with the
// challenge that says what it lacks (RFC 6750 §3, RFC 9449 §7.1). scope ""
// accepts any token; several scopes are separated by spaces.
func (s *Server) Protect(scope string, h http.Handler) http.Handler {
	return s.auth.Protect(authserver.Resource{Scope: scope}, h)
}

// Deny makes the next login fail with [oauthclient.ErrAccessDenied]. The logins
// after it succeed again.
func (s *Server) Deny() { s.auth.Deny() }

// Expire ends all access tokens issued so far. Their refresh tokens stay good.
// The program is not told: it learns it when an API answers with 401.
func (s *Server) Expire() { s.auth.Expire() }

// Revoke ends all sessions so far, with all of their tokens. The next refresh
// fails with [oauthclient.ErrLoginRequired].
func (s *Server) Revoke() { s.auth.Revoke() }

// Requests returns the number of requests to an endpoint so far, whatever the
// answer was. The names are those that [Options].Misbehave lists; it is 0 for
// any other.
func (s *Server) Requests(endpoint string) int { return s.auth.Requests(endpoint) }
