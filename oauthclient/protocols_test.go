package oauthclient_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// What the provider does not have is named, as errors.ErrUnsupported, before anything is sent to it or shown to anybody.
func TestMissingEndpoints(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent.Add(1)
			next.ServeHTTP(w, r)
		})
	}})
	login := func(opts oauthclient.LoginOptions) func(context.Context, *oauthclient.Client, *oauthclient.Session) error {
		return func(ctx context.Context, c *oauthclient.Client, _ *oauthclient.Session) error {
			_, err := c.Login(ctx, &opts)
			return err
		}
	}
	var into map[string]any
	for name, tc := range map[string]struct {
		value any // of the member in the metadata; nil: it is not there
		with  func(*oauthclient.Config)
		do    func(context.Context, *oauthclient.Client, *oauthclient.Session) error
	}{
		"authorization_endpoint": {nil, nil, login(oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})},
		"device_authorization_endpoint": {nil, nil,
			login(oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})},
		"pushed_authorization_request_endpoint": {nil,
			func(c *oauthclient.Config) { c.RequirePAR = true }, login(oauthclient.LoginOptions{})},
		"code_challenge_methods_supported": {[]string{"plain"}, nil, login(oauthclient.LoginOptions{})},
		"dpop_signing_alg_values_supported": {[]string{"RS256"},
			func(c *oauthclient.Config) { c.DPoP = true }, login(oauthclient.LoginOptions{})},
		"registration_endpoint": {nil,
			func(c *oauthclient.Config) { c.ClientID, c.Registration = "", &oauthclient.Registration{} }, login(oauthclient.LoginOptions{})},
		"userinfo_endpoint": {nil, nil,
			func(ctx context.Context, _ *oauthclient.Client, s *oauthclient.Session) error {
				return s.UserInfo(ctx, &into)
			}},
		"introspection_endpoint": {nil, nil,
			func(ctx context.Context, _ *oauthclient.Client, s *oauthclient.Session) error {
				return s.Introspect(ctx, &into)
			}},
		"end_session_endpoint": {nil, nil,
			func(ctx context.Context, c *oauthclient.Client, _ *oauthclient.Session) error {
				return c.Logout(ctx, "", &oauthclient.LogoutOptions{EndSession: true})
			}},
		"revocation_endpoint": {nil, nil,
			func(ctx context.Context, c *oauthclient.Client, _ *oauthclient.Session) error {
				err := c.Logout(ctx, "", nil)
				require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
				_, gone := c.Session(ctx, "")
				require.ErrorIs(t, gone, oauthclient.ErrLoginRequired, "it is signed out here all the same")
				return err
			}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config()
			signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
			says(t, &cfg, map[string]any{name: tc.value})
			if tc.with != nil {
				tc.with(&cfg)
			}
			opened := counted(&cfg)
			c := newClient(t, cfg)
			session, err := c.Session(t.Context(), "")
			if cfg.ClientID != "" { // a session is of its client
				require.NoError(t, err)
			}
			_, err = c.Metadata(t.Context()) // the first use fetches them
			require.NoError(t, err)
			before := sent.Load()
			err = tc.do(t.Context(), c, session)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, name)
			if name != "end_session_endpoint" { // there the tokens are revoked all the same
				require.Equal(t, before, sent.Load(), "nothing was sent")
			}
			require.Zero(t, opened.Load(), "and nobody was bothered")
		})
	}
}

// DPoP that the metadata do not offer is noticed before the user signs in for nothing.
func TestDPoPThatIsNotOfferedFailsFirst(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	cfg.DPoP = true
	says(t, &cfg, map[string]any{"dpop_signing_alg_values_supported": nil})
	opened := counted(&cfg)
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "does not offer DPoP")
	require.Zero(t, opened.Load())
}

// Over SSH nobody sees a browser that opens here: the loopback URL, a place to paste and a device code are offered together, and any of them
// will do. Whoever knows better says so.
func TestOverSSHEverythingIsOffered(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "10.0.0.2 50000 10.0.0.1 22")
	server := oauthtest.NewServer(t, nil)
	type way string
	const url, paste, code way = "the URL, through a forwarded port", "pasting", "the device code"
	for name, tc := range map[string]struct {
		flow   oauthclient.Flow
		offers []way
		takes  way
	}{
		"all, the URL taken":    {oauthclient.FlowAuto, []way{url, paste, code}, url},
		"all, pasted":           {oauthclient.FlowAuto, []way{url, paste, code}, paste},
		"all, the code taken":   {oauthclient.FlowAuto, []way{url, paste, code}, code},
		"overridden for paste":  {oauthclient.FlowPaste, []way{url, paste}, paste},
		"overridden for device": {oauthclient.FlowDevice, []way{code}, code},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config()
			open, instruct := cfg.UI.OpenURL, cfg.UI.Instruct
			cfg.UI.OpenURL = nil // the program leaves it to the SDK
			cfg.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
				require.False(t, do.Opened)
				var offers []way
				if do.URL != "" {
					offers = append(offers, url)
				}
				if do.Paste {
					offers = append(offers, paste)
				}
				if do.UserCode != "" && do.VerificationURI != "" {
					offers = append(offers, code)
				}
				require.Equal(t, tc.offers, offers)
				switch tc.takes {
				case url:
					return "", open(ctx, do.URL)
				case paste:
					do.VerificationURIComplete = ""
				}
				return instruct(ctx, do)
			}
			session, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: tc.flow})
			require.NoError(t, err)
			require.Equal(t, "alice", session.Account().Subject)
		})
	}
}

// A port that is mapped into a container: the provider and the browser know one address, the program listens at another. Bound to more than
// loopback, the listener wants to be told how it is reached.
func TestRedirectURIApartFromTheAddress(t *testing.T) {
	t.Parallel()
	addr := fixedAddr(t)
	mapped := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: addr})
		r.Out.Host = r.In.Host // as a mapped port leaves it
	}})
	defer mapped.Close()

	var redirects []string
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if endpoint == "par" || endpoint == "token" {
				copied := r.Clone(r.Context())
				copied.Body, r.Body = twice(t, r)
				_ = copied.ParseForm()
				redirects = append(redirects, copied.Form.Get("redirect_uri"))
			}
			next.ServeHTTP(w, r)
		})
	}})
	cfg := server.Config()
	cfg.Loopback.Addr, cfg.Loopback.RedirectURI, cfg.Loopback.AllowOtherUsers = addr, mapped.URL+"/callback", true
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "alice", session.Account().Subject)
	require.Equal(t, []string{mapped.URL + "/callback", mapped.URL + "/callback"}, redirects)

	cfg.Loopback.Addr, cfg.Loopback.RedirectURI = "0.0.0.0:0", ""
	opened := counted(&cfg)
	c, err := oauthclient.New(cfg)
	if err == nil {
		defer c.Close()
		_, err = c.Login(t.Context(), nil)
	}
	require.ErrorContains(t, err, "RedirectURI")
	require.Zero(t, opened.Load())
}

// S52: a program that asked for tokens bound to a key takes no bearer tokens, at the sign-in and at a refresh; the session stays as it was.
func TestS52DPoPIsNotDowngraded(t *testing.T) {
	var bearer atomic.Bool
	kind := regexp.MustCompile(`"token_type":\s*"DPoP"`)
	server := oauthtest.NewServer(t, &oauthtest.Options{RequireDPoP: true, Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if endpoint != "token" || !bearer.Load() {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for name, values := range rec.Header() {
				if name != "Content-Length" {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(kind.ReplaceAll(rec.Body.Bytes(), []byte(`"token_type":"Bearer"`)))
		})
	}})
	cfg := server.Config()
	c, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	before, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "DPoP", before.TokenType)

	bearer.Store(true)
	err = session.Refresh(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.ErrorContains(t, err, "token_type")
	after, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.AccessToken, after.AccessToken, "the bearer token is not used")
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{Account: "second"})
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	_, err = c.Session(t.Context(), "second")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// The network is away when a device login first asks, while the person says yes.
func TestDeviceThroughNetworkLoss(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	var down atomic.Int32
	cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost && r.URL.Path == "/token" && down.Add(-1) >= 0 {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("network is unreachable")}
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	down.Store(1)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err := newClient(t, cfg).Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	require.NoError(t, err)
	require.Equal(t, "alice", session.Account().Subject)
	require.Negative(t, down.Load())
}

// fixedAddr is free, and of a port that the system gives to no request for any.
func fixedAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.N(12000)))
		if err == nil {
			require.NoError(t, ln.Close())
			return ln.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}
