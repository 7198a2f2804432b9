package oauthclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// legacy signs in as another program would, and returns what that has stored.
func legacy(t *testing.T, cfg oauthclient.Config) *oauth2.Token {
	t.Helper()
	store := &tokenstore.Memory{}
	cfg.Store = store
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	names, err := store.List(t.Context(), "s1.")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	data, err := store.Get(t.Context(), names[0])
	require.NoError(t, err)
	var stored struct {
		Refresh string `json:"refresh_token"`
		IDToken string `json:"id_token"`
	}
	require.NoError(t, json.Unmarshal(data, &stored))
	require.NotEmpty(t, stored.Refresh)
	return (&oauth2.Token{RefreshToken: stored.Refresh}).WithExtra(map[string]any{"id_token": stored.IDToken})
}

// without returns t without its ID token.
func without(t *oauth2.Token) *oauth2.Token { return &oauth2.Token{RefreshToken: t.RefreshToken} }

func subjectOf(t *testing.T, s *oauthclient.Session) string {
	t.Helper()
	var claims struct {
		Sub string `json:"sub"`
	}
	require.NoError(t, s.Claims(&claims))
	require.Equal(t, claims.Sub, s.Account().Subject)
	return claims.Sub
}

// A session is made of a refresh token from elsewhere, and the token is sent once,
// however often the program imports.
func TestImport(t *testing.T) {
	t.Parallel()
	for _, withIDToken := range []bool{true, false} {
		h := newHostile(t, authserver.Config{Rotation: authserver.RotateStrict})
		old := legacy(t, h.cfg)
		if !withIDToken {
			old = without(old)
		}
		h.cfg.UI.OpenURL = func(context.Context, string) error { return errors.New("nobody is asked") }
		sent := len(h.got(authserver.Token))
		for range 3 {
			c := newClient(t, h.cfg)
			s, err := c.Import(t.Context(), "", old)
			require.NoError(t, err)
			require.NotEmpty(t, subjectOf(t, s))
			_, err = s.Token(t.Context())
			require.NoError(t, err)
			accounts, err := c.Accounts(t.Context())
			require.NoError(t, err)
			require.Len(t, accounts, 1)
		}
		require.Len(t, h.got(authserver.Token), sent+1)
		s, err := newClient(t, h.cfg).Session(t.Context(), "")
		require.NoError(t, err)
		require.NoError(t, s.Refresh(t.Context()))
		require.Zero(t, h.Stats().Reuses)
	}
}

// Nothing is sent for an account that was signed out, or for a token whose import was
// lost. The journal knows the token by its hash alone.
func TestImportIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *oauthclient.Client, *tokenstore.Memory){
		"signed out": func(t *testing.T, c *oauthclient.Client, _ *tokenstore.Memory) {
			require.NoError(t, c.Logout(t.Context(), "", nil))
		},
		"lost": func(t *testing.T, _ *oauthclient.Client, store *tokenstore.Memory) {
			names, err := store.List(t.Context(), "s1.")
			require.NoError(t, err)
			for _, n := range names {
				journal, err := store.ReadJournal(t.Context(), n)
				require.NoError(t, err)
				require.Contains(t, string(journal), `"imported"`)
				require.NoError(t, store.Delete(t.Context(), n))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{Rotation: authserver.RotateStrict})
			store := h.cfg.Store.(*tokenstore.Memory)
			old := legacy(t, h.cfg)
			c := newClient(t, h.cfg)
			_, err := c.Import(t.Context(), "", old)
			require.NoError(t, err)
			names, err := store.List(t.Context(), "")
			require.NoError(t, err)
			for _, n := range names {
				if journal, err := store.ReadJournal(t.Context(), n); err == nil {
					require.NotContains(t, string(journal), old.RefreshToken)
				}
			}
			end(t, c, store)
			sent := len(h.got(authserver.Token))
			_, err = newClient(t, h.cfg).Import(t.Context(), "", old)
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.Len(t, h.got(authserver.Token), sent)

			s, err := newClient(t, h.cfg).Login(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, s.Refresh(t.Context()))
			require.Zero(t, h.Stats().Reuses)
		})
	}
}

// Another user's session is never replaced, and no token is sent for it.
func TestImportKeepsAnotherUser(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	old := legacy(t, h.cfg) // alice's
	h.forge(t, func(c map[string]any) { c["sub"] = "bob" }, nil)
	_, theirs := h.login(t)
	require.Equal(t, "bob", subjectOf(t, theirs))
	tok, err := theirs.Token(t.Context())
	require.NoError(t, err)
	sent := len(h.got(authserver.Token))
	s, err := newClient(t, h.cfg).Import(t.Context(), "", old)
	require.NoError(t, err)
	require.Equal(t, "bob", subjectOf(t, s))
	now, err := s.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, tok.AccessToken, now.AccessToken)
	require.Len(t, h.got(authserver.Token), sent)
}

// An imported ID token identifies the user only if the provider signed it for this
// client. One of another issuer or client means that the refresh token is theirs, and
// it is not sent.
func TestImportIDToken(t *testing.T) {
	t.Parallel()
	foreign := josetest.New(t, "ES256", "other")
	for name, tc := range map[string]struct {
		change func(c map[string]any)
		sign   func(c map[string]any) string // nil: the provider's key
		sent   bool                          // the refresh token
		known  bool                          // the user, after the import
	}{
		"good":             {func(map[string]any) {}, nil, true, true},
		"expired long ago": {func(c map[string]any) { c["iat"], c["exp"], c["auth_time"] = 1e9, 1e9+60, 1e9 }, nil, true, true},
		"another issuer":   {func(c map[string]any) { c["iss"] = "https://evil.example" }, nil, false, false},
		"another client":   {func(c map[string]any) { c["aud"] = "another" }, nil, false, false},
		"two clients":      {func(c map[string]any) { c["aud"] = []string{"cli", "another"} }, nil, false, false},
		"no subject":       {func(c map[string]any) { delete(c, "sub") }, nil, false, false},
		"a foreign key":    {func(c map[string]any) { c["sub"] = "eve" }, func(c map[string]any) string { return foreign.Sign(c) }, true, false},
		"another issuer's key": {
			func(c map[string]any) { c["iss"] = "https://evil.example" },
			func(c map[string]any) string { return foreign.Sign(c) }, false, false,
		},
		"no token": {nil, func(map[string]any) string { return "x" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			old := legacy(t, h.cfg)
			claims := claimsOf(t, old.Extra("id_token"))
			if tc.change != nil {
				tc.change(claims)
			}
			if tc.sign == nil {
				tc.sign = func(c map[string]any) string { return h.key().Sign(c) }
			}
			raw := tc.sign(claims)
			h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
				a.JSON(func(m map[string]any) { delete(m, "id_token") })
			})
			sent := len(h.got(authserver.Token))
			c := newClient(t, h.cfg)
			s, err := c.Import(t.Context(), "", without(old).WithExtra(map[string]any{"id_token": raw}))
			if !tc.sent {
				require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
				require.Len(t, h.got(authserver.Token), sent)
				h.requireNothingStored(t, c)
				require.NotContains(t, err.Error(), old.RefreshToken)
				return
			}
			require.NoError(t, err)
			require.Len(t, h.got(authserver.Token), sent+1)
			if tc.known {
				require.Equal(t, claims["sub"], subjectOf(t, s))
				return
			}
			require.Empty(t, s.Account().Subject)
			require.ErrorIs(t, s.Claims(&struct{}{}), errors.ErrUnsupported)
		})
	}
}

// An ID token that the refresh brought gives no identity if it fails a check. The
// tokens are kept.
func TestImportRefreshedIDToken(t *testing.T) {
	t.Parallel()
	for claim, value := range map[string]any{
		"iss": "https://evil.example", "aud": "another", "exp": 1, "at_hash": "x",
	} {
		h := newHostile(t, authserver.Config{})
		old := without(legacy(t, h.cfg))
		h.forge(t, func(c map[string]any) { c[claim] = value }, nil)
		s, err := newClient(t, h.cfg).Import(t.Context(), "", old)
		require.NoError(t, err)
		require.Empty(t, s.Account().Subject, claim)
		require.ErrorIs(t, s.Claims(&struct{}{}), errors.ErrUnsupported)
		_, err = s.Token(t.Context())
		require.NoError(t, err)
	}
}

// A refused token is not sent again. An outage is passing, and the next import sends
// the token again.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	old := without(legacy(t, h.cfg))
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.Status, a.Body = http.StatusBadRequest, []byte(`{"error":"invalid_client"}`)
	})
	c := newClient(t, h.cfg)
	_, err := c.Import(t.Context(), "", old)
	require.Error(t, err)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.Status, a.Body = http.StatusBadRequest, []byte(`{"error":"invalid_grant"}`)
	})
	_, err = c.Import(t.Context(), "", old)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	sent := len(h.got(authserver.Token))
	h.lie(authserver.Token, nil)
	_, err = newClient(t, h.cfg).Import(t.Context(), "", old)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.Len(t, h.got(authserver.Token), sent)
	h.requireNothingStored(t, c)

	// Another token may be imported.
	_, err = newClient(t, h.cfg).Import(t.Context(), "", legacy(t, h.cfg))
	require.NoError(t, err)
}

// What cannot be imported says why, and nothing is sent.
func TestImportImpossible(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	old := legacy(t, h.cfg)
	sent := len(h.got(authserver.Token))
	for name, change := range map[string]func(*oauthclient.Config){
		"DPoP":      func(c *oauthclient.Config) { c.DPoP = true },
		"an issuer": func(c *oauthclient.Config) { c.Issuer, c.Resources = "", []string{"https://api.example"} },
		"a client": func(c *oauthclient.Config) {
			c.ClientID, c.Registration = "", &oauthclient.Registration{ClientName: "x"}
		},
	} {
		cfg := h.cfg
		change(&cfg)
		_, err := newClient(t, cfg).Import(t.Context(), "", old)
		require.ErrorIs(t, err, errors.ErrUnsupported, name)
	}
	for _, none := range []*oauth2.Token{nil, {AccessToken: "a"}} {
		_, err := newClient(t, h.cfg).Import(t.Context(), "", none)
		require.ErrorContains(t, err, "no refresh token")
	}
	require.Len(t, h.got(authserver.Token), sent)
}

// A caller that goes away after the token was sent loses nothing.
func TestImportOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{Rotation: authserver.RotateStrict})
	old := legacy(t, cfg)
	c := newClient(t, cfg)
	before := as.Requests("token")
	release := as.Hold("token")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Import(ctx, "", old)
		ended <- err
	}()
	require.Eventually(t, func() bool { return as.Requests("token") > before }, 20*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	release()
	require.Eventually(t, func() bool {
		s, err := c.Session(t.Context(), "")
		return err == nil && strings.HasPrefix(s.Account().Issuer, "http")
	}, 20*time.Second, time.Millisecond)
	s, err := c.Import(t.Context(), "", old)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	require.Zero(t, as.Stats().Reuses)
}
