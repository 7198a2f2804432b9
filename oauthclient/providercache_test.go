package oauthclient

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// rig is a session in a sealed file, whose processes a test starts one after the
// other. Its provider has a second origin: the provider's own while trusted, and a
// thief's otherwise.
type rig struct {
	*authserver.Server
	t       *testing.T
	cfg     Config
	web     *http.Transport // of the program and of its browser
	dir     string
	other   string       // the second origin
	trusted atomic.Bool  // the second origin is the provider's too
	stolen  atomic.Int32 // what a thief was sent
	head    chan string  // who connected to the second origin ahead
	posted  chan string  // who sent it a token request

	mu     sync.Mutex
	change map[string]func(w http.ResponseWriter, m map[string]any) bool
	asked  []string
}

func newRig(t *testing.T, cfg authserver.Config) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "store"), head: make(chan string, 1), posted: make(chan string, 1)}
	r.change = map[string]func(http.ResponseWriter, map[string]any) bool{}
	serve := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.ServeHTTP(w, req) }))
	serve.EnableHTTP2 = true
	cfg.Issuer = "https://" + serve.Listener.Addr().String()
	cfg.Clients = []authserver.Client{
		{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "other", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{
			ID: "secret", RedirectURIs: []string{"http://127.0.0.1/callback"},
			Auth: authserver.AuthBasic, Secret: wire.NewSecret("a-secret-of-the-tests"),
		},
	}
	cfg.AutoUser, cfg.Misbehave = "alice", r.around
	var err error
	r.Server, err = authserver.New(cfg)
	require.NoError(t, err)
	serve.StartTLS()
	thief := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.trusted.Load() && req.Method == http.MethodHead {
			r.head <- req.RemoteAddr
			return
		}
		if r.trusted.Load() {
			select {
			case r.posted <- req.RemoteAddr:
			default:
			}
			req.Host = strings.TrimPrefix(r.Issuer(), "https://")
			r.ServeHTTP(w, req)
			return
		}
		r.stolen.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	r.other = thief.URL
	key, err := tokenstore.ParseKey(strings.Repeat("5a", 32))
	require.NoError(t, err)
	web := serve.Client().Transport.(*http.Transport).Clone()
	web.DisableKeepAlives = true
	r.web = web
	var visits sync.WaitGroup
	t.Cleanup(func() {
		visits.Wait()
		thief.Close()
		serve.Close()
	})
	r.cfg = Config{
		Issuer: cfg.Issuer, ClientID: "cli", Scopes: []string{"openid", "offline_access"},
		Store: tokenstore.NewFile(r.dir, key), Transport: web,
		UI: UI{OpenURL: func(_ context.Context, url string) error {
			visits.Go(func() {
				if resp, err := (&http.Client{Transport: web, Timeout: 20 * time.Second}).Get(url); err == nil {
					_ = resp.Body.Close()
				}
			})
			return nil
		}},
	}
	return r
}

// around notes what is asked, and changes answers that are JSON.
func (r *rig) around(endpoint string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.asked = append(r.asked, endpoint)
		change := r.change[endpoint]
		r.mu.Unlock()
		if change == nil {
			next.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, req)
		var m map[string]any
		_ = json.Unmarshal(rec.Body.Bytes(), &m)
		if change(w, m) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		_ = json.NewEncoder(w).Encode(m)
	})
}

// says changes the answers of an endpoint from now on. If change returns true, it has
// answered itself.
func (r *rig) says(endpoint string, change func(w http.ResponseWriter, m map[string]any) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change[endpoint] = change
}

// tokenEndpoint has the metadata name this token endpoint from now on.
func (r *rig) tokenEndpoint(url string) {
	r.says(authserver.Metadata, func(_ http.ResponseWriter, m map[string]any) bool {
		m["token_endpoint"] = url
		return false
	})
}

// process runs do with a client of its own, as a process does, and returns what the
// provider was asked meanwhile.
func (r *rig) process(cfg Config, do func(c *Client)) (asked []string) {
	r.t.Helper()
	r.mu.Lock()
	r.asked = nil
	r.mu.Unlock()
	c, err := New(cfg)
	require.NoError(r.t, err)
	do(c)
	require.NoError(r.t, c.Close())
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// login signs in in a process of its own.
func (r *rig) login(cfg Config) (asked []string) {
	r.t.Helper()
	return r.process(cfg, func(c *Client) {
		_, err := c.Login(r.t.Context(), nil)
		require.NoError(r.t, err)
	})
}

// refresh refreshes the session in a process of its own.
func (r *rig) refresh() (asked []string, err error) {
	r.t.Helper()
	asked = r.process(r.cfg, func(c *Client) {
		s, lerr := c.Session(r.t.Context(), "")
		require.NoError(r.t, lerr)
		err = s.Refresh(r.t.Context())
	})
	return asked, err
}

// key is the store's for the session.
func (r *rig) key() string { return session.Key(r.cfg.Issuer, r.cfg.ClientID, "") }

// file returns the path of a client's provider cache.
func (r *rig) file(clientID string) string {
	r.t.Helper()
	name := filepath.Join(r.dir, "key-"+session.Key(r.cfg.Issuer, clientID, "")+".provider.journal")
	require.FileExists(r.t, name)
	return name
}

// tamper changes the cache as somebody does who cannot read the session.
func (r *rig) tamper(change func(k, metadata map[string]any)) {
	r.t.Helper()
	file := r.file("cli")
	data, err := os.ReadFile(file)
	require.NoError(r.t, err)
	head, body, _ := strings.Cut(string(data), "\n")
	changed := append([]byte(head+"\n"), changeCache(r.t, []byte(body), change)...)
	require.NoError(r.t, os.WriteFile(file, changed, 0o600))
}

// replace changes the cache as only a process with the session can.
func (r *rig) replace(change func(k, metadata map[string]any)) {
	r.t.Helper()
	r.process(r.cfg, func(c *Client) {
		seen, err := c.keeper.Read(r.t.Context(), r.key())
		require.NoError(r.t, err)
		body := c.keeper.ProviderCache(r.t.Context(), seen.Grant)
		require.NotNil(r.t, body)
		c.keeper.SetProviderCache(r.t.Context(), seen.Grant, changeCache(r.t, body, change))
	})
}

func changeCache(t *testing.T, body []byte, change func(k, metadata map[string]any)) []byte {
	t.Helper()
	var k, m map[string]any
	require.NoError(t, json.Unmarshal(body, &k))
	var typed providerCache
	require.NoError(t, json.Unmarshal(body, &typed))
	require.NoError(t, json.Unmarshal(typed.Metadata, &m))
	change(k, m)
	metadata, err := json.Marshal(m)
	require.NoError(t, err)
	k["metadata"] = metadata
	out, err := json.Marshal(k)
	require.NoError(t, err)
	return out
}

// requireNoCache demands that the next process does without the cache, and sends
// nothing to the thief. The process after it has a good one again.
func (r *rig) requireNoCache() {
	r.t.Helper()
	asked, err := r.refresh()
	require.NoError(r.t, err)
	require.Contains(r.t, asked, authserver.Metadata)
	require.Zero(r.t, r.stolen.Load(), "what was sent to a thief")
	asked, err = r.refresh()
	require.NoError(r.t, err)
	require.Equal(r.t, []string{authserver.Token}, asked)
}

// A process asks the provider for nothing that the one before has learned. A session
// that an earlier version stored begins its cache with the next refresh.
func TestAFreshProcessAsksForTokensOnly(t *testing.T) {
	t.Parallel()
	for _, dpop := range []bool{false, true} {
		r := newRig(t, authserver.Config{DPoPNonce: dpop})
		r.cfg.DPoP = dpop
		r.login(r.cfg)
		for range 2 {
			asked, err := r.refresh()
			require.NoError(t, err)
			require.Equal(t, []string{authserver.Token}, asked, "DPoP %v", dpop)
		}
		r.process(r.cfg, func(c *Client) {
			seen, err := c.keeper.Read(t.Context(), session.Key(r.cfg.Issuer, "cli", ""))
			require.NoError(t, err)
			old := *seen.Grant
			_, err = c.keeper.Save(t.Context(), session.Key(r.cfg.Issuer, "cli", ""), &old, func(*session.Grant) error { return nil }, func() {})
			require.NoError(t, err)
		})
		r.requireNoCache()
		r.process(r.cfg, func(c *Client) { require.NoError(t, c.Logout(t.Context(), "", nil)) })
		left, err := os.ReadFile(r.file("cli"))
		require.NoError(t, err)
		require.Empty(t, left, "after a logout")
	}
}

// A refresh of which nothing was sent is sent with metadata that were just fetched: a
// guard that does not know yet that the issuer has a private address learns it so.
func TestARefreshThatWasNotSentIsSentAfresh(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	base, failed := r.cfg.Transport, false
	r.cfg.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/token" && !failed {
			failed = true
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
		return base.RoundTrip(req)
	})
	asked, err := r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Metadata, authserver.Token}, asked)
}

// A token endpoint that has moved is found, and the refresh is sent there once.
func TestAMovedTokenEndpointIsFound(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest} {
		r := newRig(t, authserver.Config{})
		r.login(r.cfg)
		r.trusted.Store(true)
		old := r.cfg.Transport
		r.cfg.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
			if "https://"+req.URL.Host == r.Issuer() && req.URL.Path == "/token" {
				rec := httptest.NewRecorder()
				rec.WriteHeader(status)
				return rec.Result(), nil
			}
			return old.RoundTrip(req)
		})
		r.tokenEndpoint(r.other + "/token")
		asked, err := r.refresh()
		require.NoError(t, err, "HTTP %d", status)
		require.Equal(t, []string{authserver.Metadata, authserver.Token}, asked)
		asked, err = r.refresh()
		require.NoError(t, err)
		require.Equal(t, []string{authserver.Token}, asked)
	}
}

// A key that the cache does not have is fetched, once.
func TestAnUnknownKeyIsFetchedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	require.NoError(t, r.RotateKey("ES256"))
	asked, err := r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Token, authserver.JWKS}, asked)
	asked, err = r.refresh()
	require.NoError(t, err)
	require.Equal(t, []string{authserver.Token}, asked)
}

// Metadata that are an hour old are renewed beside a refresh.
func TestAnOldCacheIsRenewedBesideARefresh(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	c, err := New(r.cfg)
	require.NoError(t, err)
	defer c.Close()
	key := session.Key(r.cfg.Issuer, "cli", "")
	seen, err := c.keeper.Read(t.Context(), key)
	require.NoError(t, err)
	g := *seen.Grant
	g.CacheSince = time.Time{}
	var k providerCache
	require.NoError(t, json.Unmarshal(c.keeper.ProviderCache(t.Context(), &g), &k))
	k.MetadataAt = time.Now().Add(-2 * time.Hour).UnixMilli()
	data, err := json.Marshal(k)
	require.NoError(t, err)
	c.keeper.SetProviderCache(t.Context(), &g, data)
	p, err := c.providers.of(t.Context(), &g)
	require.NoError(t, err)
	require.True(t, p.cached)
	c.providers.renewBeside(p, &g)
	<-c.providers.renew(p, &g) // the one that has begun
	require.NoError(t, c.Close())
	var renewed providerCache
	require.NoError(t, json.Unmarshal(c.keeper.ProviderCache(t.Context(), &g), &renewed))
	require.Less(t, time.Since(time.UnixMilli(renewed.MetadataAt)), time.Minute)
}
