package oauthclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// S82: what a refreshed ID token may not say (OpenID Connect Core §12.2): another
// issuer, user or audience, which ends the session; another party, login or nonce,
// which costs the token.
func TestS82RefreshedIDToken(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"iss":       func(c map[string]any) { c["iss"] = "https://other.example.com" },
		"sub":       func(c map[string]any) { c["sub"] = "mallory" },
		"azp":       func(c map[string]any) { c["azp"] = "other" },
		"aud":       func(c map[string]any) { c["aud"] = "other" },
		"auth_time": func(c map[string]any) { c["auth_time"] = c["auth_time"].(float64) - 3600 },
		"nonce":     func(c map[string]any) { c["nonce"] = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			c, s := h.login(t)
			switch name {
			case "iss", "sub", "aud":
				requireS82(t, h, c, s, change)
			default:
				requireOldIDToken(t, h, s, change)
			}
		})
	}
	t.Run("none at all is fine", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t, authserver.Config{})
		_, s := h.login(t)
		h.lie("token", func(_ heardRequest, a *lyingReply) { a.JSON(func(m map[string]any) { delete(m, "id_token") }) })
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, "alice", s.Account().Subject)
	})
}

// S34: tokens for two resources, asked for at once and again and again, never cross, and each request says which it is for.
func TestS34ResourcesApart(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	h.withoutPAR()
	a := newAPI(t, h.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
	b := newAPI(t, h.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
	h.cfg.Resources = []string{a.URL, b.URL}
	c, s := h.login(t)
	require.ElementsMatch(t, h.cfg.Resources, h.got("authorize")[0].URL.Query()["resource"], "authorization request")
	require.ElementsMatch(t, h.cfg.Resources, h.got("token")[0].Form["resource"], "exchange")
	client := s.HTTPClient()
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			resp, err := client.Get([]string{a.URL, b.URL}[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		})
	}
	wg.Wait()
	for token := range strings.FieldsSeq(strings.Join(a.auth, " ")) {
		require.True(t, token == "Bearer" || !strings.Contains(strings.Join(b.auth, " "), token), "a token of one API was sent to the other")
	}
	for _, r := range h.got("token")[1:] {
		require.Len(t, r.Form["resource"], 1, "refresh")
	}
	// Another account and another client keep theirs elsewhere.
	_, err := c.Session(t.Context(), "other")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	other := h.cfg
	other.ClientID = "cli2"
	_, err = newClient(t, other).Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// S37: a step-up asks for what there was and what is wanted, and never loses the first.
func TestS37ScopesAddUp(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	h.cfg.Scopes = []string{"openid"}
	c, _ := h.login(t)
	_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"read"}})
	require.NoError(t, err)
	s, err := c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"write"}})
	require.NoError(t, err)
	require.Equal(t, "openid write read", h.got("par")[2].Form.Get("scope"))
	require.ElementsMatch(t, []string{"openid", "read", "write"}, s.Account().Scopes)
}

// S44: what was registered at one provider is not used at another; and nothing in the working directory or the environment changes where a
// program goes.
func TestS44CredentialsByIssuer(t *testing.T) {
	first := newHostile(t, authserver.Config{OpenRegistration: true})
	second := newHostile(t, authserver.Config{OpenRegistration: true})
	for _, h := range []*hostile{first, second} {
		h.cfg.Store = first.cfg.Store
		h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "program"}
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{".env", "nativeoauth.json", ".nativeoauth", "config.toml"} {
		require.NoError(t, os.WriteFile(name, []byte("ISSUER=https://evil.example\nNATIVEOAUTH_ISSUER=https://evil.example\n"), 0o600))
	}
	t.Setenv("NATIVEOAUTH_ISSUER", "https://evil.example")
	t.Setenv("OAUTH_ISSUER", "https://evil.example")
	first.login(t)
	second.login(t)
	require.Len(t, first.got("registration"), 1)
	require.Len(t, second.got("registration"), 1, "registered anew")
	id := first.got("token")[0].Form.Get("client_id")
	require.NotEmpty(t, id)
	for endpoint, list := range second.everything() {
		for _, r := range list {
			require.NotContains(t, r.URL.String()+r.Form.Encode(), id, endpoint)
		}
	}

	// The provider of a program with a secret of its own is swapped: the program's issuer is not what the metadata say, and nothing is sent.
	swapped := newHostile(t, authserver.Config{})
	swapped.cfg.ClientAuth = oauthclient.ClientSecret("canary-secret")
	swapped.lie("metadata", func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) { m["issuer"] = "https://evil.example" })
	})
	c := newClient(t, swapped.cfg)
	_, err := c.Login(t.Context(), nil)
	swapped.requireRejected(t, c, err)
	require.Empty(t, swapped.got("token"))
}

// connectProxy is an HTTP proxy that writes down each request line that it is sent.
func connectProxy(t *testing.T) (address string, lines func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer client.Close()
				r := bufio.NewReader(client)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				mu.Lock()
				seen = append(seen, req.Method+" "+req.RequestURI+" "+req.Header.Get("Authorization"))
				mu.Unlock()
				if req.Method != http.MethodConnect {
					return
				}
				server, err := net.Dial("tcp", req.Host)
				if err != nil {
					return
				}
				defer server.Close()
				_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
				go func() { _, _ = io.Copy(server, r); _ = server.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(client, server)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); serving.Wait() })
	return "http://" + ln.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, seen...)
	}
}

// S57: through a proxy everything goes by CONNECT: the proxy sees a host and nothing of the login or of what the API is sent. S56: the
// certificate is checked behind it all the same.
func TestS56S57Proxy(t *testing.T) {
	mux := http.NewServeMux()
	ts := httptest.NewTLSServer(mux)
	t.Cleanup(ts.Close)
	as, err := authserver.New(authserver.Config{Issuer: ts.URL, AutoUser: "alice", Clients: []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}}})
	require.NoError(t, err)
	mux.Handle("/", as)
	mux.Handle("/api", as.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
	address, lines := connectProxy(t)
	proxy, err := url.Parse(address)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	through := func(roots *x509.CertPool) *http.Transport {
		return &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	}
	trusting := through(roots)
	user := authserver.NewUser(ts.URL, "")
	user.Client.Transport = trusting
	h := &hostile{Server: as}
	_, h.cfg = authServer(t, authserver.Config{})
	h.cfg.Issuer, h.cfg.Transport = ts.URL, trusting
	h.cfg.UI.OpenURL = func(_ context.Context, u string) error {
		bypass, err := http.NewRequest(http.MethodGet, u, nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(bypass)
		if err != nil {
			return err
		}
		resp.Body.Close()
		answer, err := user.Visit(bypass.Context(), resp.Header.Get("Location"))
		if err != nil {
			return err
		}
		go func() {
			if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(answer.URL); err == nil {
				resp.Body.Close()
			}
		}()
		return nil
	}
	_, s := h.login(t)
	client := s.HTTPClient()
	resp, err := client.Get(ts.URL + "/api")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	seen := lines()
	require.NotEmpty(t, seen)
	for _, line := range seen {
		require.Equal(t, "CONNECT "+strings.TrimPrefix(ts.URL, "https://")+" ", line)
	}

	h.cfg.Transport = through(x509.NewCertPool())
	_, err = newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorContains(t, err, "certificate")
}
