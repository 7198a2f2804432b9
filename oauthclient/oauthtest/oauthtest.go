// Package oauthtest is an authorization server for tests, as net/http/httptest is for HTTP.
//
// A program that signs in with [oauthclient] is tested in three lines, without a browser, a network or a registration:
//
//	server := oauthtest.NewServer(t, nil)
//	client, err := oauthclient.New(server.Config())
//	session, err := client.Login(ctx, nil)
//
// The server listens on 127.0.0.1 and is real: metadata, authorization, the redirect to the program's own listener, token
// endpoint, signed ID tokens. Only the person is played: "alice" signs in and agrees at once, unless [Server.Deny] was called.
//
// It is strict where many providers are lenient: PKCE with S256, redirect URIs compared as strings but for the port, codes and refresh tokens that
// work once. A refresh token that is presented a second time ends the session. So a program's mistakes show in its tests, and not only at
// the strictest of its users' providers. Options.Misbehave makes the server the opposite of strict.
package oauthtest

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
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

// Options changes what a server does; the zero Options are strict. [NewServer] copies it.
type Options struct {
	// Claims describe the person, besides and over sub, name, preferred_username, email and email_verified. Those of the standard
	// scopes are told with their scope only; others always. nil: alice.
	Claims map[string]any
	// TokenLifetime is how long access and ID tokens are good; 0: five minutes.
	TokenLifetime time.Duration
	// Scopes are granted at most, and what [Server.Config] asks for; nil: whatever is asked for. A refresh token comes with offline_access.
	Scopes []string
	// RequireDPoP refuses tokens and requests without a proof (RFC 9449), and demands nonces.
	RequireDPoP bool
	// RequirePAR refuses authorization requests that were not pushed (RFC 9126).
	RequirePAR bool
	// Misbehave is called once for each endpoint when the server starts, and what it returns answers in the endpoint's place;
	// next is the strict behaviour. nil: strict. The endpoints are metadata, jwks, authorize, token, par, device, verification,
	// revocation, introspection, userinfo, end_session and registration; return next for those that shall behave.
	Misbehave func(endpoint string, next http.Handler) http.Handler
}

// Server is an authorization server on a loopback address. It is safe for concurrent use.
type Server struct {
	// URL is the issuer, http://127.0.0.1:port.
	URL string

	opts   Options
	auth   *authserver.Server
	ctx    context.Context // ends with the test
	visits sync.WaitGroup
	client *http.Transport
}

// NewServer starts a server, which stops when the test ends. nil opts: the zero Options.
func NewServer(tb testing.TB, opts *Options) *Server {
	tb.Helper()
	s := &Server{client: &http.Transport{}}
	if opts != nil {
		s.opts = *opts
	}
	claims := map[string]any{
		"sub": userName, "name": "Alice Example", "preferred_username": userName, "email": "alice@example.com", "email_verified": true,
	}
	maps.Copy(claims, s.opts.Claims)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("oauthtest: no port on 127.0.0.1: %v", err)
	}
	s.URL = "http://" + ln.Addr().String()
	s.auth, err = authserver.New(authserver.Config{
		Issuer: s.URL,
		Clients: []authserver.Client{{
			ID:                     clientID,
			Name:                   tb.Name(),
			RedirectURIs:           []string{"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback"},
			PostLogoutRedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback"},
		}},
		Users:               map[string]map[string]any{userName: claims},
		AutoUser:            userName,
		Scopes:              s.opts.Scopes,
		AccessTokenLifetime: s.opts.TokenLifetime,
		IDTokenLifetime:     s.opts.TokenLifetime,
		DeviceInterval:      time.Second,
		RequirePAR:          s.opts.RequirePAR,
		RequireDPoP:         s.opts.RequireDPoP,
		DPoPNonce:           s.opts.RequireDPoP,
		ResourceNonce:       s.opts.RequireDPoP,
		OpenRegistration:    true,
		Misbehave:           s.opts.Misbehave,
	})
	if err != nil {
		_ = ln.Close()
		tb.Fatalf("oauthtest: %v", err)
	}
	hs := httptest.NewUnstartedServer(s.auth)
	_ = hs.Listener.Close()
	hs.Listener = ln
	hs.Start()

	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	tb.Cleanup(func() {
		cancel()
		s.visits.Wait()
		s.client.CloseIdleConnections()
		hs.CloseClientConnections() // a request that Misbehave holds must not hold the test
		hs.Close()
	})
	return s
}

// Config returns what a program needs to sign in at the server: each time with an empty [tokenstore.Memory] and with a browser of its own, in
// which nobody is signed in yet. Whatever flow the program chooses, its UI goes through with it.
// A changed Loopback.Path is refused, as by any provider where it is not registered.
func (s *Server) Config() oauthclient.Config {
	scopes := []string{"openid", "profile", "email", "offline_access"}
	if s.opts.Scopes != nil {
		scopes = append([]string{}, s.opts.Scopes...)
	}
	person := &person{server: s}
	return oauthclient.Config{
		Issuer:     s.URL,
		ClientID:   clientID,
		Scopes:     scopes,
		DPoP:       s.opts.RequireDPoP,
		RequirePAR: s.opts.RequirePAR,
		Store:      new(tokenstore.Memory),
		UI:         oauthclient.UI{OpenURL: person.open, Instruct: person.instruct},
	}
}

// Protect returns an API that takes the server's access tokens: a request whose token has scope goes to h, any other is answered
// with the challenge that belongs to it (RFC 6750, RFC 9449). scope "" is any; several are separated by spaces.
func (s *Server) Protect(scope string, h http.Handler) http.Handler {
	return s.auth.Protect(authserver.Resource{Scope: scope}, h)
}

// Deny has the next person who is asked say no, once: Login returns [oauthclient.ErrAccessDenied].
func (s *Server) Deny() { s.auth.Deny() }

// Expire ends every access token issued so far; refresh tokens go on. The program does not know: it learns from a 401.
func (s *Server) Expire() { s.auth.Expire() }

// Revoke ends every session so far, with all of its tokens: the next refresh is [oauthclient.ErrLoginRequired].
func (s *Server) Revoke() { s.auth.Revoke() }

// Requests returns how many requests an endpoint has had, refused ones among them: "token", "jwks", "metadata" and the others that
// [Options].Misbehave lists.
func (s *Server) Requests(endpoint string) int { return s.auth.Requests(endpoint) }
