package oauthclient_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
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
