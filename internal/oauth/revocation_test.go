package oauth_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

var revocationRequest = oauth.Request{Endpoint: "https://op.example/revoke", ClientID: "my-cli", Form: url.Values{"x": {"y"}}}

// S68: the request, and the meaning of each status.
func TestS68RevokeOnceAndReadTheStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   *oauth.Error // nil: revoked
	}{
		"revoked, or unknown to the server": {200, "", nil},
		"no content":                        {204, "", nil},
		"a body is not looked at":           {200, "<html>", nil},
		"busy":                              {503, "", &oauth.Error{Status: 503, RetryAfter: 30 * time.Second}},
		"unsupported": {400, `{"error":"unsupported_token_type","error_description":"not rt-canary"}`,
			&oauth.Error{Status: 400, Code: "unsupported_token_type", Description: "not [redacted]", RetryAfter: 30 * time.Second}},
		"redirect":  {307, "", &oauth.Error{Status: 307, RetryAfter: 30 * time.Second}},
		"not found": {404, "<html>rt-canary", &oauth.Error{Status: 404, RetryAfter: 30 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			posts := 0
			c := fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
				posts++
				require.Equal(t, "POST", r.Method)
				require.Empty(t, r.URL.RawQuery, "S55: the token is in the body only")
				require.NoError(t, r.ParseForm())
				require.Equal(t, url.Values{"x": {"y"}, "token": {"rt-canary"}, "token_type_hint": {"refresh_token"}, "client_id": {"my-cli"}}, r.PostForm)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			err := oauth.Revoke(t.Context(), c, revocationRequest, wire.NewSecret("rt-canary"), "refresh_token")
			require.Equal(t, 1, posts)
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			var e *oauth.Error
			require.ErrorAs(t, err, &e)
			e.Foreign = false // that is of no interest here
			require.Equal(t, tc.want, e)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	require.Equal(t, url.Values{"x": {"y"}}, revocationRequest.Form, "the caller's form is its own")
}

func TestZeroTokenIsNotSent(t *testing.T) {
	c := fetchtest.Client(func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	require.NoError(t, oauth.Revoke(t.Context(), c, revocationRequest, wire.Secret{}, ""))
}

func TestRevokeReportsTheNetwork(t *testing.T) {
	err := oauth.Revoke(t.Context(), &fetch.Client{Transport: unreachable()}, oauth.Request{Endpoint: revocationRequest.Endpoint}, wire.NewSecret("x"), "")
	var fe *fetch.Error
	require.ErrorAs(t, err, &fe)
}
