package oauthclient_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// A 401 that may mean the token is answered with one refresh, whatever the API says
// or leaves out. One that demands something else comes back.
func TestVague401RefreshesOnce(t *testing.T) {
	t.Parallel()
	for challenge, refreshes := range map[string]bool{
		"":                                    true, // GitHub, Spotify
		"Token":                               true, // Salesforce
		"Bearer":                              true,
		`Bearer realm="x"`:                    true,
		`Bearer error="expired_token"`:        true,
		`Bearer error="request_unauthorized"`: true, // Hydra
		`DPoP algs="ES256"`:                   true,
		`Basic realm="x"`:                     false,
		`Negotiate`:                           false,
		`Bearer error="insufficient_scope"`:   false,
		`Bearer error="insufficient_claims"`:  false,
		`Bearer error="insufficient_user_authentication"`: false,
		`DPoP error="use_dpop_nonce"`:                     false,
		`Bearer realm="x", DPoP error="use_dpop_nonce"`:   false,
		`DPoP error="invalid_dpop_proof"`:                 false,
		`Bearer realm="x`:                                 false, // nothing that is broken counts
	} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			server := oauthtest.NewServer(t, nil)
			_, session := signIn(t, server, nil)
			first, err := session.Token(t.Context())
			require.NoError(t, err)
			var always atomic.Bool
			a := newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !always.Load() && r.Header.Get("Authorization") != "Bearer "+first.AccessToken {
					return
				}
				if challenge != "" {
					w.Header().Set("WWW-Authenticate", challenge)
				}
				w.WriteHeader(http.StatusUnauthorized)
			}))
			client := session.HTTPClient()
			defer client.CloseIdleConnections()
			get := func() int {
				resp, err := client.Get(a.URL)
				require.NoError(t, err)
				resp.Body.Close()
				return resp.StatusCode
			}
			before := server.Requests("token")
			if !refreshes {
				require.Equal(t, 401, get())
				require.Equal(t, before, server.Requests("token"))
				return
			}
			require.Equal(t, 200, get())
			require.Equal(t, before+1, server.Requests("token"))

			// An API that refuses every token gets one refresh for this one, and no
			// more, also from many requests at once.
			always.Store(true)
			require.Equal(t, 401, get())
			require.Equal(t, before+2, server.Requests("token"))
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					resp, err := client.Get(a.URL)
					if err == nil {
						resp.Body.Close()
					}
				})
			}
			all.Wait()
			require.Equal(t, before+2, server.Requests("token"))
		})
	}
}

// What a registration answers about the authentication is done, at the login and at
// every refresh. A secret that nobody wants is not sent.
func TestRegistrationMethodIsUsed(t *testing.T) {
	t.Parallel()
	t.Run("only none is offered", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t, authserver.Config{OpenRegistration: true})
		h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
		h.lie(authserver.Metadata, func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"none"} })
		})
		h.lie(authserver.Registration, func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) {
				m["client_secret"] = "useless"
				delete(m, "token_endpoint_auth_method")
				m["redirect_uris"] = m["redirect_uris"].([]any)[:1]
			})
		})
		_, s := h.login(t)
		require.NoError(t, s.Refresh(t.Context()))
		for _, r := range h.got(authserver.Token) {
			require.Empty(t, r.Header.Get("Authorization"))
			require.Empty(t, r.Form.Get("client_secret"))
		}
	})
	t.Run("client_secret_post", func(t *testing.T) {
		t.Parallel()
		var mu sync.Mutex
		var secrets []string
		server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if endpoint == "registration" {
					rec := httptest.NewRecorder()
					next.ServeHTTP(rec, r)
					body := strings.Replace(rec.Body.String(), `"none"`, `"client_secret_post","client_secret":"s3cret"`, 1)
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(rec.Code)
					_, _ = io.WriteString(w, body)
					return
				}
				body, _ := io.ReadAll(r.Body)
				if endpoint == "token" {
					mu.Lock()
					secrets = append(secrets, r.Header.Get("Authorization"))
					if strings.Contains(string(body), "client_secret=s3cret") {
						secrets[len(secrets)-1] += "post"
					}
					mu.Unlock()
				}
				// The server behind knows a public client.
				public := strings.Replace(string(body), "client_secret=s3cret&", "", 1)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(public)), int64(len(public))
				next.ServeHTTP(w, r)
			})
		}})
		cfg := server.Config()
		cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "test"}
		_, err := newClient(t, cfg).Login(t.Context(), nil)
		require.NoError(t, err)
		s, err := newClient(t, cfg).Session(t.Context(), "") // another process
		require.NoError(t, err)
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, []string{"post", "post"}, secrets)
	})
}

// A resource and an authorization server that are spelled with a slash after the
// origin on one side only: what each publishes is what it is sent.
func TestSlashAfterTheOriginSignsIn(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"", "/"} {
		h := newHostile(t, authserver.Config{OpenRegistration: true})
		published := map[string]string{"": "/", "/": ""}[program]
		var api *httptest.Server
		api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"resource":"`+api.URL+published+`","authorization_servers":["`+h.Issuer()+`/"]}`)
		}))
		t.Cleanup(api.Close)
		h.cfg.Issuer, h.cfg.Scopes, h.cfg.AllowPrivate = "", nil, true
		h.cfg.Resources = []string{api.URL + program}
		c, s := h.login(t)
		sent := h.got(authserver.Token)
		require.Equal(t, api.URL+published, sent[0].Form.Get("resource"))
		require.NoError(t, s.For(api.URL+program).Refresh(t.Context()))
		sent = h.got(authserver.Token)
		require.Equal(t, api.URL+published, sent[len(sent)-1].Form.Get("resource"))
		_, err := c.Session(t.Context(), "")
		require.NoError(t, err)
	}
}
