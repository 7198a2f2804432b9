package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

func TestListsWithGooglesClient(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"items":[{"title":"Shopping"}]}`)
		})))
	defer api.Close()
	there := option.WithEndpoint(api.URL)
	cfg := server.Config()
	cfg.Origins = []string{api.URL}
	var out strings.Builder
	require.NoError(t, run(t.Context(), cfg, &out, there))
	require.Equal(t, "Shopping\n", out.String())

	client, err := oauthclient.New(cfg)
	require.NoError(t, err)
	defer client.Close()
	session, err := client.Session(t.Context(), "")
	require.NoError(t, err)

	server.Expire() // the API refuses the token before its time
	byToken := []option.ClientOption{
		option.WithHTTPClient(nil), option.WithTokenSource(session.TokenSource()), there,
	}
	require.ErrorContains(t, list(t.Context(), session, &out, byToken...), "401")
	require.NoError(t, list(t.Context(), session, &out, there))

	require.NoError(t, client.Logout(t.Context(), "", nil))
	err = list(t.Context(), session, &out, there)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)

	// The other way: the program cannot tell that the user has to sign in.
	err = list(t.Context(), session, &out, byToken...)
	require.Error(t, err)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
}
