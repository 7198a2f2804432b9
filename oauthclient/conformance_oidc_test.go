package oauthclient_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// The relying-party tests of the OpenID Foundation's suite (oidcc-client-*-test-plan), under their own names, end to end: a real
// listener, a browser, sockets. What must be rejected leaves a typed error, nothing stored, and no userinfo call.

const oidcc = "oidcc-client-test"

// person has a claim of every standard scope.
var person = map[string]map[string]any{"alice": {
	"sub": "alice", "name": "Alice Example", "email": "alice@example.com", "phone_number": "+49 30 901820",
	"address":      map[string]any{"country": "DE"},
	"_claim_names": map[string]any{"credit_score": "src1", "payment": "src2"},
	"_claim_sources": map[string]any{
		"src1": map[string]any{"endpoint": "http://127.0.0.1:1/distributed", "access_token": "not-ours"},
		"src2": map[string]any{"JWT": "an.aggregated.claim"},
	},
}}

func signedBy(k *josetest.Key) func(map[string]any) string {
	return func(c map[string]any) string { return k.Sign(c) }
}

func spoil(token string) string {
	head, sig := token[:strings.LastIndex(token, ".")+1], token[strings.LastIndex(token, ".")+1:]
	b, _ := base64.RawURLEncoding.DecodeString(sig)
	b[len(b)/2] ^= 1
	return head + base64.RawURLEncoding.EncodeToString(b)
}

func unsecured(header string, c map[string]any) string {
	payload, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// S70, S71, S72, S78, S79, S80 end to end.
func TestConformanceOIDCReject(t *testing.T) {
	t.Parallel()
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	drop := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	for name, tc := range map[string]struct {
		alg    string // "": ES256
		change func(map[string]any)
		sign   func(k *josetest.Key) func(map[string]any) string
	}{
		"-invalid-iss":   {change: set("iss", "https://other.example.com")},
		"-invalid-aud":   {change: set("aud", "other")},
		"-missing-aud":   {change: drop("aud")},
		"-missing-sub":   {change: drop("sub")},
		"-missing-iat":   {change: drop("iat")},
		"-nonce-invalid": {change: set("nonce", "other")},
		"-idtoken-sig-none": {sign: func(*josetest.Key) func(map[string]any) string {
			return func(c map[string]any) string { return unsecured(`{"alg":"none"}`, c) }
		}},
		"-invalid-sig-rs256": {alg: "RS256", sign: func(k *josetest.Key) func(map[string]any) string {
			return func(c map[string]any) string { return spoil(k.Sign(c)) }
		}},
		"-invalid-sig-es256": {sign: func(k *josetest.Key) func(map[string]any) string {
			return func(c map[string]any) string { return spoil(k.Sign(c)) }
		}},
		"-invalid-sig-hs256": {sign: func(k *josetest.Key) func(map[string]any) string {
			return func(c map[string]any) string {
				return josetest.HMAC([]byte("secret"), []byte(`{"alg":"HS256"}`), josetest.JSON(c))
			}
		}},
		"-invalid-athash": {change: set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
	} {
		t.Run(oidcc+name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{SigningAlg: tc.alg})
			var sign func(map[string]any) string
			if tc.sign != nil {
				sign = tc.sign(h.key())
			}
			h.forge(t, tc.change, sign)
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), nil)
			h.requireRejected(t, c, err)
			require.Len(t, h.got("token"), 1)
		})
	}
}

// S26 (what is sent), S37 (scopes), S55 (the header), S83 (sub), S38 (issuer), S81 (rotation).
func TestConformanceOIDC(t *testing.T) {
	t.Parallel()
	login := func(t *testing.T, h *hostile) (*oauthclient.Client, *oauthclient.Session) {
		t.Helper()
		c := newClient(t, h.cfg)
		s, err := c.Login(t.Context(), nil)
		require.NoError(t, err)
		return c, s
	}
	userinfo := func(t *testing.T, s *oauthclient.Session) map[string]any {
		t.Helper()
		var v map[string]any
		require.NoError(t, s.UserInfo(t.Context(), &v))
		require.Equal(t, "alice", v["sub"])
		return v
	}
	run := func(name string, f func(t *testing.T)) {
		t.Run(oidcc+name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}

	run("", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		_, s := login(t, h)
		userinfo(t, s)
		require.Len(t, h.got("authorize"), 1)
		require.Len(t, h.got("token"), 1)
		require.Len(t, h.got("userinfo"), 1)
	})
	run("-client-secret-basic", func(t *testing.T) {
		h := newHostile(t, authserver.Config{Clients: []authserver.Client{
			{ID: "basic", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s+ %:ecret"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
		}})
		h.cfg.ClientID, h.cfg.ClientAuth = "basic", oauthclient.ClientSecret("s+ %:ecret")
		login(t, h)
		r := h.got("token")[0]
		require.True(t, strings.HasPrefix(r.Header.Get("Authorization"), "Basic "))
		require.Empty(t, r.Form["client_secret"])
	})
	run("-nonce-unless-code-flow", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		login(t, h)
		login(t, h)
		first, second := h.got("par")[0].Form.Get("nonce"), h.got("par")[1].Form.Get("nonce")
		require.GreaterOrEqual(t, len(first), 22)
		require.NotEqual(t, first, second)
	})
	run("-idtoken-sig-rs256", func(t *testing.T) {
		h := newHostile(t, authserver.Config{SigningAlg: "RS256"})
		login(t, h)
	})
	run("-kid-absent-single-jwks", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		k := h.key()
		h.forge(t, nil, func(c map[string]any) string { return k.SignWith(map[string]any{"kid": nil}, c) })
		login(t, h)
	})
	run("-kid-absent-multiple-jwks", func(t *testing.T) { // all suitable keys are tried
		h := newHostile(t, authserver.Config{})
		require.NoError(t, h.RotateKey(""))
		k := h.key()
		require.NoError(t, h.RotateKey(""))
		h.forge(t, nil, func(c map[string]any) string { return k.SignWith(map[string]any{"kid": nil}, c) })
		login(t, h)
	})
	run("-missing-athash", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		h.forge(t, func(c map[string]any) { delete(c, "at_hash") }, nil)
		login(t, h)
	})
	run("-userinfo-invalid-sub", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		_, s := login(t, h)
		h.lie("userinfo", func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) { m["sub"] = "mallory"; m["email"] = "m@example.com" })
		})
		v := map[string]any{}
		require.ErrorIs(t, s.UserInfo(t.Context(), &v), oauthclient.ErrInvalidResponse)
		require.Empty(t, v, "nothing of it is handed over")
	})
	run("-userinfo-bearer-header", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		_, s := login(t, h)
		userinfo(t, s)
		tok, err := s.Token(t.Context())
		require.NoError(t, err)
		r := h.got("userinfo")[0]
		require.Equal(t, http.MethodGet, r.Method)
		require.Equal(t, "Bearer "+tok.AccessToken, r.Header.Get("Authorization"))
		require.Empty(t, r.URL.RawQuery)
		require.Empty(t, r.Form)
	})
	run("-userinfo-signed", func(t *testing.T) {
		h := newHostile(t, authserver.Config{SigningAlg: "RS256"})
		_, s := login(t, h)
		k, wrong := h.key(), josetest.New(t, "RS256", h.key().ID)
		signed := func(by *josetest.Key) func(heardRequest, *lyingReply) {
			return func(_ heardRequest, a *lyingReply) {
				var m map[string]any
				require.NoError(t, json.Unmarshal(a.Body, &m))
				m["iss"], m["aud"] = h.cfg.Issuer, "cli"
				a.Header.Set("Content-Type", "application/jwt")
				a.Body = []byte(by.Sign(m))
			}
		}
		h.lie("userinfo", signed(k))
		userinfo(t, s)
		h.lie("userinfo", signed(wrong))
		require.ErrorIs(t, s.UserInfo(t.Context(), new(map[string]any)), oauthclient.ErrInvalidResponse)
	})
	run("-scope-userinfo-claims", func(t *testing.T) {
		h := newHostile(t, authserver.Config{Users: person})
		h.cfg.Scopes = []string{"openid", "profile", "email", "phone", "address"}
		_, s := login(t, h)
		require.Equal(t, "openid profile email phone address", h.got("par")[0].Form.Get("scope"))
		v := userinfo(t, s)
		for name, want := range person["alice"] {
			require.Equal(t, want, v[name], name)
		}
	})
	for _, kind := range []string{"-aggregated-claims", "-distributed-claims"} {
		run(kind, func(t *testing.T) { // handed over unharmed; the endpoint they name, where nobody listens, is not asked
			h := newHostile(t, authserver.Config{Users: person})
			_, s := login(t, h)
			v := userinfo(t, s)
			require.Equal(t, person["alice"]["_claim_sources"], v["_claim_sources"])
			var c map[string]any
			require.NoError(t, s.Claims(&c))
			require.Equal(t, person["alice"]["_claim_names"], c["_claim_names"])
		})
	}
	run("-discovery-openid-config", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		login(t, h)
		require.Len(t, h.got("metadata"), 1)
		require.Equal(t, "/.well-known/openid-configuration", h.got("metadata")[0].URL.Path)
	})
	run("-discovery-jwks-uri-keys", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		login(t, h)
		require.NotEmpty(t, h.got("jwks"))
	})
	run("-discovery-issuer-mismatch", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		h.lie("metadata", func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) { m["issuer"] = "https://other.example.com" })
		})
		opened := counted(&h.cfg)
		c := newClient(t, h.cfg)
		_, err := c.Login(t.Context(), nil)
		h.requireRejected(t, c, err)
		require.Zero(t, opened.Load())
		require.Empty(t, h.got("authorize"))
		require.Empty(t, h.got("par"))
	})
	for _, when := range []string{"-signing-key-rotation", "-signing-key-rotation-just-before-signing"} {
		run(when, func(t *testing.T) {
			h := newHostile(t, authserver.Config{})
			if when == "-signing-key-rotation" {
				c, _ := login(t, h)
				before := len(h.got("jwks"))
				require.NoError(t, h.RotateKey("ES256"))
				_, err := c.Login(t.Context(), nil)
				require.NoError(t, err)
				require.Len(t, h.got("jwks"), before+1)
			} else {
				open := h.cfg.UI.OpenURL
				prefetched := make(chan struct{})
				var once sync.Once
				h.lie("jwks", func(heardRequest, *lyingReply) { once.Do(func() { close(prefetched) }) })
				h.cfg.UI.OpenURL = func(ctx context.Context, u string) error {
					<-prefetched // the answer has the old key in it
					if err := h.RotateKey("ES256"); err != nil {
						return err
					}
					return open(ctx, u)
				}
				login(t, h)
				require.Len(t, h.got("jwks"), 2)
			}
		})
	}
	run("-dynamic-registration", func(t *testing.T) {
		h := newHostile(t, authserver.Config{OpenRegistration: true})
		h.cfg.ClientID, h.cfg.Registration = "", &oauthclient.Registration{ClientName: "conformance"}
		login(t, h)
		require.Len(t, h.got("registration"), 1)
		_, err := newClient(t, h.cfg).Login(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, h.got("registration"), 1, "it is kept")
	})
	run("-form-post-error", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		h.Deny()
		h.cfg.Loopback.FormPost = true
		user := authserver.NewUser(h.Issuer(), "")
		user.Client.Transport = &http.Transport{DisableKeepAlives: true}
		h.cfg.UI.OpenURL = func(ctx context.Context, u string) error {
			answer, err := user.Visit(ctx, u)
			if err != nil {
				return err
			}
			ctx = context.WithoutCancel(ctx)
			go func() { _ = answer.Deliver(ctx) }()
			return nil
		}
		c := newClient(t, h.cfg)
		_, err := c.Login(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrAccessDenied)
		require.Equal(t, "form_post", h.got("par")[0].Form.Get("response_mode"))
		require.Empty(t, h.got("token"))
	})
	run("-refresh-token", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		_, s := login(t, h)
		require.NoError(t, s.Refresh(t.Context()))
		userinfo(t, s)
		require.Equal(t, "refresh_token", h.got("token")[1].Form.Get("grant_type"))
	})
	for row, change := range map[string]func(map[string]any){
		"-refresh-token-invalid-issuer": func(c map[string]any) { c["iss"] = "https://other.example.com" },
		"-refresh-token-invalid-sub":    func(c map[string]any) { c["sub"] = "mallory" },
	} {
		run(row, func(t *testing.T) {
			h := newHostile(t, authserver.Config{})
			c, s := login(t, h)
			requireS82(t, h, c, s, change)
		})
	}
}

// requireS82: a refreshed ID token that is not about the session's user ends the
// session. Neither it nor the access token beside it is handed out, nothing more is
// sent, and the next SessionOrLogin prompts the user.
func requireS82(t *testing.T, h *hostile, c *oauthclient.Client, s *oauthclient.Session, change func(map[string]any)) {
	t.Helper()
	var issued string
	h.forge(t, change, nil)
	forge := h.lies["token"]
	h.lie("token", func(r heardRequest, a *lyingReply) {
		forge(r, a)
		a.JSON(func(m map[string]any) { issued, _ = m["access_token"].(string) })
	})
	err := s.Refresh(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.NotEmpty(t, issued)
	sent := len(h.got("token"))
	_, err = s.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.True(t, s.Account().LoginRequired)
	require.Len(t, h.got("token"), sent, "nothing is sent for a session that has ended")
	require.Empty(t, h.got("userinfo"))
	var claims map[string]any
	require.NoError(t, s.Claims(&claims))
	require.Equal(t, "alice", claims["sub"], "the old claims are kept")

	h.lie("token", nil)
	asked := len(h.got("authorize"))
	_, err = c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, h.got("authorize"), asked+1)
	_, err = s.Token(t.Context())
	require.NoError(t, err, "the same user has signed in again")
}

// requireOldIDToken: a refreshed ID token that fails a check which says nothing about
// the user is dropped. The session goes on with the new access token and the claims
// of before.
func requireOldIDToken(t *testing.T, h *hostile, s *oauthclient.Session, change func(map[string]any)) {
	t.Helper()
	var before, after map[string]any
	require.NoError(t, s.Claims(&before))
	first, err := s.Token(t.Context())
	require.NoError(t, err)
	h.forge(t, change, nil)
	require.NoError(t, s.Refresh(t.Context()))
	second, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.NoError(t, s.Claims(&after))
	require.Equal(t, before, after)

	h.lie("token", nil)
	require.NoError(t, s.Refresh(t.Context()))
	require.Zero(t, h.Stats().Reuses)
}
