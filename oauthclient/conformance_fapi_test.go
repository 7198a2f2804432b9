package oauthclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// The client tests of the FAPI 2.0 Security Profile (DPoP, private_key_jwt) and, by analogy with those of CIBA, of the device flow.

const fapi = "fapi2-security-profile-final-client-test-"

// newFAPI is a provider that demands PAR, DPoP and private_key_jwt, with nonces unless told otherwise.
func newFAPI(t *testing.T, nonces bool) *hostile {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public := jose.JSONWebKey{Key: key.Public(), KeyID: "client", Algorithm: "ES256", Use: "sig"}
	h := newHostile(t, authserver.Config{
		RequirePAR: true, RequireDPoP: true, DPoPNonce: nonces, ResourceNonce: nonces, SigningAlg: "PS256",
		Clients: []authserver.Client{{
			ID: "fapi", Auth: authserver.AuthPrivateKeyJWT, Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}},
			RedirectURIs: []string{"http://127.0.0.1/callback"},
		}},
	})
	h.cfg.ClientID, h.cfg.ClientAuth = "fapi", oauthclient.PrivateKeyJWT(key, "client")
	h.cfg.DPoP, h.cfg.RequirePAR = true, true
	return h
}

// S29, S35, S70, S71, S72, S78, S79, S85, S86, S87.
func TestConformanceFAPI(t *testing.T) {
	t.Parallel()
	run := func(name string, f func(t *testing.T)) {
		t.Run(fapi+name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
	login := func(t *testing.T, h *hostile) *oauthclient.Session {
		t.Helper()
		c := newClient(t, h.cfg)
		s, err := c.Login(t.Context(), nil)
		require.NoError(t, err)
		return s
	}
	for name, nonces := range map[string]bool{"happy-path": true, "happy-path-no-dpop-nonce": false} {
		run(name, func(t *testing.T) {
			h := newFAPI(t, nonces)
			s := login(t, h)
			var v map[string]any
			require.NoError(t, s.UserInfo(t.Context(), &v))
			require.Equal(t, "alice", v["sub"])
			par := h.got("par")
			require.Equal(t, "S256", par[0].Form.Get("code_challenge_method"))
			require.NotEmpty(t, par[0].Form.Get("client_assertion"))
			require.Len(t, par[0].Form.Get("dpop_jkt"), 43, "the code is bound to the key too (S87)")
			require.Len(t, h.got("authorize")[0].URL.Query(), 2, "client_id and request_uri alone")
			if nonces {
				require.Len(t, par, 2, "one retry for the first nonce")
				require.NotEqual(t, par[0].Form.Get("client_assertion"), par[1].Form.Get("client_assertion"), "an assertion is used once")
			} else {
				require.Len(t, par, 1)
			}
			require.Len(t, h.got("token"), 1)
			require.True(t, strings.HasPrefix(h.got("userinfo")[0].Header.Get("Authorization"), "DPoP "))
		})
	}
	run("discovery-issuer-mismatch", func(t *testing.T) {
		h := newFAPI(t, true)
		h.lie("metadata", func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) { m["issuer"] = h.cfg.Issuer + "/other" })
		})
		c := newClient(t, h.cfg)
		_, err := c.Login(t.Context(), nil)
		h.requireRejected(t, c, err)
		require.Empty(t, h.got("par"))
	})
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	drop := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	alternate := josetest.New(t, "RS256", "")
	for name, tc := range map[string]struct {
		change func(map[string]any)
		sign   func(map[string]any) string
	}{
		"invalid-iss":           {change: set("iss", "https://other.example.com")},
		"invalid-aud":           {change: set("aud", "other")},
		"invalid-missing-iss":   {change: drop("iss")},
		"invalid-missing-aud":   {change: drop("aud")},
		"invalid-secondary-aud": {change: set("aud", []string{"fapi", "other"})},
		"invalid-expired-exp":   {change: set("exp", time.Now().Add(-5*time.Minute).Unix())},
		"invalid-missing-exp":   {change: drop("exp")},
		"invalid-nonce":         {change: set("nonce", "other")},
		"invalid-null-alg":      {sign: func(c map[string]any) string { return unsecured(`{"alg":"none"}`, c) }},
		"invalid-alternate-alg": {sign: signedBy(alternate)},
	} {
		run(name, func(t *testing.T) {
			h := newFAPI(t, false)
			h.forge(t, tc.change, tc.sign)
			if name == "invalid-alternate-alg" { // its key is published, but its algorithm is not advertised
				h.lie("jwks", func(_ heardRequest, a *lyingReply) {
					a.JSON(func(m map[string]any) { m["keys"] = append(m["keys"].([]any), alternate.JWK()) })
				})
			}
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), nil)
			h.requireRejected(t, c, err)
		})
	}
	run("valid-aud-as-array", func(t *testing.T) {
		h := newFAPI(t, false)
		h.forge(t, set("aud", []string{"fapi"}), nil)
		login(t, h)
	})
	for name, change := range map[string]func(url.Values){
		"invalid-authorization-response-iss": func(q url.Values) { q.Set("iss", "https://other.example.com") },
		"remove-authorization-response-iss":  func(q url.Values) { q.Del("iss") },
	} {
		run(name, func(t *testing.T) {
			h := newFAPI(t, false)
			h.lie("authorize", func(_ heardRequest, a *lyingReply) { a.Location(change) })
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), nil)
			h.requireRejected(t, c, err)
			require.Empty(t, h.got("token"))
		})
	}
	for name, change := range map[string]func(url.Values){
		"ensure-authorization-response-with-invalid-state-fails":         func(q url.Values) { q.Set("state", "other") },
		"ensure-authorization-response-with-invalid-missing-state-fails": func(q url.Values) { q.Del("state") },
	} {
		run(name, func(t *testing.T) { // such an answer is somebody else's: it is refused, and the wait goes on (S14)
			h := newFAPI(t, false)
			h.lie("authorize", func(_ heardRequest, a *lyingReply) { a.Location(change) })
			status := make(chan int, 1)
			h.cfg.UI.OpenURL = func(_ context.Context, u string) error {
				go func() {
					if resp, err := http.Get(u); err == nil {
						resp.Body.Close()
						status <- resp.StatusCode
					}
				}()
				return nil
			}
			c := newClient(t, h.cfg)
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() {
				_, err := c.Login(ctx, nil)
				over <- err
			}()
			require.Equal(t, http.StatusBadRequest, <-status)
			cancel()
			require.ErrorIs(t, <-over, context.Canceled)
			http.DefaultClient.CloseIdleConnections()
			require.Empty(t, h.got("token"))
			require.Empty(t, h.got("userinfo"))
		})
	}
	run("token-endpoint-response-without-expires_in", func(t *testing.T) {
		h := newFAPI(t, false)
		h.lie("token", func(_ heardRequest, a *lyingReply) { a.JSON(func(m map[string]any) { delete(m, "expires_in") }) })
		s := login(t, h)
		tok, err := s.Token(t.Context())
		require.NoError(t, err)
		require.False(t, tok.Expiry.IsZero())
	})
	run("token-type-case-insensitivity", func(t *testing.T) {
		h := newFAPI(t, false)
		h.lie("token", func(_ heardRequest, a *lyingReply) { a.JSON(func(m map[string]any) { m["token_type"] = "dPoP" }) })
		s := login(t, h)
		require.NoError(t, s.UserInfo(t.Context(), new(map[string]any)))
	})
	run("rs-dpop-auth-scheme-case-insensitivity", func(t *testing.T) {
		h := newFAPI(t, true)
		s := login(t, h)
		first := true
		a := newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if first {
				first = false
				w.Header().Set("WWW-Authenticate", `dpop ERROR="use_dpop_nonce"`)
				w.Header().Set("DPoP-Nonce", "n-1")
				w.WriteHeader(http.StatusUnauthorized)
			}
		}))
		client := s.HTTPClient()
		defer client.CloseIdleConnections()
		resp, err := client.Get(a.URL)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	})
	run("refresh-token-test", func(t *testing.T) {
		h := newFAPI(t, true)
		s := login(t, h)
		a := newAPI(t, h.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
		client := s.HTTPClient()
		defer client.CloseIdleConnections()
		for range 2 {
			h.Expire()
			resp, err := client.Get(a.URL)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			require.Equal(t, http.StatusOK, resp.StatusCode)
		}
		require.Equal(t, 2, h.Stats().Refreshes)
	})
}

// S88, S89, end to end. The waits of respects-interval (31 s) and slow-down are tests of internal/oauth, on a clock of their own.
func TestConformanceDevice(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, instruct func(h *hostile, do oauthclient.Instructions)) (*hostile, *oauthclient.Client) {
		h := newHostile(t, authserver.Config{DeviceInterval: time.Second})
		h.SetAutoUser("")
		h.cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
			instruct(h, do)
			return "", nil
		}
		return h, newClient(t, h.cfg)
	}
	device := &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice}
	t.Run("access-denied", func(t *testing.T) {
		t.Parallel()
		h, c := start(t, func(h *hostile, _ oauthclient.Instructions) {
			h.lie("token", func(_ heardRequest, a *lyingReply) {
				a.Status, a.Body = http.StatusBadRequest, []byte(`{"error":"access_denied"}`)
			})
		})
		_, err := c.Login(t.Context(), device)
		require.ErrorIs(t, err, oauthclient.ErrAccessDenied)
		n := len(h.got("token"))
		time.Sleep(1500 * time.Millisecond)
		require.Len(t, h.got("token"), n, "polling has stopped")
	})
	t.Run("expired-token", func(t *testing.T) {
		t.Parallel()
		h, c := start(t, func(h *hostile, _ oauthclient.Instructions) {
			h.lie("token", func(_ heardRequest, a *lyingReply) {
				a.Status, a.Body = http.StatusBadRequest, []byte(`{"error":"expired_token"}`)
			})
		})
		_, err := c.Login(t.Context(), device)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		n := len(h.got("token"))
		time.Sleep(1500 * time.Millisecond)
		require.Len(t, h.got("token"), n, "polling has stopped")
	})
	t.Run("S89 javascript", func(t *testing.T) {
		t.Parallel()
		shown := false
		h, c := start(t, func(*hostile, oauthclient.Instructions) { shown = true })
		h.lie("device", func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) { m["verification_uri"] = "javascript:alert(1)" })
		})
		_, err := c.Login(t.Context(), device)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.False(t, shown)
		require.Empty(t, h.got("token"))
	})
}
