package oauthclient_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func TestSmoke(t *testing.T) {
	var h http.Handler
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	defer ts.Close()
	as, err := authserver.New(authserver.Config{Issuer: ts.URL, AutoUser: "alice", Clients: []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}}})
	require.NoError(t, err)
	h = as
	c, err := oauthclient.New(oauthclient.Config{Issuer: ts.URL, ClientID: "cli", Scopes: []string{"openid", "offline_access"}, Store: &tokenstore.Memory{},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UI: oauthclient.UI{OpenURL: func(ctx context.Context, u string) error {
			go func() {
				resp, err := http.Get(u)
				if err != nil {
					t.Log(err)
					return
				}
				b, _ := io.ReadAll(resp.Body)
				t.Log(resp.Status, len(b), resp.Request.URL)
			}()
			return nil
		}}})
	require.NoError(t, err)
	s, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	t.Logf("%+v", s.Account())
	tok, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	tok2, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, tok.AccessToken, tok2.AccessToken)
	var claims map[string]any
	require.NoError(t, s.Claims(&claims))
	t.Log(claims)
	require.NoError(t, s.UserInfo(t.Context(), &claims))
	t.Log(claims)
	_, exp, err := s.IDToken(t.Context())
	require.NoError(t, err)
	t.Log(time.Until(exp))
	require.NoError(t, c.Logout(t.Context(), "", nil))
	_, err = s.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.NoError(t, c.Close())
}
