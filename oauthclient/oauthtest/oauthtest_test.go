package oauthtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, cfg oauthclient.Config) *oauthclient.Client {
	t.Helper()
	client, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestSignIn(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	client := newClient(t, server.Config())
	session, err := client.Login(within(t), nil)
	require.NoError(t, err)
	require.Equal(t, "alice", session.Account().Username)
	require.True(t, session.Account().Refreshable)
	require.NoError(t, session.Refresh(within(t)))
	require.NoError(t, session.Refresh(within(t)), "the rotated refresh token is good")
	var info struct {
		Email string `json:"email"`
	}
	require.NoError(t, session.UserInfo(within(t), &info))
	require.Equal(t, "alice@example.com", info.Email)
	require.Equal(t, 3, server.Requests("token"))
	require.Equal(t, 1, server.Requests("authorize"))
}

// post sends a form as a program would, and returns the JSON of the answer.
func post(t *testing.T, url, form string) (status int, answer map[string]any) {
	t.Helper()
	resp, err := http.Post(url, "application/x-www-form-urlencoded", strings.NewReader(form))
	require.NoError(t, err)
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return resp.StatusCode, answer
}

const (
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	asked    = "response_type=code&client_id=oauthtest&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&scope=openid+offline_access&state=s1" +
		"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
)

// The user completes whatever a login offers. Here there is no login around it.
func TestInstruct(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	ui := server.Config().UI

	t.Run("nothing to do beside a browser", func(t *testing.T) {
		pasted, err := ui.Instruct(within(t), oauthclient.Instructions{Opened: true, Paste: true, URL: server.URL + "/authorize?" + asked})
		require.NoError(t, err)
		require.Empty(t, pasted)
		require.Zero(t, server.Requests("authorize"))
	})
	t.Run("paste", func(t *testing.T) {
		pasted, err := ui.Instruct(within(t), oauthclient.Instructions{Paste: true, URL: server.URL + "/authorize?" + asked})
		require.NoError(t, err)
		answer, err := url.Parse(pasted)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:4711", answer.Host)
		require.Equal(t, "s1", answer.Query().Get("state"))
		status, tokens := post(t, server.URL+"/token", "grant_type=authorization_code&client_id=oauthtest&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&code="+
			answer.Query().Get("code")+"&code_verifier="+verifier)
		require.Equal(t, 200, status)
		require.NotEmpty(t, tokens["id_token"])
	})
	t.Run("device", func(t *testing.T) {
		_, device := post(t, server.URL+"/device_authorization", "client_id=oauthtest&scope=openid")
		_, err := ui.Instruct(within(t), oauthclient.Instructions{VerificationURIComplete: device["verification_uri_complete"].(string)})
		require.NoError(t, err)
		status, tokens := post(t, server.URL+"/token", "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=oauthtest&device_code="+device["device_code"].(string))
		require.Equal(t, 200, status)
		require.NotEmpty(t, tokens["access_token"])
	})
	t.Run("a provider that refuses", func(t *testing.T) {
		_, err := ui.Instruct(within(t), oauthclient.Instructions{Paste: true, URL: server.URL + "/authorize?client_id=stranger"})
		require.ErrorContains(t, err, "client_id")
	})
}

func TestRequire(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{RequireDPoP: true, RequirePAR: true})
	require.True(t, server.Config().DPoP)
	require.True(t, server.Config().RequirePAR)
	pasted, err := server.Config().UI.Instruct(within(t), oauthclient.Instructions{Paste: true, URL: server.URL + "/authorize?" + asked})
	require.NoError(t, err)
	require.Contains(t, pasted, "error=invalid_request")
	status, refused := post(t, server.URL+"/token", "grant_type=refresh_token&client_id=oauthtest&refresh_token=x")
	require.Equal(t, 400, status)
	require.Equal(t, "invalid_dpop_proof", refused["error"])
}

func TestProtect(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("hello")) })
	mux := http.NewServeMux()
	mux.Handle("/mail", server.Protect("email", ok))
	mux.Handle("/admin", server.Protect("admin", ok))
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)

	client := newClient(t, server.Config())
	session, err := client.Login(within(t), nil)
	require.NoError(t, err)
	get := func(path string) *http.Response {
		resp, err := session.HTTPClient().Get(api.URL + path)
		require.NoError(t, err)
		_ = resp.Body.Close()
		return resp
	}
	require.Equal(t, 200, get("/mail").StatusCode)
	refused := get("/admin")
	require.Equal(t, 403, refused.StatusCode)
	require.Contains(t, strings.Join(refused.Header.Values("WWW-Authenticate"), " "), `error="insufficient_scope"`)

	before := server.Requests("token")
	server.Expire()
	require.Equal(t, 200, get("/mail").StatusCode, "a 401 refreshes")
	require.Greater(t, server.Requests("token"), before)
	plain, err := http.Get(api.URL + "/mail")
	require.NoError(t, err)
	_ = plain.Body.Close()
	require.Equal(t, 401, plain.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}

func TestDenyIsOnce(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	client := newClient(t, server.Config())
	server.Deny()
	_, err := client.Login(within(t), nil)
	require.ErrorIs(t, err, oauthclient.ErrAccessDenied)
	_, err = client.Login(within(t), nil)
	require.NoError(t, err)
}

func TestRevokeEndsTheSession(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	client := newClient(t, server.Config())
	session, err := client.Login(within(t), nil)
	require.NoError(t, err)
	server.Revoke()
	require.ErrorIs(t, session.Refresh(within(t)), oauthclient.ErrLoginRequired)
	_, err = client.Login(within(t), nil)
	require.NoError(t, err, "what comes after Revoke is not revoked")
}

func TestOptions(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{
		Claims:        map[string]any{"sub": "u-17", "preferred_username": "bob", "team": "blue"},
		TokenLifetime: time.Hour,
		Scopes:        []string{"openid", "profile"},
	})
	session, err := newClient(t, server.Config()).Login(within(t), nil)
	require.NoError(t, err)
	account := session.Account()
	require.Equal(t, "u-17", account.Subject)
	require.Equal(t, "bob", account.Username)
	require.False(t, account.Refreshable, "offline_access is not among the scopes")
	require.ElementsMatch(t, []string{"openid", "profile"}, account.Scopes)
	require.WithinDuration(t, time.Now().Add(time.Hour), account.Expiry, time.Minute)
	var claims map[string]any
	require.NoError(t, session.Claims(&claims))
	require.Equal(t, "blue", claims["team"])
	require.NotContains(t, claims, "email")
}

func TestMisbehave(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		if endpoint != "token" {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	}})
	_, err := newClient(t, server.Config()).Login(within(t), nil)
	var refused *oauthclient.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 503, refused.Status)
	require.Equal(t, 1, server.Requests("token"))
}

// A program with a redirect path that is not registered learns it at once.
func TestTheProviderRefusingEndsTheLogin(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	cfg.Loopback.Path = "/elsewhere"
	_, err := newClient(t, cfg).Login(within(t), nil)
	require.ErrorContains(t, err, "redirect_uri")
	require.LessOrEqual(t, server.Requests("authorize"), 1)
}

func TestConfigsAreApart(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, err := newClient(t, server.Config()).Login(within(t), nil)
	require.NoError(t, err)
	_, err = newClient(t, server.Config()).Session(within(t), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// A login's LoginHint chooses the user, so that a program with several accounts can
// be tested.
func TestSeveralUsers(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{Users: map[string]map[string]any{
		"bob": {"sub": "b-1", "email": "bob@example.com"}, "carol": nil,
	}})
	client := newClient(t, server.Config())
	for name, want := range map[string]string{"": "alice", "bob": "b-1", "carol": "carol", "nobody": "alice"} {
		session, err := client.Login(within(t), &oauthclient.LoginOptions{Account: name, LoginHint: name})
		require.NoError(t, err)
		require.Equal(t, want, session.Account().Subject, "LoginHint %q", name)
	}
	_, err := client.Login(within(t), &oauthclient.LoginOptions{Account: "bob", LoginHint: "dave"})
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch, "alice is not bob")
}

// A program's own Config, written for its real provider, signs in at the server.
func TestApply(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{RequireDPoP: true})
	cfg := oauthclient.Config{
		TenantIssuer: "https://login.example.com/{tenantid}", Issuer: "https://login.example.com/common",
		ClientID: "own", ClientAuth: oauthclient.ClientSecret("own"),
		Scopes:     []string{"openid", "notes:read"},
		AuthParams: url.Values{"audience": {"notes"}},
		Loopback:   loopback.Config{Path: "/own"},
	}
	server.Apply(&cfg)
	session, err := newClient(t, cfg).Login(within(t), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"openid", "notes:read"}, session.Account().Scopes)
	require.Equal(t, url.Values{"audience": {"notes"}}, cfg.AuthParams, "what the program asks for is left alone")
}

// Outside of a test a server has an end too.
func TestStart(t *testing.T) {
	server, err := oauthtest.Start(nil)
	require.NoError(t, err)
	session, err := newClient(t, server.Config()).Login(within(t), nil)
	require.NoError(t, err)
	server.Close()
	server.Close()
	require.Error(t, session.Refresh(within(t)), "the server is gone")
	_, err = oauthtest.Start(&oauthtest.Options{Users: map[string]map[string]any{"": nil}})
	require.ErrorContains(t, err, "oauthtest: ")
}
