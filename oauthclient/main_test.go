package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// TestMain lets many tests run at once, unless -parallel says how many: they wait
// for pauses and other processes, and hardly compute. The time that a small machine
// needs for the package falls to less than half.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", "16")
	}
	_ = os.Setenv("LC_ALL", "C") // the tests read what a terminal says
	goleak.VerifyTestMain(m)
}

// newClient returns a client for cfg that is closed before its server stops.
func newClient(t *testing.T, cfg oauthclient.Config) *oauthclient.Client {
	t.Helper()
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func signIn(t *testing.T, s *oauthtest.Server, change func(*oauthclient.Config)) (*oauthclient.Client, *oauthclient.Session) {
	t.Helper()
	cfg := s.Config()
	if change != nil {
		change(&cfg)
	}
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	return c, session
}

// misbehave replaces one endpoint's answer while on.
type misbehave struct {
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	hits    atomic.Int64
}

func (m *misbehave) set(endpoint string, h http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = map[string]http.HandlerFunc{}
	}
	m.answers[endpoint] = h
}

func (m *misbehave) option(endpoint string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		h := m.answers[endpoint]
		m.mu.Unlock()
		if h != nil {
			m.hits.Add(1)
			h(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// counted counts how often a browser is opened.
func counted(cfg *oauthclient.Config) *atomic.Int64 {
	var n atomic.Int64
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, url string) error {
		n.Add(1)
		return open(ctx, url)
	}
	return &n
}

// says changes members of the metadata that the provider of cfg publishes; nil
// takes a member away.
func says(t *testing.T, cfg *oauthclient.Config, members map[string]any) {
	t.Helper()
	base := cfg.Transport
	if base == nil {
		own := &http.Transport{}
		t.Cleanup(own.CloseIdleConnections)
		base = own
	}
	cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(r.URL.Path, "/.well-known/") {
			return resp, err
		}
		defer resp.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
			return nil, err
		}
		for name, value := range members {
			if document[name] = value; value == nil {
				delete(document, name)
			}
		}
		data, err := json.Marshal(document)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		resp.Header.Del("Content-Length")
		return resp, err
	})
}

// authServer is the server behind oauthtest, for tests that ask more of it. Its browser signs in at once.
func authServer(t *testing.T, cfg authserver.Config) (*authserver.Server, oauthclient.Config) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Issuer = "http://" + ln.Addr().String()
	cfg.Clients = append(cfg.Clients, authserver.Client{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}})
	if cfg.AutoUser == "" {
		cfg.AutoUser = "alice"
	}
	as, err := authserver.New(cfg)
	require.NoError(t, err)
	hs := &httptest.Server{Listener: ln, Config: &http.Server{Handler: as}}
	hs.Start()
	var visits sync.WaitGroup
	browser := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		visits.Wait()
		hs.CloseClientConnections()
		hs.Close()
	})
	return as, oauthclient.Config{
		Issuer: cfg.Issuer, ClientID: "cli", Scopes: []string{"openid", "offline_access"}, Store: &tokenstore.Memory{},
		UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
			visits.Go(func() {
				if resp, err := (&http.Client{Transport: browser, Timeout: 20 * time.Second}).Get(url); err == nil {
					resp.Body.Close()
				}
			})
			return nil
		}},
	}
}
