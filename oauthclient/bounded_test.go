package oauthclient_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// An API that refuses every token costs one refresh, not one a request; another API of the same session is not harmed by it.
func TestAPIThatRefusesEveryToken(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	refuses := newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	client := session.HTTPClient()
	defer client.CloseIdleConnections()
	get := func(url string, want int) {
		t.Helper()
		resp, err := client.Get(url)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
	before := as.Requests(authserver.Token)
	for range 5 {
		get(refuses.URL, 401)
	}
	require.Equal(t, 1, as.Requests(authserver.Token)-before)
	require.Len(t, refuses.auth, 6)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { get(refuses.URL, 401) })
	}
	all.Wait()
	require.Equal(t, 1, as.Requests(authserver.Token)-before)

	// What the operator expires is still replaced, elsewhere; and the new token is tried on the one that refuses, once.
	api := newAPI(t, as.Protect(authserver.Resource{}, http.HandlerFunc(ok)))
	get(api.URL, 200)
	as.Expire()
	get(api.URL, 200)
	require.Equal(t, 2, as.Requests(authserver.Token)-before)
	for range 5 {
		get(refuses.URL, 401)
	}
	require.Equal(t, 3, as.Requests(authserver.Token)-before)
}

// A provider that gives no ID token at a refresh is asked once, not at each call.
func TestIDTokenThatIsNotRenewed(t *testing.T) {
	h := newHostile(t, authserver.Config{IDTokenLifetime: 11 * time.Second})
	h.lie("token", func(r heardRequest, a *lyingReply) {
		if r.Form.Get("grant_type") == "refresh_token" {
			a.JSON(func(m map[string]any) { delete(m, "id_token") })
		}
	})
	session, err := newClient(t, h.cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	before := h.Requests(authserver.Token)
	require.Eventually(t, func() bool {
		_, _, err = session.IDToken(t.Context())
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
	for range 5 {
		_, _, err = session.For("", "offline_access").IDToken(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	}
	require.Equal(t, 1, h.Requests(authserver.Token)-before)
	_, err = session.Token(t.Context())
	require.NoError(t, err, "the access token is another matter")
}
