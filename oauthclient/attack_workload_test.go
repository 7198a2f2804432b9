package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// ways are the three ways to use a platform's token, with a client for each.
func (p *platform) ways() map[string]oauthclient.Workload {
	return map[string]oauthclient.Workload{
		"job":    {ClientAssertion: p.token},
		"public": {GrantAssertion: p.token},
		"basic":  {SubjectToken: p.token},
	}
}

// A platform's token for another server, such as the cluster's own API, stays here:
// the server that got it could use it there.
func TestS110TokenForAnotherServerIsNotSent(t *testing.T) {
	t.Parallel()
	for client, w := range newPlatform(t).ways() {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t)
			p.claims = map[string]any{"aud": []string{"https://kubernetes.default.svc"}}
			as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key), Trusted: p.trusted(false)})
			w = p.ways()[client]
			cfg = job(t, cfg, w)
			cfg.ClientID = client
			_, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
			require.ErrorContains(t, err, "for another audience than")
			require.ErrorContains(t, err, cfg.Issuer)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.Zero(t, as.Requests(authserver.Token))

			// A provider that wants this audience is named by the program.
			w.Audience = "https://kubernetes.default.svc"
			cfg.Workload = &w
			_, err = newClient(t, cfg).SessionOrLogin(t.Context(), nil)
			require.ErrorContains(t, err, "the provider's token endpoint answered")
			require.Equal(t, 1, as.Requests(authserver.Token))
		})
	}
}

// An issuer that only a resource names gets no token of the platform, unless the
// program accepts it. Metadata that state another issuer get none either.
func TestS111AnotherIssuerGetsNothing(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key), Trusted: p.trusted(false)})
	resource := newResource(t, as, cfg.Issuer)
	for client, w := range p.ways() {
		learned := job(t, cfg, w)
		learned.ClientID, learned.Issuer, learned.Resources = client, "", []string{resource}
		if client == "basic" {
			learned.ClientAuth = oauthclient.ClientAuth{}
		}
		_, err := oauthclient.New(learned)
		require.ErrorContains(t, err, "Config.Workload")
		var asked []string
		learned.Deviations.AcceptIssuer = func(issuer string) bool {
			asked = append(asked, issuer)
			return false
		}
		_, err = newClient(t, learned).SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.Contains(t, asked, cfg.Issuer)

		mixed := job(t, cfg, w)
		mixed.ClientID = client
		says(t, &mixed, map[string]any{"issuer": "https://honest.example"})
		_, err = newClient(t, mixed).SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	}
	require.Zero(t, p.asked.Load(), "the platform was not even asked")
	require.Zero(t, as.Requests(authserver.Token))

	accepted := job(t, cfg, p.ways()["public"])
	accepted.ClientID, accepted.Issuer, accepted.Resources = "public", "", []string{resource}
	accepted.Deviations.AcceptIssuer = func(issuer string) bool { return issuer == cfg.Issuer }
	_, err := newClient(t, accepted).SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
}

// newResource is a resource that names issuer.
func newResource(t *testing.T, as *authserver.Server, issuer string) string {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.Handle("/.well-known/oauth-protected-resource", as.ResourceMetadata(authserver.Resource{URL: s.URL}))
	return s.URL
}

// An assertion is used once: every attempt has its own, also the one after a refusal
// for want of a DPoP nonce, and none is kept.
func TestS112EveryAttemptHasAFreshAssertion(t *testing.T) {
	t.Parallel()
	for client := range newPlatform(t).ways() {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t)
			var mu sync.Mutex
			seen := map[string]int{}
			as, cfg := authServer(t, authserver.Config{
				Clients: jobClients(p.key), Trusted: p.trusted(true), DPoPNonce: true, RequireDPoP: true,
				Misbehave: func(endpoint string, next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if endpoint == authserver.Token {
							body, _ := io.ReadAll(r.Body)
							r.Body = io.NopCloser(bytes.NewReader(body))
							form, _ := url.ParseQuery(string(body))
							mu.Lock()
							seen[form.Get("assertion")+form.Get("subject_token")+form.Get("client_assertion")]++
							mu.Unlock()
						}
						next.ServeHTTP(w, r)
					})
				},
			})
			cfg = job(t, cfg, p.ways()[client])
			cfg.ClientID, cfg.DPoP = client, true
			if client == "basic" {
				cfg.ClientAuth = oauthclient.ClientSecret("sesame+open")
			}
			session, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, session.Refresh(t.Context()))
			require.GreaterOrEqual(t, as.Requests(authserver.Token), 3)
			require.Len(t, seen, as.Requests(authserver.Token), "none twice")
			require.NoError(t, session.Introspect(t.Context(), &map[string]any{}))
		})
	}
}

// A server that repeats what it was sent brings it into no error and no log, and
// nothing of it is printed.
func TestS113AssertionsAreNotTold(t *testing.T) {
	t.Parallel()
	for _, echo := range []string{"first", "second"} {
		for client := range newPlatform(t).ways() {
			t.Run(echo+"/"+client, func(t *testing.T) {
				t.Parallel()
				p := newPlatform(t)
				short := func(context.Context, string) (string, error) { // no length gives it away
					p.asked.Add(1)
					return fmt.Sprintf("e30.eyJhdWQiOiJ4In0.hush%d", p.asked.Load()), nil
				}
				w := oauthclient.Workload{Audience: "x"}
				switch client {
				case "job":
					w.ClientAssertion = short
				case "public":
					w.GrantAssertion = short
				default:
					w.SubjectToken = short
				}
				n := 0
				_, cfg := authServer(t, authserver.Config{Misbehave: func(endpoint string, next http.Handler) http.Handler {
					if endpoint != authserver.Token {
						return next
					}
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_ = r.ParseForm()
						w.Header().Set("Content-Type", "application/json")
						w.Header().Set("DPoP-Nonce", "n")
						w.WriteHeader(http.StatusBadRequest)
						told := map[string]string{"error": "use_dpop_nonce"}
						if n++; n > 1 || echo == "first" {
							sent := r.Form.Get("assertion") + r.Form.Get("subject_token") + r.Form.Get("client_assertion")
							told = map[string]string{"error": "invalid_grant", "error_description": "bad: " + sent}
						}
						_ = json.NewEncoder(w).Encode(told)
					})
				}})
				var logged bytes.Buffer
				cfg = job(t, cfg, w)
				cfg.ClientID, cfg.DPoP = client, true
				cfg.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
				c := newClient(t, cfg)
				_, err := c.SessionOrLogin(t.Context(), nil)
				require.ErrorContains(t, err, "bad: ")
				var e *oauthclient.Error
				require.ErrorAs(t, err, &e)
				for _, text := range []string{
					err.Error(), e.Description, fmt.Sprintf("%+v %#v", e, e), logged.String(), fmt.Sprintf("%+v %#v", c, c),
				} {
					require.NotContains(t, text, "hush")
				}
				require.Contains(t, logged.String(), "event=refresh_failed")
			})
		}
	}
}

// A job never takes over the session of a user of its machine, and never prompts.
func TestS114JobHasNoUser(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	as, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key)})
	_, err := newClient(t, cfg).Login(t.Context(), nil) // the user of this machine, with the same client
	require.NoError(t, err)
	users := cfg.Store

	cfg.ClientID, cfg.ClientAuth = "basic", oauthclient.ClientSecret("sesame+open")
	with := job(t, cfg, oauthclient.Workload{}) // its store, and its UI, fail the test
	c := newClient(t, with)
	session, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	tok, err := session.Token(t.Context())
	require.NoError(t, err)
	require.True(t, as.Active(tok.AccessToken))
	_, err = c.Session(t.Context(), "other")
	require.NoError(t, err)
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = c.Import(t.Context(), "", &oauth2.Token{RefreshToken: "rt"})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accounts)
	require.NoError(t, c.ForgetRegistration(t.Context()))
	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{MaxAge: -1})
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	for _, call := range []func() error{
		func() error { return session.Claims(new(any)) },
		func() error { return session.UserInfo(t.Context(), new(any)) },
		func() error { _, _, err := session.IDToken(t.Context()); return err },
	} {
		require.ErrorIs(t, call(), errors.ErrUnsupported)
	}

	require.NoError(t, c.Logout(t.Context(), "", nil))
	require.False(t, as.Active(tok.AccessToken))
	again, err := session.Token(t.Context())
	require.NoError(t, err)
	require.True(t, as.Active(again.AccessToken))
	require.NoError(t, session.Err())

	cfg.ClientID, cfg.ClientAuth, cfg.Store = "cli", oauthclient.ClientAuth{}, users
	_, err = newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err, "the user's session is what it was")
}

// Whatever a provider or a function says, there is no user who could sign in.
func TestS115NobodyIsToldToSignIn(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"invalid_grant", "bad_refresh_token", "invalid_client", "login_required", "invalid_token"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			answers := &misbehave{}
			answers.set(authserver.Token, answer(http.StatusBadRequest, "application/json", `{"error":"`+code+`"}`))
			_, cfg := authServer(t, authserver.Config{Misbehave: answers.option})
			cfg = job(t, cfg, oauthclient.Workload{})
			cfg.ClientID, cfg.ClientAuth = "basic", oauthclient.ClientSecret("sesame+open")
			c := newClient(t, cfg)
			_, err := c.SessionOrLogin(t.Context(), nil)
			var e *oauthclient.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, code, e.Code)
			for _, wrong := range []error{oauthclient.ErrLoginRequired, oauthclient.ErrNoSession, oauthclient.ErrSessionRefused} {
				require.NotErrorIs(t, err, wrong)
			}
			require.NotContains(t, err.Error(), "sign in")
			session, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			_, err = session.Token(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.False(t, session.Account().LoginRequired)
		})
	}
	t.Run("function", func(t *testing.T) {
		t.Parallel()
		_, cfg := authServer(t, authserver.Config{})
		failed := errors.New("the platform is away")
		cfg = job(t, cfg, oauthclient.Workload{GrantAssertion: func(context.Context, string) (string, error) {
			return "", fmt.Errorf("%w: %w", failed, oauthclient.ErrSignedOut)
		}})
		_, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
		require.ErrorIs(t, err, failed)
		require.ErrorContains(t, err, "Config.Workload.GrantAssertion: the platform is away")
		require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
		require.NotErrorIs(t, err, oauthclient.ErrSignedOut)
	})
}
