package oauthclient_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A function may use another session, which has ended. That is an error of the
// function, and no reason to sign a user in here.
func TestS115AnotherSessionsErrorIsNotThisOnes(t *testing.T) {
	inVirtualTime(t, authserver.Config{}, func(t *testing.T, as *authserver.Server, cfg oauthclient.Config) {
		for name, theirs := range endedSessions(t, as, cfg) {
			require.ErrorIs(t, theirs, oauthclient.ErrLoginRequired, name)
			asked := 0
			c := newClient(t, job(t, cfg, oauthclient.Workload{GrantAssertion: func(context.Context, string) (string, error) {
				asked++
				return "", fmt.Errorf("the platform: %w", theirs)
			}}))
			s, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			for range 20 {
				_, err = s.Token(t.Context())
				require.ErrorContains(t, err, "Config.Workload.GrantAssertion: the platform: ", name)
				for _, wrong := range []error{
					oauthclient.ErrLoginRequired, oauthclient.ErrNoSession, oauthclient.ErrSignedOut,
					oauthclient.ErrSessionExpired, oauthclient.ErrSessionRefused,
				} {
					require.NotErrorIs(t, err, wrong, name)
				}
				var legacy *oauth2.RetrieveError
				require.NotErrorAs(t, err, &legacy, name)
				if e := (*oauthclient.Error)(nil); name == "refused" {
					require.ErrorAs(t, err, &e)
					require.Equal(t, "invalid_grant", e.Code)
					require.NotErrorIs(t, e, oauthclient.ErrLoginRequired)
					require.NotContains(t, e.Error(), "sign in")
				}
			}
			require.Equal(t, 1, asked, "%s: a function that has just failed is not called again", name)
			require.False(t, s.Account().LoginRequired)
		}
	})
}

// endedSessions returns the errors of sessions that need a login.
func endedSessions(t *testing.T, as *authserver.Server, cfg oauthclient.Config) map[string]error {
	errs := map[string]error{}
	c := newClient(t, cfg)
	_, errs["absent"] = c.Session(t.Context(), "")
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	as.Revoke()
	errs["refused"] = s.Refresh(t.Context())
	require.NoError(t, c.Logout(t.Context(), "", nil))
	_, errs["signed out"] = s.Token(t.Context())

	enterprise := cfg
	enterprise.IdentityProvider = s
	_, errs["at the identity provider"] = newClient(t, enterprise).SessionOrLogin(t.Context(), nil)

	cfg.Scopes, cfg.Store = []string{"openid"}, &tokenstore.Memory{}
	s, err = newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	time.Sleep(time.Hour)
	_, errs["expired"] = s.Token(t.Context())
	return errs
}

// A revocation and an introspection call the function again. Its error is shown like
// that of a token request, and so is a refusal of the server.
func TestS115OtherEndpointsDoNotTellToSignIn(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	answers := &misbehave{}
	refusal := answer(http.StatusBadRequest, "application/json", `{"error":"login_required"}`)
	answers.set(authserver.Introspection, refusal)
	answers.set(authserver.Revocation, refusal)
	_, cfg := authServer(t, authserver.Config{Clients: jobClients(p.key), Trusted: p.trusted(false), Misbehave: answers.option})
	_, absent := newClient(t, cfg).Session(t.Context(), "")
	require.ErrorIs(t, absent, oauthclient.ErrNoSession)
	for what, fails := range map[string]error{"the provider's": nil, "Config.Workload.ClientAssertion: the platform": absent} {
		var failing error
		cfg := job(t, cfg, oauthclient.Workload{ClientAssertion: func(ctx context.Context, audience string) (string, error) {
			if failing != nil {
				return "", fmt.Errorf("the platform: %w", failing)
			}
			return p.token(ctx, audience)
		}})
		cfg.ClientID = "job"
		c := newClient(t, cfg)
		s, err := c.SessionOrLogin(t.Context(), nil)
		require.NoError(t, err)
		failing = fails
		err = s.Introspect(t.Context(), new(any))
		require.ErrorContains(t, err, what)
		require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
		err = c.Logout(t.Context(), "", nil)
		require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
		require.ErrorContains(t, err, what)
		require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	}
}
