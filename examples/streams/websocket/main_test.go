package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// events is an API with a websocket that runs serve.
func events(
	t *testing.T, server *oauthtest.Server, serve func(context.Context, *websocket.Conn),
) string {
	api := httptest.NewServer(server.Protect("", http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseNow()
			serve(r.Context(), conn)
		})))
	t.Cleanup(api.Close)
	return strings.Replace(api.URL, "http://", "ws://", 1)
}

func TestShowsMessages(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	url := events(t, server, func(ctx context.Context, conn *websocket.Conn) {
		_ = conn.Write(ctx, websocket.MessageText, []byte("one"))
		_ = conn.Write(ctx, websocket.MessageText, []byte("two"))
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	var out strings.Builder
	require.NoError(t, run(t.Context(), server.Config(), url, &out))
	require.Equal(t, "one\ntwo\n", out.String())
}

func TestEndsWithTheSession(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	client, err := oauthclient.New(server.Config())
	require.NoError(t, err)
	defer client.Close()
	session, err := client.Login(t.Context(), nil)
	require.NoError(t, err)
	url := events(t, server, func(ctx context.Context, conn *websocket.Conn) {
		// The user signs out while the connection is open.
		if err := client.Logout(ctx, "", nil); err != nil {
			t.Error(err)
		}
		_, _, _ = conn.Read(ctx)
	})
	err = listen(t.Context(), session, url, &strings.Builder{})
	require.ErrorIs(t, err, oauthclient.ErrSignedOut)

	err = listen(t.Context(), session, url, &strings.Builder{})
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired, "the next connection")
}
