package oauthclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// S69, oidcc-client-test-rp-init-logout: the provider's own session ends too, and the browser comes back with the state.
func TestS69EndSession(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	var opened []string
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, u string) error {
		opened = append(opened, u)
		return open(ctx, u)
	}
	c, _ := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	require.NoError(t, c.Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true, ReturnPath: "/callback"}))
	require.NotZero(t, server.Requests("end_session"))
	_, err := c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.Len(t, opened, 2)
	u, err := url.Parse(opened[1])
	require.NoError(t, err)
	require.Empty(t, u.RawQuery, "what is opened is a ticket: no state and no hint for others to read")
}

// redirected returns the address to which a ticket leads.
func redirected(t *testing.T, ticket string) string {
	t.Helper()
	web := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := web.Get(ticket)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.Header.Get("Location")
}

// S91: other users of the computer can read the launcher's arguments. They hold a
// ticket, and neither the username nor the ID token, also if nobody waits for the
// browser's return. The listener is gone afterwards.
func TestS91SignOutOpensATicket(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	_, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	raw, _, err := session.IDToken(t.Context())
	require.NoError(t, err)
	var ticket, provider string
	cfg.UI.OpenURL = func(_ context.Context, u string) error {
		ticket, provider = u, redirected(t, u)
		return nil
	}
	c := newClient(t, cfg)
	require.NoError(t, c.Logout(t.Context(), "",
		&oauthclient.LogoutOptions{EndSession: true, IDTokenHint: true}))
	u, err := url.Parse(ticket)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", u.Hostname())
	require.Empty(t, u.RawQuery)
	require.NotContains(t, ticket, session.Account().Subject)
	require.NotContains(t, ticket, raw)
	require.Contains(t, provider, "id_token_hint="+raw)
	require.NotContains(t, provider, "state=", "nothing is to come back")
	require.NoError(t, c.Close())
	_, err = net.Dial("tcp", u.Host)
	require.Error(t, err, "the listener is closed")
}

// If no browser comes for the ticket, Logout does not wait for ever, and says so.
func TestSignOutWithoutABrowserEnds(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	c, _ := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	cfg.UI = oauthclient.UI{OpenURL: func(context.Context, string) error { return nil }}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := newClient(t, cfg).Logout(ctx, "", &oauthclient.LogoutOptions{EndSession: true})
	require.ErrorIs(t, err, oauthclient.ErrNoBrowser)
	require.ErrorContains(t, err, "signed out here")
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// S69: the ID token is in the provider's URL only where that was asked for, and is the session's.
func TestS69IDTokenHint(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	for _, asked := range []bool{false, true} {
		cfg := server.Config()
		_, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
		raw, _, err := session.IDToken(t.Context())
		require.NoError(t, err)
		var opened string
		cfg.UI.OpenURL = func(_ context.Context, u string) error {
			opened = redirected(t, u)
			return nil
		}
		require.NoError(t, newClient(t, cfg).Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true, IDTokenHint: asked}))
		u, err := url.Parse(opened)
		require.NoError(t, err)
		q := u.Query()
		require.Equal(t, asked, q.Has("id_token_hint"))
		if asked {
			require.Equal(t, raw, q.Get("id_token_hint"))
		}
		require.NotEmpty(t, q.Get("client_id"))
		require.NotEmpty(t, q.Get("logout_hint"))
	}
}

// S69, oidcc-client-test-rp-init-logout-other-state, -no-state: such an answer is refused, and the session is gone here all the same.
func TestS69OtherState(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]string{"other": "wrong", "none": ""} {
		t.Run(name, func(t *testing.T) {
			server := oauthtest.NewServer(t, nil)
			cfg := server.Config()
			c, _ := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
			other := cfg
			var status int
			other.UI = oauthclient.UI{OpenURL: func(ctx context.Context, ticket string) error {
				u, err := url.Parse(ticket)
				if err != nil {
					return err
				}
				u.Path, u.RawQuery = "/callback", ""
				if state != "" {
					u.RawQuery = "state=" + state
				}
				resp, err := http.Get(u.String())
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				http.DefaultClient.CloseIdleConnections()
				return err
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := newClient(t, other).Logout(ctx, "", &oauthclient.LogoutOptions{EndSession: true, ReturnPath: "/callback"})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, oauthclient.ErrNotRevoked)
			require.Equal(t, http.StatusBadRequest, status)
			_, err = c.Session(t.Context(), "")
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		})
	}
}

// S69: an endpoint that may not be opened is refused. If there is none, that is
// ErrUnsupported, and the session is deleted here all the same.
func TestS69Endpoint(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	says(t, &cfg, map[string]any{"end_session_endpoint": nil})
	c, _ := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	require.ErrorIs(t, c.Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true}), errors.ErrUnsupported)
	_, err := c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrSignedOut)
	cfg = server.Config()
	says(t, &cfg, map[string]any{"end_session_endpoint": "http://login.example.com/end"})
	opened := counted(&cfg)
	c = newClient(t, cfg)
	_, err = c.Login(t.Context(), nil)
	require.NoError(t, err, "an endpoint over http counts as absent")
	require.ErrorIs(t, c.Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true}), errors.ErrUnsupported)
	require.EqualValues(t, 1, opened.Load(), "the login's; nothing is opened over http")
}

// An access token has often ended with its refresh token. RFC 7009 wants a 200 for
// it, and some providers refuse it. Whether the session's tokens ended is known by
// then; a refusal of the refresh token itself is none of these.
func TestAccessTokenEndedWithTheRefreshToken(t *testing.T) {
	for name, c := range map[string]struct {
		refused string // the token_type_hint that the provider refuses
		code    string
		ended   bool
	}{
		"better-auth":     {"access_token", "invalid_request", true},
		"invalid token":   {"access_token", "invalid_token", true},
		"unsupported":     {"access_token", "unsupported_token_type", true},
		"another client":  {"access_token", "invalid_client", false},
		"a refresh token": {"refresh_token", "invalid_request", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := &misbehave{}
			server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: m.option})
			client, _ := signIn(t, server, nil)
			var hints []string
			m.set("revocation", func(w http.ResponseWriter, r *http.Request) {
				hint := r.FormValue("token_type_hint")
				hints = append(hints, hint)
				if hint == c.refused {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"error":"`+c.code+`"}`)
				}
			})
			err := client.Logout(t.Context(), "", nil)
			require.Equal(t, []string{"refresh_token", "access_token"}, hints)
			if c.ended {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
			}
		})
	}
}
