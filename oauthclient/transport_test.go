package oauthclient_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// api records what it is sent, and behind it stands the server's own check of tokens.
type api struct {
	*httptest.Server
	mu   sync.Mutex
	auth []string
	body []string
}

func newAPI(t *testing.T, h http.Handler) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.auth = append(a.auth, r.Header.Get("Authorization")+r.Header.Get("DPoP"))
		a.body = append(a.body, string(data))
		a.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestHTTPClient(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, session := signIn(t, server, nil)
	a := newAPI(t, server.Protect("profile", http.HandlerFunc(ok)))
	client := session.HTTPClient()
	defer client.CloseIdleConnections()

	resp, err := client.Get(a.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)

	// The API refuses the token before its expiry: one refresh, one retry, the body sent again.
	server.Expire()
	resp, err = client.Post(a.URL, "text/plain", strings.NewReader("hello"))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, []string{"", "hello", "hello"}, a.body)
	require.NotEqual(t, a.auth[1], a.auth[2])

	// A body that cannot be sent again: the 401 comes back.
	server.Expire()
	n := server.Requests("token")
	resp, err = client.Post(a.URL, "text/plain", io.MultiReader(strings.NewReader("once")))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, n, server.Requests("token"))

	// The session is gone: the 401 comes back, not the refresh's error.
	server.Revoke()
	resp, err = client.Get(a.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

// A challenge that asks for more is the program's to answer; there is no loop.
func TestInsufficientScopeComesBack(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, session := signIn(t, server, nil)
	a := newAPI(t, server.Protect("admin", http.HandlerFunc(ok)))
	client := session.HTTPClient()
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 403, resp.StatusCode)
	require.Len(t, a.auth, 1)
	opts, ok := oauthclient.ParseChallenge(resp)
	require.True(t, ok)
	require.Equal(t, []string{"admin"}, opts.Scopes)
}

// S46, S47: the token does not follow a redirect to another origin, be it there and back.
func TestS46Redirects(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	_, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	client := session.HTTPClient()
	defer client.CloseIdleConnections()

	foreign := newAPI(t, http.HandlerFunc(ok))
	var home *api
	back := newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, home.URL+"/end", http.StatusTemporaryRedirect)
	}))
	home = newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, foreign.URL, http.StatusTemporaryRedirect)
		case "/there-and-back":
			http.Redirect(w, r, back.URL, http.StatusTemporaryRedirect)
		case "/inside":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		default:
			ok(w, r)
		}
	}))
	for _, path := range []string{"/away", "/there-and-back", "/inside"} {
		resp, err := client.Get(home.URL + path)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
	}
	require.Equal(t, []string{""}, foreign.auth)
	require.Equal(t, []string{""}, back.auth)
	require.Len(t, home.auth, 5)
	require.NotEmpty(t, home.auth[0])
	require.NotEmpty(t, home.auth[1])
	require.Empty(t, home.auth[2], "a chain that left does not get the token back")
	require.NotEmpty(t, home.auth[3])
	require.NotEmpty(t, home.auth[4])

	t.Run("Origins", func(t *testing.T) {
		cfg := cfg
		cfg.Origins = []string{home.URL, back.URL}
		session, err := newClient(t, cfg).Session(t.Context(), "")
		require.NoError(t, err)
		client := session.HTTPClient()
		defer client.CloseIdleConnections()
		_, err = client.Get(foreign.URL)
		require.ErrorContains(t, err, "Config.Origins")
		require.Len(t, foreign.auth, 1)
		resp, err := client.Get(home.URL + "/there-and-back")
		require.NoError(t, err)
		resp.Body.Close()
		require.NotEmpty(t, back.auth[1], "both are the program's own")
		resp, err = client.Get(home.URL + "/away")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, []string{"", ""}, foreign.auth)
	})
	t.Run("http", func(t *testing.T) {
		_, err := client.Get("http://api.example.com/")
		require.ErrorContains(t, err, "https")
		_, err = client.Get("ftp://127.0.0.1/")
		require.Error(t, err)
	})
}

// S85, S86: under DPoP every request has a proof of its own, and the API's nonce is used there.
func TestS85S86DPoP(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{RequireDPoP: true})
	_, session := signIn(t, server, nil)
	a := newAPI(t, server.Protect("", http.HandlerFunc(ok)))
	client := session.HTTPClient()
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Post(a.URL+"/x?q=1", "text/plain", strings.NewReader("body"))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
	}
	require.Len(t, a.auth, 4, "one retry for the first nonce")
	seen := map[string]bool{}
	for _, auth := range a.auth {
		require.True(t, strings.HasPrefix(auth, "DPoP "))
		require.False(t, seen[auth], "a proof is used once")
		seen[auth] = true
	}
	server.Expire()
	resp, err := client.Get(a.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
}
