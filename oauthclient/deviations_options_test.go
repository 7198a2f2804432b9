package oauthclient_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A secret goes form-encoded in HTTP Basic, unless the program says that the
// provider wants it otherwise. Every request of the client does the same.
func TestSecretGoesAsTheProgramSays(t *testing.T) {
	t.Parallel()
	const secret = "s+c/r:t =%"
	type sent struct{ user, password, body string }
	for name, tc := range map[string]struct {
		auth oauthclient.ClientAuth
		raw  bool
		want sent
	}{
		"by default": {
			oauthclient.ClientSecret(secret), false, sent{"cli", "s%2Bc%2Fr%3At+%3D%25", ""},
		},
		"raw":         {oauthclient.ClientSecret(secret), true, sent{"cli", secret, ""}},
		"in the body": {oauthclient.ClientSecretPost(secret), false, sent{"", "", secret}},
		"raw changes nothing in the body": {
			oauthclient.ClientSecretPost(secret), true, sent{"", "", secret},
		},
		"raw changes nothing without a secret": {oauthclient.ClientAuth{}, true, sent{}},
		"an empty secret is none":              {oauthclient.ClientSecretPost(""), false, sent{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			h.cfg.ClientAuth, h.cfg.Deviations.RawBasicAuth = tc.auth, tc.raw
			h.cfg.Endpoints = &oauthclient.Endpoints{
				Issuer: h.Issuer(), Token: h.Issuer() + "/token", Authorization: h.Issuer() + "/authorize",
				Revocation: h.Issuer() + "/revoke", S256: true,
			}
			h.cfg.Scopes = []string{"offline_access"}
			var got []sent
			hear := func(r heardRequest, a *lyingReply) {
				user, password, _ := (&http.Request{Header: r.Header}).BasicAuth()
				got = append(got, sent{user, password, r.Form.Get("client_secret")})
				*a = lyingReply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}}
				a.Body = []byte(`{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":60}`)
			}
			h.lie(authserver.Token, hear)
			h.lie(authserver.Revocation, hear)
			c, s := h.login(t)
			require.NoError(t, s.Refresh(t.Context()))
			require.NoError(t, c.Logout(t.Context(), "", nil))
			require.GreaterOrEqual(t, len(got), 3)
			for _, g := range got {
				require.Equal(t, tc.want, g)
			}
		})
	}
}

// S79: an ID token without the nonce is rejected, at a login and at a refresh with
// another one. AllowMissingNonce accepts the token without, and nothing else.
func TestS79NonceMayBeMissingIfAllowed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		nonce any // nil: none
		allow bool
		good  bool
	}{
		"missing":                  {nil, false, false},
		"empty":                    {"", false, false},
		"missing, and allowed":     {nil, true, true},
		"another, though allowed":  {"x", true, false},
		"a number, though allowed": {1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			h.cfg.Deviations.AllowMissingNonce = tc.allow
			h.forge(t, func(c map[string]any) {
				if c["nonce"] = tc.nonce; tc.nonce == nil {
					delete(c, "nonce")
				}
			}, nil)
			c := newClient(t, h.cfg)
			s, err := c.Login(t.Context(), nil)
			if !tc.good {
				h.requireRejected(t, c, err)
				return
			}
			require.NoError(t, err)
			require.NoError(t, s.Refresh(t.Context()))
			require.NoError(t, s.Claims(&struct{}{}))
		})
	}
	t.Run("allowed, and everything else is wrong", func(t *testing.T) {
		t.Parallel()
		for claim, value := range map[string]any{
			"iss": "https://evil.example", "aud": "another", "exp": 1, "at_hash": "x", "azp": "another",
		} {
			h := newHostile(t, authserver.Config{})
			h.cfg.Deviations.AllowMissingNonce = true
			h.forge(t, func(c map[string]any) {
				delete(c, "nonce")
				c[claim] = value
			}, nil)
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), nil)
			h.requireRejected(t, c, err)
		}
	})
}

// S71: other audiences are rejected, unless the program's function accepts them. It
// is asked about the unknown ones only, and never instead of the client itself.
func TestS71AudiencesByAFunction(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		aud   any
		good  bool
		asked [][]string
	}{
		"the client alone":   {"cli", true, nil},
		"a trusted one":      {[]string{"cli", "known"}, true, nil},
		"projects":           {[]string{"known", "p1", "cli", "p2"}, true, [][]string{{"p1", "p2"}}},
		"one too many":       {[]string{"cli", "p1", "evil"}, false, [][]string{{"p1", "evil"}}},
		"without the client": {[]string{"p1"}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			h.cfg.TrustedAudiences = []string{"known"}
			var asked [][]string
			h.cfg.Deviations.AcceptAudiences = func(others []string) bool {
				asked = append(asked, slices.Clone(others))
				return !slices.Contains(others, "evil")
			}
			h.forge(t, func(c map[string]any) { c["aud"], c["azp"] = tc.aud, "cli" }, nil)
			c := newClient(t, h.cfg)
			s, err := c.Login(t.Context(), nil)
			require.Equal(t, tc.asked, asked)
			if !tc.good {
				h.requireRejected(t, c, err)
				return
			}
			require.NoError(t, err)
			require.NoError(t, s.Refresh(t.Context()))

			h.cfg.Deviations.AcceptAudiences, h.cfg.Store = nil, &tokenstore.Memory{}
			c = newClient(t, h.cfg)
			_, err = c.Login(t.Context(), nil)
			if tc.asked == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.ErrorContains(t, err, "aud")
		})
	}
}

// S38: metadata that are published apart from their issuer are found only with
// MetadataURL. It is the only place then, and the issuer in them stays exact.
func TestS38MetadataApartFromTheIssuer(t *testing.T) {
	t.Parallel()
	const place = "/tenant.example/policy/openid-configuration"
	h := newHostile(t, authserver.Config{})
	var mu sync.Mutex
	var asked []string
	stated := "" // the issuer that the document states; "": the true one
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	h.cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		known := strings.Contains(r.URL.Path, "/.well-known/")
		if known || r.URL.Path == place {
			asked = append(asked, r.URL.RequestURI())
		}
		rec := httptest.NewRecorder()
		switch {
		case known:
			rec.WriteHeader(http.StatusNotFound)
			return rec.Result(), nil
		case r.URL.Path != place:
			return base.RoundTrip(r)
		}
		moved := r.Clone(r.Context())
		moved.URL.Path, moved.URL.RawQuery = "/.well-known/openid-configuration", ""
		resp, err := base.RoundTrip(moved)
		if err != nil || stated == "" {
			return resp, err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		rec.Header().Set("Content-Type", "application/json")
		_, _ = rec.WriteString(strings.ReplaceAll(string(body), `"issuer":"`+h.Issuer()+`"`, `"issuer":"`+stated+`"`))
		return rec.Result(), nil
	})
	_, err := newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorContains(t, err, "no metadata found")

	asked = nil
	h.cfg.Deviations.MetadataURL = h.Issuer() + place + "?p=policy"
	_, s := h.login(t)
	require.NoError(t, s.Refresh(t.Context()))
	require.Equal(t, []string{place + "?p=policy"}, asked)

	for _, other := range []string{"https://evil.example", h.Issuer() + "/"} {
		stated, h.cfg.Store = other, &tokenstore.Memory{}
		c := newClient(t, h.cfg)
		_, err = c.Login(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.ErrorContains(t, err, "issuer")
		h.requireNothingStored(t, c)
	}

	asked = nil // nothing else is asked if the place is empty
	h.cfg.Deviations.MetadataURL = h.Issuer() + "/.well-known/elsewhere"
	_, err = newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorContains(t, err, "no metadata found")
	require.Equal(t, []string{"/.well-known/elsewhere"}, asked)

	for _, change := range []func(*oauthclient.Config){
		func(c *oauthclient.Config) { c.Deviations.MetadataURL = "http://op.example/x" },
		func(c *oauthclient.Config) { c.Issuer, c.Resources = "", []string{"https://api.example"} },
		func(c *oauthclient.Config) {
			c.Endpoints = &oauthclient.Endpoints{Issuer: c.Issuer, Token: c.Issuer + "/token"}
		},
	} {
		cfg := h.cfg
		change(&cfg)
		_, err := oauthclient.New(cfg)
		require.ErrorContains(t, err, "MetadataURL")
	}
}

// S43: the host of MetadataURL is the program's choice, and those that the document
// names are checked.
func TestS43MetadataURLLiftsNoGuard(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent []string
	cfg := oauthclient.Config{
		Issuer: "https://10.0.0.9/issuer", ClientID: "cli", Store: &tokenstore.Memory{},
		Deviations: oauthclient.Deviations{MetadataURL: "https://93.184.216.34/document"},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, r.URL.Host)
			rec := httptest.NewRecorder()
			rec.Header().Set("Content-Type", "application/json")
			_, _ = rec.WriteString(`{"issuer":"https://10.0.0.9/issuer","token_endpoint":"https://10.0.0.9/t",` +
				`"device_authorization_endpoint":"https://10.0.0.9/d"}`)
			return rec.Result(), nil
		}),
	}
	cfg.UI.Instruct = func(context.Context, oauthclient.Instructions) (string, error) { return "", nil }
	_, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	require.ErrorContains(t, err, "private address")
	require.Equal(t, []string{"93.184.216.34"}, sent)
}

// Candidate ports are all registered, and a login uses the first that is free.
func TestSeveralPortsSignIn(t *testing.T) {
	t.Parallel()
	occupied, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer occupied.Close()
	first, second := uint16(occupied.Addr().(*net.TCPAddr).Port), realparts.FreePort(t)
	h := newHostile(t, authserver.Config{OpenRegistration: true})
	h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
	h.cfg.Loopback.Addr = "127.0.0.1:0"
	h.cfg.Loopback.Ports = []uint16{first, second}
	var registered any
	h.lie(authserver.Registration, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) { registered = m["redirect_uris"] })
	})
	h.login(t)
	uri := func(port uint16) string { return fmt.Sprintf("http://127.0.0.1:%d/callback", port) }
	require.Equal(t, []any{uri(first), uri(second)}, registered)
	require.Equal(t, uri(second), h.got(authserver.Token)[0].Form.Get("redirect_uri"))

	h.cfg.Loopback.Ports, h.cfg.Store = []uint16{first}, &tokenstore.Memory{}
	opened := counted(&h.cfg)
	_, err = newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorIs(t, err, loopback.ErrPortTaken)
	require.Zero(t, opened.Load())
}

// Some providers give a refresh token only with consent. A login that got none has the
// account's next one ask for it, unless the program says otherwise, and then no more.
func TestNoRefreshTokenAsksForConsent(t *testing.T) {
	t.Parallel()
	provider := func(t *testing.T) (h *hostile, prompts func() []string) {
		h = newHostile(t, authserver.Config{})
		prompts = func() (all []string) {
			for _, r := range h.got(authserver.PAR) {
				all = append(all, r.Form.Get("prompt"))
			}
			return all
		}
		h.lie(authserver.Token, func(r heardRequest, a *lyingReply) {
			asked := h.got(authserver.PAR)
			if asked[len(asked)-1].Form.Get("prompt") != "consent" {
				a.JSON(func(m map[string]any) { delete(m, "refresh_token") })
			}
		})
		return h, prompts
	}
	t.Run("by itself", func(t *testing.T) {
		t.Parallel()
		h, prompts := provider(t)
		_, s := h.login(t)
		require.False(t, s.Account().Refreshable)
		_, s = h.login(t) // as another process, after the token has expired
		require.True(t, s.Account().Refreshable)
		h.login(t)
		require.Equal(t, []string{"", "consent", ""}, prompts())
	})
	t.Run("the program says otherwise", func(t *testing.T) {
		t.Parallel()
		h, prompts := provider(t)
		c, _ := h.login(t)
		_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Prompt: "login"})
		require.NoError(t, err)
		h.cfg.AuthParams = url.Values{"prompt": {"login"}}
		h.login(t)
		require.Equal(t, []string{"", "login", "login"}, prompts())
	})
	t.Run("none was asked for", func(t *testing.T) {
		t.Parallel()
		h, prompts := provider(t)
		h.cfg.Scopes = []string{"openid"}
		h.login(t)
		h.login(t)
		require.Equal(t, []string{"", ""}, prompts())
	})
}
