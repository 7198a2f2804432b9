package oauthclient_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
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

// What Entra says in the device flow for a user that declined, and for a code that
// has expired.
func TestDeviceFlowWords(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{
		"authorization_declined": oauthclient.ErrAccessDenied, "code_expired": context.DeadlineExceeded,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{DeviceInterval: time.Second})
			h.cfg.UI.Instruct = func(context.Context, oauthclient.Instructions) (string, error) { return "", nil }
			h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
				a.Status, a.Body = http.StatusBadRequest, []byte(`{"error":"`+code+`"}`)
			})
			_, err := loginOnce(t, h, oauthclient.FlowDevice)
			require.ErrorIs(t, err, want)
			require.Len(t, h.got(authserver.Token), 1)
		})
	}
}

// A provider bends its metadata, its key set and its token responses at once: a
// login and a refresh work, and the log names what was ignored. With DPoP the same
// token response is refused.
func TestDeviationsAreLogged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log strings.Builder
	h := newHostile(t, authserver.Config{})
	h.cfg.Logger = slog.New(slog.NewTextHandler(&lockedWriter{mu: &mu, w: &log}, nil))
	h.lie(authserver.Metadata, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) {
			m["claims_parameter_supported"], m["registration_endpoint"] = "true", "http://192.0.2.1/register"
		})
		a.Header.Set("Content-Type", "text/plain")
	})
	h.lie(authserver.JWKS, func(_ heardRequest, a *lyingReply) { a.Header.Set("Content-Type", "application/octet-stream") })
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) {
			delete(m, "token_type")
			m["expires_in"], m["unknown"], m["not_sent"] = "3600", []any{nil}, nil
		})
		a.Body = append([]byte("\xef\xbb\xbf"), a.Body...)
		a.Header.Set("Content-Type", "application/octet-stream")
	})
	_, s := h.login(t)
	require.NoError(t, s.Refresh(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	for _, named := range []string{"claims_parameter_supported", "registration_endpoint is not an https URL", "token_type is missing", "the media type"} {
		require.Contains(t, log.String(), named)
	}
	h.cfg.DPoP, h.cfg.Logger, h.cfg.Store = true, nil, &tokenstore.Memory{}
	_, err := loginOnce(t, h, oauthclient.FlowAuto)
	require.ErrorContains(t, err, "token_type")
}

// S78: this machine's clock is minutes off, as the Date of the token response shows. A
// login works, and the log says so. A token that is ahead of its provider's own clock
// is refused, and so is every one if the clock is off by more than 10 minutes.
func TestS78ClockIsOff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		date, claims time.Duration // ahead of this machine
		error        string
	}{
		{90 * time.Second, 90 * time.Second, ""}, {9 * time.Minute, 9 * time.Minute, ""}, {-9 * time.Minute, -9 * time.Minute, ""},
		{0, 5 * time.Minute, "iat lies in the future"}, {20 * time.Minute, 20 * time.Minute, "behind the provider's; set it"},
	} {
		var log strings.Builder
		h := newHostile(t, authserver.Config{})
		h.cfg.Logger = slog.New(slog.NewTextHandler(&lockedWriter{mu: new(sync.Mutex), w: &log}, nil))
		signedIn := time.Now().Add(tc.claims).Unix() // for good: a refresh signs nobody in
		h.forge(t, func(c map[string]any) {
			now := time.Now().Add(tc.claims).Unix()
			c["iat"], c["exp"], c["auth_time"] = now, now+300, signedIn
		}, nil)
		forged := h.lies[authserver.Token]
		h.lie(authserver.Token, func(r heardRequest, a *lyingReply) {
			forged(r, a)
			a.Header.Set("Date", time.Now().Add(tc.date).UTC().Format(http.TimeFormat))
		})
		c := newClient(t, h.cfg)
		s, err := c.Login(t.Context(), nil)
		if tc.error != "" {
			require.ErrorContains(t, err, tc.error)
			h.requireRejected(t, c, err)
			continue
		}
		require.NoError(t, err, tc.date)
		before, _, err := s.IDToken(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Refresh(t.Context()))
		after, _, err := s.IDToken(t.Context())
		require.NoError(t, err, "a refreshed ID token is judged by the same clock")
		require.NotEqual(t, before, after)
		require.NoError(t, c.Close())
		require.Contains(t, log.String(), "this machine's clock is not the provider's")
	}
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
