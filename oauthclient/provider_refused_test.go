package oauthclient_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// S34: with one resource the sign-in's own token is for it. It is used as it is: no refresh, and no refresh token either, is needed for the first request.
func TestS34OneResource(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{})
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		as.Protect(authserver.Resource{URL: api.URL + "/v1"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	cfg.Resources, cfg.Scopes = []string{api.URL + "/v1"}, []string{"openid"} // no refresh token
	s, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	resp, err := s.HTTPClient().Get(api.URL + "/v1/things")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, 1, as.Requests("token"))
}

// S36: a token that the API refuses as invalid is not offered again: SessionOrLogin with the challenge asks the person where a refresh cannot
// replace it, though the token has not expired by the clock, and adopts what has replaced it.
func TestS36RefusedToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scopes []string
		end    func(*oauthtest.Server)
		opened int64
	}{
		"the session was revoked": {nil, (*oauthtest.Server).Revoke, 2},
		"no refresh token":        {[]string{"openid"}, (*oauthtest.Server).Expire, 2},
		"a refresh helps":         {nil, (*oauthtest.Server).Expire, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := oauthtest.NewServer(t, &oauthtest.Options{Scopes: test.scopes})
			api := httptest.NewServer(server.Protect("openid", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			t.Cleanup(api.Close)
			cfg := server.Config()
			opened := counted(&cfg)
			c := newClient(t, cfg)
			s, err := c.Login(t.Context(), nil)
			require.NoError(t, err)
			before, err := s.Token(t.Context())
			require.NoError(t, err)

			test.end(server)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, nil)
			require.NoError(t, err)
			before.SetAuthHeader(req)
			resp, err := http.DefaultClient.Do(req) // a program with an HTTP client of its own
			require.NoError(t, err)
			resp.Body.Close()
			opts, ok := oauthclient.ParseChallenge(resp)
			require.True(t, ok)
			for range 2 { // the second time, what has replaced it is adopted
				s, err = c.SessionOrLogin(t.Context(), opts)
				require.NoError(t, err)
				after, err := s.Token(t.Context())
				require.NoError(t, err)
				require.NotEqual(t, before.AccessToken, after.AccessToken)
			}
			require.Equal(t, test.opened, opened.Load())
		})
	}
}
