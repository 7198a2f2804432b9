package oauthclient_test

import (
	"bytes"
	"encoding/json"
	"io"
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
// Here it is asked in the very millisecond in which the ID token ends.
func TestIDTokenThatIsNotRenewed(t *testing.T) {
	inVirtualTime(t, authserver.Config{IDTokenLifetime: 11 * time.Second}, func(t *testing.T, as *authserver.Server, cfg oauthclient.Config) {
		network := cfg.Transport
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			var sent []byte
			if r.Body != nil {
				sent, _ = io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(sent))
			}
			resp, err := network.RoundTrip(r)
			if err == nil && bytes.Contains(sent, []byte("grant_type=refresh_token")) {
				var answer map[string]any
				require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
				delete(answer, "id_token")
				body, err := json.Marshal(answer)
				require.NoError(t, err)
				resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			}
			return resp, err
		})
		session, err := newClient(t, cfg).Login(t.Context(), nil)
		require.NoError(t, err)
		_, expiry, err := session.IDToken(t.Context())
		require.NoError(t, err)
		before := as.Requests(authserver.Token)
		time.Sleep(time.Until(expiry.Add(-10 * time.Second))) // the margin
		for range 6 {
			_, _, err = session.For("", "offline_access").IDToken(t.Context())
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		}
		require.Equal(t, 1, as.Requests(authserver.Token)-before)
		_, err = session.Token(t.Context())
		require.NoError(t, err, "the access token is another matter")
	})
}
