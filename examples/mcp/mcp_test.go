package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/examples/mcp/notes"
	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Each test is a rule of the MCP authorization specification (2025-11-25) that binds a client, on a real server of the go-sdk behind a real
// authorization server. Its section is in brackets.

// site is an MCP server and its authorization server.
type site struct {
	t       *testing.T
	issuer  string
	address string // of the MCP endpoint
	auth    *authserver.Server
	options options

	mu     sync.Mutex
	atAuth []*http.Request // with their forms parsed
	atMCP  []*http.Request
	opened int
	visits sync.WaitGroup
}

type options struct {
	dpop       bool
	path       string                          // of the issuer
	clients    []authserver.Client             //
	metadata   func(map[string]any)            // changes the authorization server's
	resource   func(map[string]any)            // changes the MCP server's
	noPointer  bool                            // challenges do not say where the MCP server's metadata are
	noScope    bool                            // nor which scope is needed
	atRoot     bool                            // the MCP server's metadata are at the root
	before     func(http.Handler) http.Handler // of the MCP endpoint
	lifetime   time.Duration
	onCallback func(*url.URL) // may change where the browser is sent back to
}

func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{t: t, options: o}
	front, back := listen(t), listen(t)
	s.issuer, s.address = "http://"+front.Addr().String()+o.path, "http://"+back.Addr().String()+"/mcp"
	var err error
	s.auth, err = authserver.New(authserver.Config{
		Issuer: s.issuer, OpenRegistration: true, AutoUser: "alice", Clients: o.clients, AccessTokenLifetime: o.lifetime,
	})
	require.NoError(t, err)
	start(t, front, s.recorded(&s.atAuth, s.edited(s.auth, o.metadata)))

	endpoint := notes.Handler(s.auth, s.address, o.dpop)
	if o.before != nil {
		endpoint = o.before(endpoint)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", s.challenges(endpoint))
	place, err := authserver.ResourceMetadataPath(s.address)
	require.NoError(t, err)
	if o.atRoot {
		place = strings.TrimSuffix(place, "/mcp")
	}
	mux.Handle(place, s.edited(s.auth.ResourceMetadata(authserver.Resource{URL: s.address, Scope: notes.Read, RequireDPoP: o.dpop}), o.resource))
	start(t, back, s.recorded(&s.atMCP, mux))
	t.Cleanup(s.visits.Wait)
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func start(t *testing.T, l net.Listener, h http.Handler) {
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
}

// recorded keeps what comes in.
func (s *site) recorded(list *[]*http.Request, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		kept := r.Clone(context.Background())
		kept.Body, r.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
		_ = kept.ParseForm()
		s.mu.Lock()
		*list = append(*list, kept)
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// edited changes JSON documents on their way out.
func (s *site) edited(next http.Handler, change func(map[string]any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change == nil || !strings.Contains(r.URL.Path, "/.well-known/") {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var document map[string]any
		if json.Unmarshal(answer.Body.Bytes(), &document) == nil {
			change(document)
			answer.Body.Reset()
			_ = json.NewEncoder(answer.Body).Encode(document)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// challenges takes out of challenges what the options say.
func (s *site) challenges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&challenger{ResponseWriter: w, options: s.options}, r)
	})
}

type challenger struct {
	http.ResponseWriter
	options options
}

func (c *challenger) WriteHeader(status int) {
	values := c.Header()["Www-Authenticate"]
	for i, v := range values {
		var kept []string
		for _, param := range strings.Split(v, ", ") {
			if c.options.noPointer && strings.HasPrefix(param, "resource_metadata=") || c.options.noScope && strings.HasPrefix(param, "scope=") {
				continue
			}
			kept = append(kept, param)
		}
		values[i] = strings.Join(kept, ", ")
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *challenger) Flush() {
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// config is the program's own, with a store of the test's and a browser in which alice signs in at once.
func (s *site) config(store tokenstore.Store) oauthclient.Config {
	cfg := config(s.address)
	cfg.Store = store
	cfg.UI = oauthclient.UI{}
	cfg.UI.OpenURL = func(_ context.Context, page string) error {
		s.mu.Lock()
		s.opened++
		s.mu.Unlock()
		s.visits.Go(func() {
			browser := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				if s.options.onCallback != nil && r.URL.Query().Get("code") != "" {
					s.options.onCallback(r.URL)
				}
				return nil
			}}
			if resp, err := browser.Get(page); err == nil {
				_ = resp.Body.Close()
			}
			browser.CloseIdleConnections()
		})
		return nil
	}
	return cfg
}

func (s *site) run(cfg oauthclient.Config) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, &out, cfg)
	return out.String(), err
}

// asked are the requests to a path of the authorization server.
func (s *site) asked(path string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*http.Request
	for _, r := range s.atAuth {
		if r.URL.Path == s.options.path+path {
			found = append(found, r)
		}
	}
	return found
}

// wellKnown are the well-known places that were asked for, in order.
func (s *site) wellKnown(list *[]*http.Request) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, r := range *list {
		if strings.Contains(r.URL.Path, "/.well-known/") {
			found = append(found, r.URL.Path)
		}
	}
	return found
}

const everything = "read: three notes\nwrite: a fourth note\n"

// sealed is a store on disk, which another run of the program finds again.
func sealed(t *testing.T) tokenstore.Store {
	t.Helper()
	dir := t.TempDir()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	path := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(path, []byte(fmt.Sprintf("%x", raw)), 0o600))
	key, err := tokenstore.ReadKey(path)
	require.NoError(t, err)
	return tokenstore.NewFile(filepath.Join(dir, "sessions"), key)
}

// The first run signs in, and once more for the tool that needs more; the second asks nobody.
func TestTwoRuns(t *testing.T) {
	t.Parallel()
	for _, dpop := range []bool{false, true} {
		t.Run(fmt.Sprintf("DPoP %v", dpop), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{dpop: dpop})
			store := sealed(t)
			out, err := s.run(s.config(store))
			require.NoError(t, err)
			require.Equal(t, everything, out)
			require.Equal(t, 2, s.opened, "one sign-in, and one step-up")
			require.Len(t, s.asked("/register"), 1)

			out, err = s.run(s.config(store))
			require.NoError(t, err)
			require.Equal(t, everything, out)
			require.Equal(t, 2, s.opened, "the session persists")
			require.Len(t, s.asked("/register"), 1, "and so does the registration")

			scheme := "Bearer "
			if dpop {
				scheme = "DPoP "
			}
			bare := 0
			for _, r := range s.atMCP {
				switch auth := r.Header.Get("Authorization"); {
				case strings.Contains(r.URL.Path, "/.well-known/"):
					require.Empty(t, auth)
				case auth == "":
					bare++
				default:
					require.True(t, strings.HasPrefix(auth, scheme), "%s", r.URL.Path)
					require.Equal(t, dpop, r.Header.Get("DPoP") != "")
				}
			}
			require.LessOrEqual(t, bare, 1, "[Access Token Usage] the token is in every request but the first")
		})
	}
}

// A session that ended at the provider is begun anew.
func TestRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	store := sealed(t)
	_, err := s.run(s.config(store))
	require.NoError(t, err)
	s.auth.Revoke()
	out, err := s.run(s.config(store))
	require.NoError(t, err)
	require.Equal(t, everything, out)
	require.Equal(t, 3, s.opened, "one more, for all that there was")
}

// A sign-in that failed for the network is tried again with the next request.
func TestNetworkFailurePasses(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	cfg := s.config(new(tokenstore.Memory))
	base := new(http.Transport)
	t.Cleanup(base.CloseIdleConnections)
	var down atomic.Bool
	cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if down.Load() {
			return nil, errors.New("no network")
		}
		return base.RoundTrip(r)
	})
	client, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	auth := &signIn{client: client}
	try := func() (status int, err error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.address, nil)
		require.NoError(t, err)
		resp, err := auth.RoundTrip(req)
		require.NoError(t, err)
		if resp.StatusCode == http.StatusUnauthorized {
			return resp.StatusCode, auth.Authorize(t.Context(), req, resp)
		}
		return resp.StatusCode, resp.Body.Close()
	}
	down.Store(true)
	_, err = try()
	require.ErrorContains(t, err, "try again")
	require.Zero(t, s.opened)
	down.Store(false)
	status, err := try()
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status)
	status, err = try()
	require.NoError(t, err)
	require.NotEqual(t, http.StatusUnauthorized, status)
	require.Equal(t, 1, s.opened)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The example is what people copy.
func TestExampleIsShort(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	lines := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if !strings.HasSuffix(name, "_test.go") {
			lines += strings.Count(string(text), "\n")
		}
	}
	require.Less(t, lines, 120)
	require.Positive(t, lines)
}

// A user that says no is not asked again, though the go-sdk tries two ways to begin.
func TestDenied(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.auth.Deny()
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.ErrorIs(t, err, oauthclient.ErrAccessDenied)
	require.Equal(t, 1, s.opened)
}

// [Protected Resource Metadata Discovery] The challenge's resource_metadata where there is one; else the well-known place with the path, then the root's.
func TestResourceMetadataOrder(t *testing.T) {
	t.Parallel()
	const withPath, root = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"
	for name, test := range map[string]struct {
		options options
		want    []string
	}{
		"from the challenge": {options{}, []string{withPath}},
		"with the path":      {options{noPointer: true}, []string{withPath}},
		"at the root":        {options{noPointer: true, atRoot: true}, []string{withPath, root}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, test.options)
			_, err := s.run(s.config(new(tokenstore.Memory)))
			require.NoError(t, err)
			require.Equal(t, test.want, s.wellKnown(&s.atMCP)[:len(test.want)])
		})
	}
}

// [Protected Resource Metadata Discovery] Metadata about another resource are refused (S42), and nobody is asked to sign in.
func TestResourceOfAnother(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"another resource":         func(d map[string]any) { d["resource"] = "https://mcp.example.com/mcp" },
		"no resource":              func(d map[string]any) { delete(d, "resource") },
		"no authorization servers": func(d map[string]any) { delete(d, "authorization_servers") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{resource: change})
			_, err := s.run(s.config(new(tokenstore.Memory)))
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.Zero(t, s.opened)
			require.Empty(t, s.atAuth)
		})
	}
}

// [Authorization Server Metadata Discovery] RFC 8414 with the path inserted, OpenID Connect with the path inserted, OpenID Connect with it appended.
func TestAuthorizationServerMetadataOrder(t *testing.T) {
	t.Parallel()
	elsewhere := listen(t) // has none at any place, so that all are asked
	s := newSite(t, options{resource: func(d map[string]any) {
		d["authorization_servers"] = []string{"http://" + elsewhere.Addr().String() + "/tenant"}
	}})
	start(t, elsewhere, s.recorded(&s.atAuth, http.NotFoundHandler()))
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.Equal(t, []string{
		"/.well-known/oauth-authorization-server/tenant", "/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration",
	}, s.wellKnown(&s.atAuth)[:3], "and again for the go-sdk's second way to begin")
	require.Zero(t, s.opened)
}

// [Authorization Code Protection] Without code_challenge_methods_supported, or without S256 in it, the client refuses to go on (S26).
func TestPKCEIsRequired(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"absent":     func(d map[string]any) { delete(d, "code_challenge_methods_supported") },
		"plain only": func(d map[string]any) { d["code_challenge_methods_supported"] = []string{"plain"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{metadata: change})
			_, err := s.run(s.config(new(tokenstore.Memory)))
			require.ErrorContains(t, err, "code_challenge_methods_supported")
			require.Zero(t, s.opened)
			require.Empty(t, s.asked("/authorize"))
		})
	}
}

// [Resource Parameter Implementation] resource is the server's canonical URI in the authorization, token and refresh requests (S34).
func TestResourceParameter(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{lifetime: 2 * time.Second})
	store := sealed(t)
	_, err := s.run(s.config(store))
	require.NoError(t, err)
	time.Sleep(2 * time.Second)
	_, err = s.run(s.config(store))
	require.NoError(t, err)
	pushed := s.asked("/par")
	require.NotEmpty(t, pushed)
	refreshed := false
	for _, r := range append(pushed, s.asked("/token")...) {
		require.Equal(t, []string{s.address}, r.PostForm["resource"], r.PostForm.Get("grant_type"))
		refreshed = refreshed || r.PostForm.Get("grant_type") == "refresh_token"
	}
	require.True(t, refreshed)
}

// The same where the request is not pushed but goes through the browser.
func TestResourceParameterInTheURL(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{metadata: func(d map[string]any) { delete(d, "pushed_authorization_request_endpoint") }})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.NoError(t, err)
	asked := s.asked("/authorize")
	require.NotEmpty(t, asked)
	for _, r := range asked {
		require.Equal(t, []string{s.address}, r.URL.Query()["resource"])
		require.Equal(t, "S256", r.URL.Query().Get("code_challenge_method"))
		require.NotEmpty(t, r.URL.Query().Get("state"))
	}
}

// [Scope Selection Strategy] The challenge's scope where it names one, else everything in scopes_supported; offline_access where the authorization server has it.
func TestScopeSelection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options options
		want    string
	}{
		"the challenge's":  {options{resource: func(d map[string]any) { d["scopes_supported"] = []string{notes.Read, "other"} }}, notes.Read + " offline_access"},
		"scopes_supported": {options{noScope: true, resource: func(d map[string]any) { d["scopes_supported"] = []string{notes.Read, notes.Write} }}, notes.Read + " " + notes.Write + " offline_access"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, test.options)
			_, err := s.run(s.config(new(tokenstore.Memory)))
			require.NoError(t, err)
			require.Equal(t, test.want, s.asked("/par")[0].PostForm.Get("scope"))
		})
	}
}

// [Step-Up Authorization Flow] insufficient_scope asks for what there was and what is missing (S37), and a server that is never content
// is asked once more and no further (S36).
func TestStepUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.NoError(t, err)
	pushed := s.asked("/par")
	require.Len(t, pushed, 2)
	require.ElementsMatch(t, []string{notes.Read, notes.Write, "offline_access"}, strings.Fields(pushed[1].PostForm.Get("scope")))

	greedy := newSite(t, options{before: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="notes:read notes:write"`)
			w.WriteHeader(http.StatusForbidden)
		})
	}})
	_, err = greedy.run(greedy.config(new(tokenstore.Memory)))
	require.Error(t, err)
	require.LessOrEqual(t, greedy.opened, 3)
	before := greedy.opened
	time.Sleep(200 * time.Millisecond)
	require.Equal(t, before, greedy.opened)
}

// A 403 that no sign-in cures asks nobody.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{before: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	}})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.ErrorContains(t, err, "403")
	require.Zero(t, s.opened)
}

// [Access Token Usage] Tokens are in headers and bodies, never in a URL (S55).
func TestNoTokenInAURL(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.NoError(t, err)
	var secrets []string
	for _, r := range s.atMCP {
		if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			secrets = append(secrets, token)
		}
	}
	require.NotEmpty(t, secrets)
	for _, r := range append(append([]*http.Request(nil), s.atMCP...), s.atAuth...) {
		for _, secret := range secrets {
			require.NotContains(t, r.URL.String(), secret)
		}
	}
}

// [Token Audience Binding, Access Token Privilege Restriction] The token goes to the server's own origin: one that sends the client elsewhere
// does not send the token along (S46).
func TestTokenStaysWithItsServer(t *testing.T) {
	t.Parallel()
	thief := listen(t)
	var mu sync.Mutex
	var stolen []string
	start(t, thief, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		stolen = append(stolen, r.Header.Get("Authorization")+r.Header.Get("DPoP"))
		w.WriteHeader(http.StatusNotFound)
	}))
	s := newSite(t, options{before: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				next.ServeHTTP(w, r)
				return
			}
			http.Redirect(w, r, "http://"+thief.Addr().String()+"/mcp", http.StatusTemporaryRedirect)
		})
	}})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.Error(t, err)
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, stolen)
	for _, header := range stolen {
		require.Empty(t, header)
	}
}

// [Communication Security] An authorization server that the network named speaks https. A server on this machine may name another on this machine.
func TestHTTPSOnly(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{"http://as.example.com", "https://as.example.com/#x", "https://u:p@as.example.com", "javascript:alert(1)", "file:///etc/passwd"} {
		s := newSite(t, options{resource: func(d map[string]any) { d["authorization_servers"] = []string{issuer} }})
		_, err := s.run(s.config(new(tokenstore.Memory)))
		require.Error(t, err, issuer)
		require.Zero(t, s.opened)
	}
	require.False(t, config("https://mcp.example.com/mcp").AllowPrivate)
	require.False(t, config("https://10.0.0.1/mcp").AllowPrivate)
	_, err := oauthclient.New(config("http://mcp.example.com/mcp"))
	require.ErrorContains(t, err, "https")
}

// [Client Registration Approaches] A client ID that is known comes first, then a metadata document where it is supported, then registration.
func TestRegistrationOrder(t *testing.T) {
	t.Parallel()
	const document = "https://app.example.com/client.json"
	client := func(id string) []authserver.Client {
		return []authserver.Client{{ID: id, RedirectURIs: []string{"http://127.0.0.1/callback"}}}
	}
	for name, test := range map[string]struct {
		id         string
		options    options
		registered int
		want       string // "": one that registration gave
	}{
		"registered before": {"mine", options{clients: client("mine")}, 0, "mine"},
		"metadata document": {document, options{clients: client(document), metadata: func(d map[string]any) { d["client_id_metadata_document_supported"] = true }}, 0, document},
		"no documents here": {document, options{}, 1, ""},
		"nothing":           {"", options{}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, test.options)
			cfg := s.config(new(tokenstore.Memory))
			cfg.ClientID = test.id
			out, err := s.run(cfg)
			require.NoError(t, err)
			require.Equal(t, everything, out)
			require.Len(t, s.asked("/register"), test.registered)
			id := s.asked("/par")[0].PostForm.Get("client_id")
			if test.want != "" {
				require.Equal(t, test.want, id)
			}
			require.NotEmpty(t, id)
			require.Empty(t, s.asked("/par")[0].PostForm.Get("client_secret"))
		})
	}
}

// [Authorization Server Location] What was registered at one authorization server is not shown to another (S44).
func TestCredentialsBelongToTheirIssuer(t *testing.T) {
	t.Parallel()
	first := newSite(t, options{})
	store := sealed(t)
	_, err := first.run(first.config(store))
	require.NoError(t, err)
	second := newSite(t, options{})
	_, err = second.run(second.config(store))
	require.NoError(t, err)
	require.Len(t, second.asked("/register"), 1)
	ours := first.asked("/par")[0].PostForm.Get("client_id")
	for _, r := range second.atAuth {
		require.NotEqual(t, ours, r.FormValue("client_id"))
	}
}

// An answer of another issuer (RFC 9207) ends the sign-in before anything is exchanged (S29).
func TestMixUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{onCallback: func(u *url.URL) {
		q := u.Query()
		q.Set("iss", "https://other.example.com")
		u.RawQuery = q.Encode()
	}})
	_, err := s.run(s.config(new(tokenstore.Memory)))
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.Empty(t, s.asked("/token"))
}
