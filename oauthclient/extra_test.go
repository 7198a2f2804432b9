package oauthclient_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The members of a token response that are no secrets are in Token.Extra, also after a
// refresh that does not repeat them and in another process. They are in the session's
// value and nowhere else; secrets are not even there.
func TestTokenExtra(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log strings.Builder
	h := newHostile(t, authserver.Config{})
	h.cfg.Logger = slog.New(slog.NewTextHandler(&lockedWriter{mu: &mu, w: &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n := 0
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		n++
		a.JSON(func(m map[string]any) {
			m["instance_url"] = fmt.Sprintf("https://canary-%d.example", n)
			m["device_secret"] = "canary-secret"
			if n == 1 {
				m["team"] = map[string]any{"id": "canary-team", "bot_token": "canary-secret"}
			}
		})
	})
	c, s := h.login(t)
	tok, err := s.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "https://canary-1.example", tok.Extra("instance_url"))
	require.Equal(t, map[string]any{"id": "canary-team"}, tok.Extra("team"))
	for _, secret := range []string{"device_secret", "id_token", "refresh_token", "access_token"} {
		require.Nil(t, tok.Extra(secret), secret)
	}
	require.NoError(t, s.Refresh(t.Context()))

	other, err := newClient(t, h.cfg).Session(t.Context(), "")
	require.NoError(t, err)
	for _, in := range []func() string{
		func() string { tok, err = s.Token(t.Context()); return "this process" },
		func() string { tok, err = other.Token(t.Context()); return "another" },
	} {
		where := in()
		require.NoError(t, err)
		require.Equal(t, "https://canary-2.example", tok.Extra("instance_url"), where)
		require.Equal(t, map[string]any{"id": "canary-team"}, tok.Extra("team"), where)
	}

	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	seen := fmt.Sprintf("%+v %+v %+v %#v %v", accounts, s.Account(), s, c, err)
	mu.Lock()
	seen += log.String()
	mu.Unlock()
	require.NotContains(t, seen, "canary")
	store := h.cfg.Store.(*tokenstore.Memory)
	names, err := store.List(t.Context(), "")
	require.NoError(t, err)
	kept := 0
	for _, name := range names {
		data, err := store.Get(t.Context(), name)
		require.NoError(t, err)
		require.NotContains(t, string(data), "canary-secret", name)
		if strings.Contains(string(data), "canary") {
			kept++
		}
		if journal, err := store.ReadJournal(t.Context(), name); err == nil {
			require.NotContains(t, string(journal), "canary", name)
		}
	}
	require.Equal(t, 1, kept, "in the session's value alone")

	// Another login begins anew.
	h.lie(authserver.Token, nil)
	s, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
	tok, err = s.Token(t.Context())
	require.NoError(t, err)
	require.Nil(t, tok.Extra("team"))
}

// What the provider says about the refresh token's life is shown, also in another
// process, and ends nothing: a session beyond it still refreshes.
func TestSessionExpiryIsShown(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	life := any(3600)
	h.lie(authserver.Token, func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) {
			if life != nil {
				m["refresh_token_expires_in"] = life
			}
		})
	})
	began := time.Now().Truncate(time.Millisecond)
	c, s := h.login(t)
	expiry := s.Account().SessionExpiry
	require.False(t, expiry.Before(began.Add(time.Hour)))
	require.False(t, expiry.After(time.Now().Add(time.Hour)))
	other := newClient(t, h.cfg)
	accounts, err := other.Accounts(t.Context())
	require.NoError(t, err)
	require.True(t, accounts[0].SessionExpiry.Equal(expiry))
	again, err := other.Session(t.Context(), "")
	require.NoError(t, err)
	require.True(t, again.Account().SessionExpiry.Equal(expiry))

	life = 1
	require.NoError(t, s.Refresh(t.Context()))
	time.Sleep(time.Until(s.Account().SessionExpiry) + time.Millisecond)
	require.False(t, s.Account().LoginRequired)
	life = nil // and the provider goes on all the same
	require.NoError(t, s.Refresh(t.Context()))
	require.True(t, s.Account().SessionExpiry.IsZero(), "nothing is known of the rotated token")
	require.False(t, s.Account().LoginRequired)
	_, err = c.Session(t.Context(), "")
	require.NoError(t, err)
}
