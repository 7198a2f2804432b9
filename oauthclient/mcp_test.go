package oauthclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// publisher is a resource that publishes what document returns for a path; "": 404.
// Its API answers with the challenge.
func publisher(t *testing.T, challenge string, document func(origin, path string) string) *httptest.Server {
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch doc := document(api.URL, r.URL.Path); {
		case !strings.HasPrefix(r.URL.Path, "/.well-known/"):
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		case doc == "":
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, doc)
		}
	}))
	t.Cleanup(api.Close)
	return api
}

const wellKnownResource = "/.well-known/oauth-protected-resource"

func resourceDocument(resource string, issuers ...string) string {
	list := `"` + strings.Join(issuers, `","`) + `"`
	return fmt.Sprintf(`{"resource":%q,"authorization_servers":[%s]}`, resource, list)
}

// mcp is a program that knows a resource, and not who issues its tokens.
func mcp(cfg oauthclient.Config, resource string) oauthclient.Config {
	cfg.Issuer, cfg.Scopes, cfg.Resources = "", nil, []string{resource}
	cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
	return cfg
}

// refused returns the response to a request with the token of s, on a client of the
// program's own.
func refused(t *testing.T, s *oauthclient.Session, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if s != nil {
		token, err := s.Token(t.Context())
		require.NoError(t, err)
		token.SetAuthHeader(req)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

// S34: a document at the root may name the origin as the resource. That is what is
// sent then, at the login and at a refresh, and the login's token is for it.
func TestMCPResourceAtTheRoot(t *testing.T) {
	t.Parallel()
	for _, slash := range []string{"", "/"} {
		h := newHostile(t, authserver.Config{OpenRegistration: true})
		api := publisher(t, "", func(origin, path string) string {
			if path != wellKnownResource {
				return ""
			}
			return resourceDocument(origin+slash, h.Issuer())
		})
		c := newClient(t, mcp(h.cfg, api.URL+"/mcp"))
		s, err := c.SessionOrLogin(t.Context(), nil)
		require.NoError(t, err)
		_, err = s.For(api.URL + "/mcp").Token(t.Context())
		require.NoError(t, err)
		require.Len(t, h.got(authserver.Token), 1, "the login's own token is for the resource")
		require.NoError(t, s.Refresh(t.Context()))
		for _, r := range append(h.got(authserver.Token), h.got(authserver.PAR)...) {
			require.Equal(t, []string{api.URL + slash}, r.Form["resource"])
		}
	}
}

// A server of MCP 2025-03-26 publishes nothing: its own origin has the endpoints, and
// S256 is sent. A place that answers otherwise than 404 is no such server.
func TestMCPServerWithoutMetadata(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{OpenRegistration: true})
	var status atomic.Int64
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	cfg := mcp(h.cfg, h.Issuer()+"/mcp")
	cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
			return base.RoundTrip(r)
		}
		rec := httptest.NewRecorder()
		rec.WriteHeader(http.StatusNotFound)
		if strings.HasSuffix(r.URL.Path, "openid-configuration") && status.Load() != 0 {
			rec.Code = int(status.Load())
		}
		return rec.Result(), nil
	})
	opened := counted(&cfg)
	for code, want := range map[int64]error{403: oauthclient.ErrNoMetadata, 503: nil} {
		status.Store(code)
		_, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
		require.Error(t, err)
		if want != nil {
			require.ErrorIs(t, err, want)
		}
	}
	require.Zero(t, opened.Load())
	require.Empty(t, h.got(authserver.Registration))
	status.Store(0)
	_, err := newClient(t, cfg).SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"offline_access"}})
	require.NoError(t, err)
	request := h.got(authserver.Authorize)[0].URL.Query()
	require.Equal(t, "S256", request.Get("code_challenge_method"))
	require.NotEmpty(t, h.got(authserver.Token)[0].Form.Get("code_verifier"))

	// Another process refreshes the session, and finds the endpoints by itself.
	s, err := newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
}

// S41: a resource that describes itself is no server of MCP 2025-03-26, though it names
// its own origin as the authorization server and that publishes nothing.
func TestMCPHalfOfTheMetadata(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{})
	api := publisher(t, "", func(self, path string) string {
		if path != wellKnownResource+"/mcp" {
			return ""
		}
		return resourceDocument(self+"/mcp", self)
	})
	cfg = mcp(cfg, api.URL+"/mcp")
	opened := counted(&cfg)
	_, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrNoMetadata)
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.Zero(t, opened.Load())
}

// S41: the fixed paths are for a server that never had metadata, and at the resource's own
// origin only. An authorization server whose metadata are away gets no token there.
func TestMCPMetadataAreAway(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{OpenRegistration: true})
	api := publisher(t, "", func(origin, path string) string { return resourceDocument(origin+"/mcp", h.Issuer()) })
	cfg := mcp(h.cfg, api.URL+"/mcp")
	s, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	h.lie(authserver.Metadata, func(_ heardRequest, a *lyingReply) { a.Status = http.StatusNotFound })
	s, err = newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.ErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrNoMetadata)
	require.Len(t, h.got(authserver.Token), 2)

	synctest.Test(t, func(t *testing.T) {
		const origin = "https://93.184.216.34"
		var away bool
		cfg := mcp(oauthclient.Config{Store: &tokenstore.Memory{}}, origin+"/mcp")
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Type", "application/json")
			if away || r.URL.Path != "/.well-known/oauth-authorization-server" {
				rec.WriteHeader(http.StatusNotFound)
			}
			fmt.Fprintf(rec, `{"issuer":%q,"token_endpoint":"https://93.184.216.34/t"}`, origin)
			return rec.Result(), nil
		})
		c := newClient(t, cfg)
		for range 2 { // the second time, a day later
			m, err := c.Metadata(t.Context())
			require.NoError(t, err)
			require.Equal(t, origin+"/t", m.TokenEndpoint)
			away = true
			time.Sleep(25 * time.Hour)
		}
	})
}

// A challenge with the scheme DPoP alone is enough: the session is bound to a key. A
// session with a bearer token does not answer it.
func TestMCPDPoPChallenge(t *testing.T) {
	t.Parallel()
	for challenge, dpop := range map[string]bool{
		`DPoP algs="ES256"`: true, `Basic realm="x", DPoP algs="ES256"`: true,
		`Bearer`: false, `DPoP algs="ES256", Bearer`: false,
	} {
		h := newHostile(t, authserver.Config{OpenRegistration: true})
		api := publisher(t, challenge, func(origin, path string) string { return resourceDocument(origin+"/mcp", h.Issuer()) })
		cfg := mcp(h.cfg, api.URL+"/mcp")
		opened := counted(&cfg)
		c := newClient(t, cfg)
		_, err := c.Login(t.Context(), nil)
		require.NoError(t, err)
		opts, ok := oauthclient.ParseChallenge(refused(t, nil, api.URL+"/mcp"))
		require.True(t, ok)
		require.Equal(t, dpop, opts.DPoP, challenge)
		for range 2 { // the second time the session answers it
			s, err := c.SessionOrLogin(t.Context(), opts)
			require.NoError(t, err)
			token, err := s.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, dpop, token.TokenType == "DPoP", challenge)
		}
		require.Equal(t, map[bool]int64{false: 1, true: 2}[dpop], opened.Load())
	}
}

// A resource goes over to another authorization server, and the old one refreshes
// for ever. When the resource refuses a token, its metadata are read again.
func TestMCPServerMoves(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{`Bearer error="invalid_token"`, `Bearer realm="x"`} {
		first := newHostile(t, authserver.Config{OpenRegistration: true})
		second := newHostile(t, authserver.Config{OpenRegistration: true})
		var issuers atomic.Value
		issuers.Store([]string{first.Issuer()})
		var broken atomic.Value // what is published in place of the document; "-": nothing is changed
		broken.Store("-")
		api := publisher(t, challenge, func(origin, path string) string {
			if doc := broken.Load().(string); doc != "-" {
				return doc
			}
			return resourceDocument(origin+"/mcp", issuers.Load().([]string)...)
		})
		cfg := mcp(first.cfg, api.URL+"/mcp")
		opened := counted(&cfg)
		c := newClient(t, cfg)
		s, err := c.Login(t.Context(), nil)
		require.NoError(t, err)

		answer := func() *oauthclient.Session {
			opts, ok := oauthclient.ParseChallenge(refused(t, s, api.URL+"/mcp"))
			require.True(t, ok)
			s, err := c.SessionOrLogin(t.Context(), opts)
			require.NoError(t, err)
			return s
		}
		// While the old one is among them, or nobody knows, a refresh is the answer.
		issuers.Store([]string{second.Issuer(), first.Issuer() + "/"})
		s = answer()
		for _, doc := range []string{"{", ""} {
			broken.Store(doc)
			s = answer()
		}
		require.Equal(t, first.Issuer(), s.Account().Issuer)
		require.Len(t, first.got(authserver.Token), 4)
		require.EqualValues(t, 1, opened.Load())

		broken.Store("-")
		issuers.Store([]string{second.Issuer()})
		s = answer()
		require.Equal(t, second.Issuer(), s.Account().Issuer)
		require.EqualValues(t, 2, opened.Load())
		require.Len(t, first.got(authserver.Token), 4, "nothing more is asked of the old one")
		ours := first.got(authserver.Token)[0].Form.Get("client_id")

		// The same with the session's own client, which refreshes once by itself.
		issuers.Store([]string{first.Issuer()})
		resp, err := s.HTTPClient().Get(api.URL + "/mcp")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Len(t, second.got(authserver.Token), 2)
		opts, ok := oauthclient.ParseChallenge(resp)
		require.True(t, ok)
		s, err = c.SessionOrLogin(t.Context(), opts)
		require.NoError(t, err)
		require.Equal(t, first.Issuer(), s.Account().Issuer)
		require.EqualValues(t, 3, opened.Load())
		for _, r := range second.got(authserver.Token) {
			require.NotEqual(t, ours, r.Form.Get("client_id"))
		}
	}
}

// S43: a resource on this machine may name an authorization server on this machine,
// because the program named the resource. Nobody else may name one.
func TestMCPServersOnThisMachine(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{OpenRegistration: true})
	issuer := cfg.Issuer
	var named atomic.Value
	named.Store(issuer)
	api := publisher(t, "", func(origin, path string) string {
		return resourceDocument(strings.Replace(origin, "127.0.0.1", "localhost", 1)+"/mcp", named.Load().(string))
	})
	cfg = mcp(cfg, strings.Replace(api.URL, "127.0.0.1", "localhost", 1)+"/mcp")
	require.False(t, cfg.AllowPrivate)
	_, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)

	named.Store("https://10.0.0.9")
	opened := counted(&cfg)
	_, err = newClient(t, cfg).Login(t.Context(), nil)
	require.ErrorContains(t, err, "private address")
	require.Zero(t, opened.Load())

	for _, local := range []string{issuer, strings.Replace(issuer, "http:", "https:", 1)} {
		cfg := mcp(cfg, "https://93.184.216.34/mcp")
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "93.184.216.34", r.URL.Host)
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Type", "application/json")
			fmt.Fprint(rec, resourceDocument("https://93.184.216.34/mcp", local))
			return rec.Result(), nil
		})
		_, err = newClient(t, cfg).Login(t.Context(), nil)
		require.Error(t, err)
		require.Zero(t, opened.Load())
	}
}

// A resource may name several authorization servers. The first is used, and if it
// cannot be reached, the error says how to use another.
func TestMCPFirstServerIsAway(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{OpenRegistration: true})
	api := publisher(t, "Bearer", func(origin, path string) string {
		if path != wellKnownResource+"/mcp" {
			return ""
		}
		return resourceDocument(origin+"/mcp", "http://127.0.0.1:1", h.Issuer())
	})
	_, err := newClient(t, mcp(h.cfg, api.URL+"/mcp")).Login(t.Context(), nil)
	require.ErrorContains(t, err, "the resource also names "+h.Issuer()+": to sign in there, set Config.Issuer")
}

// S44: a program with a secret that does not know the authorization server needs one
// client, and the secret goes to no server that its function does not accept. A
// resource that moves takes it nowhere else.
func TestS44SecretGoesToAcceptedIssuers(t *testing.T) {
	t.Parallel()
	const secret = "s3cret canary"
	known := authserver.Config{Clients: []authserver.Client{{
		ID: "old", Auth: authserver.AuthPost, Secret: wire.NewSecret(secret), RedirectURIs: []string{"http://127.0.0.1/callback"},
	}}}
	home, stranger := newHostile(t, known), newHostile(t, known)
	var named atomic.Pointer[hostile] // by the resource
	named.Store(home)
	api := publisher(t, "Bearer", func(origin, path string) string {
		if path != wellKnownResource+"/mcp" {
			return ""
		}
		return resourceDocument(origin+"/mcp", named.Load().Issuer())
	})
	cfg := home.cfg
	cfg.Issuer, cfg.Scopes, cfg.Resources = "", []string{"offline_access"}, []string{api.URL + "/mcp"}
	cfg.ClientID, cfg.ClientAuth = "old", oauthclient.ClientSecretPost(secret)
	_, err := oauthclient.New(cfg)
	require.ErrorContains(t, err, "a secret is only sent to a provider that was named beforehand")

	var accepts atomic.Bool
	accepts.Store(true)
	cfg.Deviations.AcceptIssuer = func(issuer string) bool { return issuer == home.Issuer() && accepts.Load() }
	sent := func(h *hostile) (secrets []string) {
		for _, endpoint := range []string{authserver.PAR, authserver.Token, authserver.Revocation} {
			for _, r := range h.got(endpoint) {
				secrets = append(secrets, r.Form.Get("client_secret"))
			}
		}
		return secrets
	}
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	require.Equal(t, []string{secret, secret, secret}, sent(home))

	accepts.Store(false) // a stored session is no acceptance
	require.Error(t, s.Refresh(t.Context()))
	require.Equal(t, "", sent(home)[3])
	accepts.Store(true)

	named.Store(stranger)
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.ErrorContains(t, err, "names the authorization server "+stranger.Issuer()+", and Config.Deviations.AcceptIssuer does not accept it")
	require.Empty(t, sent(stranger))
}
