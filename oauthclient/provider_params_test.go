package oauthclient_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// Rich authorization requests (RFC 9396), ui_locales and id_token_hint go along as they are, in the URL and in a pushed request; LoginOptions' are over Config's.
func TestAuthParamsGoAlong(t *testing.T) {
	t.Parallel()
	const details = `[{"type":"payment_initiation","instructedAmount":{"currency":"EUR","amount":"123.50"},"creditorName":"A & B + C"}]`
	for _, pushed := range []bool{false, true} {
		var mu sync.Mutex
		var seen []url.Values
		server := oauthtest.NewServer(t, &oauthtest.Options{RequirePAR: pushed, Misbehave: func(endpoint string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if endpoint == "authorize" && !pushed || endpoint == "par" {
					copied := r.Clone(r.Context())
					body, again := twice(t, r)
					copied.Body, r.Body = body, again
					_ = copied.ParseForm()
					mu.Lock()
					seen = append(seen, copied.Form)
					mu.Unlock()
				}
				next.ServeHTTP(w, r)
			})
		}})
		cfg := server.Config()
		if !pushed {
			says(t, &cfg, map[string]any{"pushed_authorization_request_endpoint": nil})
		}
		cfg.AuthParams = url.Values{"authorization_details": {details}, "ui_locales": {"fr"}}
		c := newClient(t, cfg)
		s, err := c.Login(t.Context(), nil)
		require.NoError(t, err)
		hint, _, err := s.IDToken(t.Context())
		require.NoError(t, err)
		_, err = c.Login(t.Context(), &oauthclient.LoginOptions{AuthParams: url.Values{"ui_locales": {"de en"}, "id_token_hint": {hint}}})
		require.NoError(t, err)
		require.Len(t, seen, 2)
		require.Equal(t, []string{"fr"}, seen[0]["ui_locales"])
		require.Equal(t, []string{details}, seen[1]["authorization_details"])
		require.Equal(t, []string{"de en"}, seen[1]["ui_locales"])
		require.Equal(t, []string{hint}, seen[1]["id_token_hint"])
		require.Equal(t, []string{"S256"}, seen[1]["code_challenge_method"])
	}
}

// TokenParams go with every token request and with nothing else, and a change of the
// program's map after New is not seen.
func TestTokenParamsGoAlong(t *testing.T) {
	t.Parallel()
	for _, flow := range []oauthclient.Flow{oauthclient.FlowBrowser, oauthclient.FlowDevice} {
		h := newHostile(t, authserver.Config{DeviceInterval: time.Second})
		h.cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
			if do.VerificationURIComplete != "" {
				return "", h.cfg.UI.OpenURL(t.Context(), do.VerificationURIComplete)
			}
			return "", nil
		}
		h.cfg.TokenParams = url.Values{"audience": {"one"}}
		c := newClient(t, h.cfg)
		h.cfg.TokenParams["audience"][0] = "changed"
		s, err := c.Login(t.Context(), &oauthclient.LoginOptions{Flow: flow})
		require.NoError(t, err)
		require.NoError(t, s.Refresh(t.Context()))
		require.NoError(t, c.Logout(t.Context(), "", nil))
		require.NotEmpty(t, h.got(authserver.Revocation))
		for endpoint, requests := range h.everything() {
			for _, r := range requests {
				if endpoint == authserver.Token {
					require.Equal(t, []string{"one"}, r.Form["audience"])
				} else {
					require.Empty(t, r.Form["audience"], endpoint)
					require.Empty(t, r.URL.Query()["audience"], endpoint)
				}
			}
		}
	}
}

// What the flow sets cannot be overridden, neither where a client is made nor where it logs in; nobody is asked then.
func TestAuthParamsCannotOverride(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	for _, name := range []string{
		"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "response_mode", "request",
		"request_uri", "resource", "dpop_jkt", "code", "code_verifier", "client_secret", "grant_type", "client_assertion", "client_assertion_type",
		"refresh_token", "device_code",
	} {
		params := url.Values{name: {"x"}}
		cfg := server.Config()
		opened := counted(&cfg)
		c := newClient(t, cfg)
		_, err := c.Login(t.Context(), &oauthclient.LoginOptions{AuthParams: params})
		require.ErrorContains(t, err, name)
		require.Zero(t, opened.Load())
		cfg.AuthParams = params
		_, err = oauthclient.New(cfg)
		require.ErrorContains(t, err, name)
		cfg.AuthParams, cfg.TokenParams = nil, params
		_, err = oauthclient.New(cfg)
		require.ErrorContains(t, err, "TokenParams")
		require.ErrorContains(t, err, name)
	}
	require.Zero(t, server.Requests("authorize")+server.Requests("par"))
}

// S42: a resource that describes another resource is not signed in for, where it is to name the issuer.
func TestS42ResourceMismatch(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{OpenRegistration: true})
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-protected-resource/good":
			as.ResourceMetadata(authserver.Resource{URL: api.URL + "/good"}).ServeHTTP(w, r)
		case "/.well-known/oauth-protected-resource/evil":
			as.ResourceMetadata(authserver.Resource{URL: api.URL + "/good"}).ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(api.Close)
	cfg.Issuer, cfg.Scopes, cfg.AllowPrivate = "", nil, true
	for path, good := range map[string]bool{"/good": true, "/evil": false} {
		cfg := cfg
		cfg.Resources = []string{api.URL + path}
		opened := counted(&cfg)
		_, err := newClient(t, cfg).Login(t.Context(), nil)
		if good {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.Zero(t, opened.Load())
	}
}

// S45: what the program registers is a native client, and a client ID metadata document's URL is checked before anything else.
func TestS45Registration(t *testing.T) {
	t.Parallel()
	var body string
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if endpoint == "registration" {
				body, r.Body = text(t, r)
			}
			next.ServeHTTP(w, r)
		})
	}})
	cfg := server.Config()
	cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "Example"}
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.JSONEq(t, `"native"`, member(t, body, "application_type"))
	require.JSONEq(t, `"none"`, member(t, body, "token_endpoint_auth_method"))
	require.JSONEq(t, `"Example"`, member(t, body, "client_name"))

	cfg.Registration.Extra = map[string]any{"application_type": "web", "redirect_uris": []string{"https://evil.example/"}, "contacts": []string{"a@example.com"}}
	_, err = newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	require.NoError(t, err, "what registers may also sign in without a browser")
	require.JSONEq(t, `"native"`, member(t, body, "application_type"))
	require.NotContains(t, body, "evil.example")
	require.JSONEq(t, `["a@example.com"]`, member(t, body, "contacts"), "registered anew")
	for _, id := range []string{"https://app.example.com", "https://app.example.com/", "https://app.example.com/a/../b", "https://u:p@app.example.com/c", "https://app.example.com/c#f"} {
		cfg := server.Config()
		cfg.ClientID = id
		_, err := oauthclient.New(cfg)
		require.ErrorContains(t, err, "ClientID", id)
	}
}
