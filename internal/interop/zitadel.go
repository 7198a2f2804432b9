package interop

import (
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Zitadel is zitadel/oidc's OpenID provider, in this process, with the storage
// of its example. Refresh tokens rotate. A used one is rejected, and its
// successor stays good. It knows NativeClient and one user.
type Zitadel struct {
	Issuer string

	mu       sync.Mutex
	requests map[string]int
	storage  *zitadelStorage
	clients  map[string]*storage.Client
}

// StartZitadel starts a provider that ends with the test. Its access tokens
// live for accessToken; 0 means its own five minutes.
func StartZitadel(tb testing.TB, accessToken time.Duration) *Zitadel {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	issuer := "http://" + listener.Addr().String()

	clients := map[string]*storage.Client{
		NativeClient: storage.NativeClient(NativeClient, "http://127.0.0.1/callback", "http://[::1]/callback"),
	}
	store := &zitadelStorage{
		Storage:  storage.NewStorageWithClients(storage.NewUserStore(issuer), clients),
		lifetime: accessToken,
		expiry:   make(map[string]time.Time),
		keys:     make(map[string]jose.JSONWebKey),
	}
	config := &op.Config{
		CodeMethodS256:        true,
		GrantTypeRefreshToken: true,
	}
	_, _ = rand.Read(config.CryptoKey[:])
	provider, err := op.NewProvider(config, store, op.StaticIssuer(issuer), op.WithAllowInsecure(),
		op.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	require.NoError(tb, err)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) {
		_ = zitadelLogin.Execute(w, r.FormValue("authRequestID"))
	})
	mux.HandleFunc("POST /login/username", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := store.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(op.ContextWithIssuer(r.Context(), issuer), id), http.StatusFound)
	})
	mux.Handle("/", provider)

	z := &Zitadel{Issuer: issuer, requests: make(map[string]int), storage: store, clients: clients}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: z.serialise(mux)}}
	server.Start()
	tb.Cleanup(server.Close)
	return z
}

// serialise counts requests and handles one at a time, because the example's
// storage reads some of its maps without its lock.
func (z *Zitadel) serialise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.requests[r.URL.Path]++
		next.ServeHTTP(w, r)
	})
}

// Requests returns the number of requests to a path: "/oauth/token",
// "/userinfo", "/revoke", …
func (z *Zitadel) Requests(path string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.requests[path]
}

// trust registers the key of another issuer: of a service user, which is its own
// issuer, or of a platform. client is registered too, unless it is nil.
func (z *Zitadel) trust(issuer string, key jose.JSONWebKey, client *storage.Client) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.storage.keys[issuer] = key
	if client != nil {
		z.clients[client.GetID()] = client
	}
}

// SignIn returns a user's steps on the login page. There is no consent page.
func (z *Zitadel) SignIn() []browser.Step {
	return []browser.Step{
		browser.Fill(`input[name="username"]`, ZitadelUser),
		browser.Fill(`input[name="password"]`, "verysecure"),
		browser.Click(`button[type="submit"]`),
	}
}

// The only user: the name that signs in, and the sub.
const (
	ZitadelUser    = "test-user2"
	ZitadelSubject = "id2"
)

var zitadelLogin = template.Must(template.New("login").Parse(`<!doctype html><title>Sign in</title>
<form method="post" action="/login/username">
<input type="hidden" name="id" value="{{.}}">
<input name="username" required> <input name="password" type="password" required>
<button type="submit">Sign in</button>
</form>`))

// zitadelStorage is the example's storage, but a test chooses the lifetime of
// access tokens.
type zitadelStorage struct {
	*storage.Storage
	lifetime time.Duration
	expiry   map[string]time.Time       // by token id; under serialise's lock
	keys     map[string]jose.JSONWebKey // by issuer; likewise
}

// GetKeyByIDAndClientID is about the JWT of a service user, which is its own issuer.
func (s *zitadelStorage) GetKeyByIDAndClientID(_ context.Context, id, issuer string) (*jose.JSONWebKey, error) {
	key, ok := s.keys[issuer]
	if !ok || key.KeyID != id {
		return nil, errors.New("the key is unknown")
	}
	return &key, nil
}

// VerifyExchangeSubjectToken accepts the JWTs of platforms. The library leaves this to
// the program.
func (s *zitadelStorage) VerifyExchangeSubjectToken(
	_ context.Context, token string, _ oidc.TokenType,
) (string, string, map[string]any, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", "", nil, err
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return "", "", nil, err
	}
	key, ok := s.keys[claims.Issuer]
	if !ok || claims.Issuer == claims.Subject { // a user that is no platform
		return "", "", nil, errors.New("the issuer is unknown")
	}
	if err := parsed.Claims(key, &claims); err != nil {
		return "", "", nil, err
	}
	return token, claims.Subject, map[string]any{}, claims.Validate(jwt.Expected{Time: time.Now()})
}

// VerifyExchangeActorToken accepts none: nobody acts for another here.
func (s *zitadelStorage) VerifyExchangeActorToken(
	context.Context, string, oidc.TokenType,
) (string, string, map[string]any, error) {
	return "", "", nil, errors.New("there is no actor")
}

// ValidateTokenExchangeRequest grants what is requested. The example's own method is
// about users that impersonate each other.
func (s *zitadelStorage) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	r.SetCurrentScopes(r.GetScopes())
	return nil
}

func (s *zitadelStorage) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, expiry, err := s.Storage.CreateAccessToken(ctx, request)
	return id, s.expire(id, expiry), err
}

func (s *zitadelStorage) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, expiry, err := s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	return id, refresh, s.expire(id, expiry), err
}

func (s *zitadelStorage) SetUserinfoFromToken(ctx context.Context, userinfo *oidc.UserInfo, id, subject, origin string) error {
	if expiry, ok := s.expiry[id]; ok && time.Now().After(expiry) {
		return errors.New("token is expired")
	}
	return s.Storage.SetUserinfoFromToken(ctx, userinfo, id, subject, origin)
}

func (s *zitadelStorage) expire(id string, expiry time.Time) time.Time {
	if s.lifetime > 0 {
		expiry = time.Now().Add(s.lifetime)
		s.expiry[id] = expiry
	}
	return expiry
}
