package oauthclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// secretJob is a program with a secret of its own at the server of cfg.
func secretJob(t *testing.T, cfg oauthclient.Config) oauthclient.Config {
	cfg = job(t, cfg, oauthclient.Workload{})
	cfg.ClientID, cfg.ClientAuth = "basic", oauthclient.ClientSecret("sesame+open")
	return cfg
}

func TestWorkloadConfig(t *testing.T) {
	t.Parallel()
	ask := func(context.Context, string) (string, error) { return "", nil }
	good := oauthclient.Config{Issuer: "https://login.example", ClientID: "job", Workload: &oauthclient.Workload{ClientAssertion: ask}}
	for _, c := range []struct {
		change func(*oauthclient.Config)
		want   string // "": it is good
	}{
		{func(*oauthclient.Config) {}, ""},
		{func(c *oauthclient.Config) { c.Workload = &oauthclient.Workload{} }, "Config.Workload: client credentials need Config.ClientAuth"},
		{func(c *oauthclient.Config) { c.Workload.SubjectToken = ask }, "Config.Workload: set at most one"},
		{func(c *oauthclient.Config) { c.ClientID = "" }, "Config.ClientID: it is missing"},
		{func(c *oauthclient.Config) {
			c.ClientID, c.Registration = "", &oauthclient.Registration{ClientName: "x"}
		}, "Config.ClientID: it is missing"},
		{func(c *oauthclient.Config) { c.ClientID, c.Workload = "", &oauthclient.Workload{SubjectToken: ask} }, ""},
		{func(c *oauthclient.Config) { c.ClientID, c.Workload = "", &oauthclient.Workload{GrantAssertion: ask} }, ""},
		{func(c *oauthclient.Config) { c.TokenParams = url.Values{"assertion": {"x"}} }, `"assertion" is set by the flow itself`},
		{func(c *oauthclient.Config) { c.TokenParams = url.Values{"audience": {"x"}} }, ""},
		{func(c *oauthclient.Config) { c.Issuer, c.Resources = "", []string{"https://api.example"} }, "Config.Workload: it needs an issuer"},
	} {
		cfg := good
		w := *good.Workload
		cfg.Workload = &w
		c.change(&cfg)
		client, err := oauthclient.New(cfg)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, client.Close())
	}
}

// However many goroutines ask at once, one request is sent.
func TestWorkloadOneRequest(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key)})
	c := newClient(t, secretJob(t, cfg))
	release := as.Hold(authserver.Token)
	var all sync.WaitGroup
	tokens := make(chan string, 40)
	for range 20 {
		all.Go(func() {
			session, err := c.SessionOrLogin(t.Context(), nil)
			require.NoError(t, err)
			tok, err := session.Token(t.Context())
			require.NoError(t, err)
			tokens <- tok.AccessToken
		})
		all.Go(func() {
			session, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			tok, err := session.Token(t.Context())
			require.NoError(t, err)
			tokens <- tok.AccessToken
		})
	}
	require.Eventually(t, func() bool { return as.Requests(authserver.Token) > 0 }, 20*time.Second, time.Millisecond)
	release()
	all.Wait()
	require.Equal(t, 1, as.Requests(authserver.Token))
	first := <-tokens
	for range 39 {
		require.Equal(t, first, <-tokens)
	}
}

// After a refusal nothing is sent for a while, callers get the error at once, and the
// session goes on when the provider does. A pause that the provider asks for is kept.
func TestWorkloadAfterAFailure(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	answers := &misbehave{}
	inVirtualTime(t, authserver.Config{Clients: jobClients(p.key), Misbehave: answers.option},
		func(t *testing.T, _ *authserver.Server, cfg oauthclient.Config) {
			c, err := oauthclient.New(secretJob(t, cfg))
			require.NoError(t, err)
			defer c.Close()
			session, err := c.Session(t.Context(), "")
			require.NoError(t, err)

			answers.set(authserver.Token, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			for range 50 {
				_, err := session.Token(t.Context())
				var e *oauthclient.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, time.Minute, e.RetryAfter)
				time.Sleep(time.Second)
			}
			require.EqualValues(t, 1, answers.hits.Load(), "it asked for a minute")

			time.Sleep(11 * time.Second)
			answers.set(authserver.Token, answer(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`))
			for range 120 {
				_, err := session.Token(t.Context())
				require.Error(t, err)
				time.Sleep(time.Second)
			}
			require.Less(t, answers.hits.Load(), int64(12), "refusals are rare")

			answers.set(authserver.Token, nil)
			time.Sleep(2 * time.Minute)
			_, err = session.Token(t.Context())
			require.NoError(t, err)
		})
}

// A token that cannot be renewed is used as long as it is valid.
func TestWorkloadOutageNearExpiry(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	answers := &misbehave{}
	inVirtualTime(t, authserver.Config{Clients: jobClients(p.key), Misbehave: answers.option},
		func(t *testing.T, _ *authserver.Server, cfg oauthclient.Config) {
			c, err := oauthclient.New(secretJob(t, cfg))
			require.NoError(t, err)
			defer c.Close()
			session, err := c.SessionOrLogin(t.Context(), nil)
			require.NoError(t, err)
			answers.set(authserver.Token, answer(http.StatusBadGateway, "text/plain", "away"))
			time.Sleep(4*time.Minute + 35*time.Second)
			for range 20 {
				_, err := session.Token(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Second)
			}
			require.Positive(t, answers.hits.Load())
			time.Sleep(time.Minute)
			_, err = session.Token(t.Context())
			var e *oauthclient.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, http.StatusBadGateway, e.Status)
		})
}

// A challenge that wants another scope brings a token with it. If the provider does
// not grant it, the session is what it was.
func TestWorkloadStepUp(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key), Scopes: []string{"notes", "write"}})
	c := newClient(t, secretJob(t, cfg))
	session, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"notes"}, session.Account().Scopes)

	api := httptest.NewServer(as.Protect(authserver.Resource{Scope: "write"}, http.NotFoundHandler()))
	defer api.Close()
	resp, err := session.HTTPClient().Get(api.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	opts, ok := oauthclient.ParseChallenge(resp)
	require.True(t, ok)
	session, err = c.SessionOrLogin(t.Context(), opts)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"notes", "write"}, session.Account().Scopes)
	resp, err = session.HTTPClient().Get(api.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)

	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"admin"}})
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.NoError(t, session.Refresh(t.Context()))
	require.ElementsMatch(t, []string{"notes", "write"}, session.Account().Scopes)

	narrow, err := session.For("", "write").Token(t.Context())
	require.NoError(t, err)
	whole, err := session.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, whole.AccessToken, narrow.AccessToken)
}

// Each resource gets a token of its own, and only its own.
func TestWorkloadResources(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key), Trusted: p.trusted(true)})
	cfg = job(t, cfg, oauthclient.Workload{GrantAssertion: p.token})
	cfg.ClientID = "public"
	got := make(chan string, 2)
	for range 2 {
		mux := http.NewServeMux()
		api := httptest.NewServer(mux)
		defer api.Close()
		mux.Handle("/.well-known/oauth-protected-resource", as.ResourceMetadata(authserver.Resource{URL: api.URL}))
		mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") })
		cfg.Resources = append(cfg.Resources, api.URL)
	}
	c := newClient(t, cfg)
	session, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	var sent []string
	for _, resource := range cfg.Resources {
		resp, err := session.HTTPClient().Get(resource + "/x")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		sent = append(sent, <-got)
		var said struct {
			Audience []string `json:"aud"`
		}
		require.NoError(t, session.For(resource).Introspect(t.Context(), &said))
		require.Equal(t, []string{resource}, said.Audience)
	}
	require.NotEqual(t, sent[0], sent[1])
}

// Close does not wait for a token that nobody can use any more.
func TestWorkloadClose(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key)})
	c, err := oauthclient.New(secretJob(t, cfg))
	require.NoError(t, err)
	valid, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	release := as.Hold(authserver.Token)
	defer release()
	waiting, err := c.Session(t.Context(), "other")
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := waiting.Token(context.Background())
		failed <- err
	}()
	require.Eventually(t, func() bool { return as.Requests(authserver.Token) == 2 }, 20*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-failed, os.ErrClosed)
	_, err = valid.Token(t.Context())
	require.NoError(t, err)
	_, err = c.SessionOrLogin(t.Context(), nil)
	require.ErrorIs(t, err, os.ErrClosed)
}

// A token that is on its way when a logout comes is revoked, and the caller that waits
// for it gets another, however many logouts come.
func TestWorkloadLogoutOvertakes(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	var logout func() error
	var issued []string
	inVirtualTime(t, authserver.Config{
		Clients: jobClients(p.key),
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			if endpoint != authserver.Token {
				return next
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				var told struct {
					AccessToken string `json:"access_token"`
				}
				_ = json.Unmarshal(rec.Body.Bytes(), &told)
				issued = append(issued, told.AccessToken)
				if len(issued) < 4 {
					if err := logout(); err != nil {
						t.Error(err)
					}
				}
				answer(rec.Code, "application/json", rec.Body.String())(w, r)
			})
		},
	}, func(t *testing.T, as *authserver.Server, cfg oauthclient.Config) {
		c := newClient(t, secretJob(t, cfg))
		logout = func() error { return c.Logout(t.Context(), "", nil) }
		s, err := c.Session(t.Context(), "")
		require.NoError(t, err)
		tok, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Len(t, issued, 4)
		require.Equal(t, issued[3], tok.AccessToken)
		synctest.Wait()
		for _, dropped := range issued[:3] {
			require.False(t, as.Active(dropped))
		}
		require.True(t, as.Active(tok.AccessToken))
	})
}

// What a provider sends besides the access token is not kept: nothing but the
// program's own credentials brings the next token.
func TestWorkloadKeepsNoRefreshToken(t *testing.T) {
	t.Parallel()
	answers := &misbehave{}
	_, cfg := authServer(t, authserver.Config{Misbehave: answers.option})
	revoked := make(chan string, 3)
	answers.set(authserver.Token, answer(http.StatusOK, "application/json",
		`{"access_token":"at","token_type":"Bearer","expires_in":60,"refresh_token":"rt","id_token":"a.b.c"}`))
	answers.set(authserver.Revocation, func(_ http.ResponseWriter, r *http.Request) { revoked <- r.FormValue("token") })
	c := newClient(t, secretJob(t, cfg))
	session, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.ErrorIs(t, session.Claims(new(any)), errors.ErrUnsupported)
	require.NoError(t, c.Logout(t.Context(), "", nil))
	require.Equal(t, "at", <-revoked)
	require.Empty(t, revoked)
	err = c.Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NotErrorIs(t, err, oauthclient.ErrNotRevoked)
}

// Google's token exchange has no client, wants an audience of its own making in the
// platform's token, and another in the request.
func TestWorkloadAsAtGoogle(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	forms := make(chan url.Values, 1)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		form.Set("authorization", r.Header.Get("Authorization"))
		forms <- form
		answer(http.StatusOK, "application/json", `{"access_token":"ya29","token_type":"Bearer","expires_in":3599,`+
			`"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`)(w, r)
	}))
	defer sts.Close()
	const pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/github"
	p.claims = map[string]any{"aud": "https:" + pool}
	c := newClient(t, oauthclient.Config{
		Endpoints: &oauthclient.Endpoints{Issuer: sts.URL, Token: sts.URL},
		Workload:  &oauthclient.Workload{SubjectToken: p.token, Audience: "https:" + pool},
		Scopes:    []string{"https://www.googleapis.com/auth/cloud-platform"}, TokenParams: url.Values{"audience": {pool}},
	})
	session, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	form := <-forms
	require.NotEmpty(t, form.Get("subject_token"))
	form.Del("subject_token")
	require.Equal(t, url.Values{
		"grant_type": {grantExchange}, "audience": {pool}, "authorization": {""},
		"scope":                {"https://www.googleapis.com/auth/cloud-platform"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
	}, form)
	tok, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ya29", tok.AccessToken)
}
