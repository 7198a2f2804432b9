package interop

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/api/tasks/v1"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// Google's own API client, over a session that has expired, was refused or was
// signed out: it never panics, and its error says that a login is required. With
// WithHTTPClient the error can be matched; WithTokenSource loses the reason.
func TestGoogleAPIClientSeesTheEndOfASession(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *oauthtest.Server, *oauthclient.Client){
		"expired": func(*testing.T, *oauthtest.Server, *oauthclient.Client) { time.Sleep(2100 * time.Millisecond) },
		"refused": func(_ *testing.T, s *oauthtest.Server, _ *oauthclient.Client) {
			s.Revoke()
			time.Sleep(2100 * time.Millisecond)
		},
		"signed out": func(t *testing.T, _ *oauthtest.Server, c *oauthclient.Client) {
			require.NoError(t, c.Logout(t.Context(), "", nil))
		},
	} {
		for _, by := range []string{"WithHTTPClient", "WithTokenSource", "oauth2.Transport"} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				server := oauthtest.NewServer(t, &oauthtest.Options{TokenLifetime: 2 * time.Second})
				cfg := server.Config()
				if name == "expired" {
					cfg.Scopes = []string{"openid"} // without offline_access there is no refresh token
				}
				api := httptest.NewServer(server.Protect("", http.HandlerFunc(
					func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{}`) })))
				t.Cleanup(api.Close)
				c, err := oauthclient.New(cfg)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, c.Close()) })
				s, err := c.Login(t.Context(), nil)
				require.NoError(t, err)
				options := map[string][]option.ClientOption{
					"WithHTTPClient":   {option.WithHTTPClient(s.HTTPClient())},
					"WithTokenSource":  {option.WithTokenSource(s.TokenSource())},
					"oauth2.Transport": {option.WithHTTPClient(&http.Client{Transport: &oauth2.Transport{Source: s.TokenSource()}})},
				}[by]
				svc, err := tasks.NewService(t.Context(), append(options, option.WithEndpoint(api.URL))...)
				require.NoError(t, err)
				_, err = svc.Tasklists.List().Do()
				require.NoError(t, err)
				end(t, server, c)

				_, err = svc.Tasklists.List().Do()
				require.Error(t, err)
				var re *oauth2.RetrieveError
				if errors.As(err, &re) {
					require.NotNil(t, re.Response)
				}
				var ae *auth.Error
				if errors.As(err, &ae) {
					require.NotEmpty(t, ae.Error(), "it reads the response without looking for nil")
				}
				if by == "WithTokenSource" {
					return // Google's package keeps the token by itself, and no reason
				}
				require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			})
		}
	}
}
