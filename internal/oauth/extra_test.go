package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// What a program may see of a token response: every member but the secrets, at any
// depth, and nothing of one that is too large.
func TestPublicExtra(t *testing.T) {
	const tokens = `"access_token":"acc-1","refresh_token":"ref-1","id_token":"idt-1","token_type":"Bearer","expires_in":60`
	for members, want := range map[string]string{
		``: "",
		`,"instance_url":"https://x.example","n":5`:                                                                           `{"instance_url":"https://x.example","n":5}`,
		`,"team":{"id":"T1","bot_token":"x"},"list":[{"accessToken":"x","a":1},"y",null]`:                                     `{"list":[{"a":1},"y"],"team":{"id":"T1"}}`,
		`,"device_secret":"x","Client_Secret":"x","client_assertion":"x","SAMLAssertionID":"x","token":"x","x_TOKEN":{"a":1}`: "",
		`,"jwt":"idt-1","header":"Bearer acc-1","deep":{"ref-1":1,"r":["ref-1"]}`:                                             `{"deep":{"r":[]}}`,
		`,"token_endpoint":"kept","refresh_token_expires_in":9`:                                                               `{"refresh_token_expires_in":9,"token_endpoint":"kept"}`,
		`,"big":"` + strings.Repeat("x", oauth.MaxExtra) + `"`:                                                                "",
	} {
		c := fetchtest.JSON(200, "{"+tokens+members+"}")
		r, err := oauth.RequestToken(t.Context(), c, oauth.Request{
			Endpoint: "https://op.example/t", ClientID: "x", Form: url.Values{},
		})
		require.NoError(t, err)
		require.Equal(t, want, string(r.PublicExtra()))
	}
}

// What is said about the refresh token's life is shown only, so a value that makes no
// sense is no reason to refuse the tokens.
func TestRefreshLifetime(t *testing.T) {
	for members, want := range map[string]float64{
		``: 0, `,"refresh_token_expires_in":15897600`: 15897600, `,"refresh_token_expires_in":"60"`: 60,
		`,"refresh_expires_in":1800`: 1800, `,"refresh_expires_in":0`: 0,
		`,"refresh_token_expires_in":-5`: 0, `,"refresh_token_expires_in":{"a":1}`: 0,
		`,"refresh_token_expires_in":1e300`: (10 * 365 * 24 * 3600),
	} {
		c := fetchtest.JSON(200, `{"access_token":"a","token_type":"Bearer"`+members+`}`)
		r, err := oauth.RequestToken(t.Context(), c, oauth.Request{
			Endpoint: "https://op.example/t", ClientID: "x", Form: url.Values{},
		})
		require.NoError(t, err, members)
		require.Equal(t, want, r.RefreshExpiresIn.Seconds(), members)
	}
}
