package oauthclient_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
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
