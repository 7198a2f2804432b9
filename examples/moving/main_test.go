package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
)

// before signs in as the program did before: with x/oauth2 alone.
func before(t *testing.T, server *oauthtest.Server) *oauth2.Token {
	t.Helper()
	old := oauth2.Config{
		ClientID: server.Config().ClientID, RedirectURL: "http://127.0.0.1:4711/callback",
		Scopes: []string{"openid", "profile", "offline_access"},
		Endpoint: oauth2.Endpoint{
			AuthURL: server.URL + "/authorize", TokenURL: server.URL + "/token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	verifier := oauth2.GenerateVerifier()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	resp, err := browser.Get(old.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	callback, err := url.Parse(resp.Header.Get("Location"))
	require.NoError(t, err)
	token, err := old.Exchange(
		context.Background(), callback.Query().Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	require.NotEmpty(t, token.RefreshToken)
	return token
}

func TestMoving(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]func(*oauth2.Token, string) any{
		"x/oauth2": func(token *oauth2.Token, _ string) any { return token },
		"with an ID token": func(token *oauth2.Token, _ string) any {
			return map[string]any{
				"refresh_token": token.RefreshToken, "id_token": token.Extra("id_token"),
			}
		},
		"MSAL": func(token *oauth2.Token, client string) any {
			entry := map[string]any{"client_id": client, "secret": token.RefreshToken}
			return map[string]any{"RefreshToken": map[string]any{"uid-login-refreshtoken": entry}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := oauthtest.NewServer(t, nil)
			cfg := server.Config()
			path := filepath.Join(t.TempDir(), "token.json")
			data, err := json.Marshal(file(before(t, server), cfg.ClientID))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, data, 0o600))

			logins := server.Requests("authorize")
			require.NoError(t, run(t.Context(), cfg, path))
			require.NoFileExists(t, path)
			require.NoError(t, run(t.Context(), cfg, path), "the session is stored")
			require.Equal(t, logins, server.Requests("authorize"), "nobody was asked")
		})
	}
}

// A token that the provider refuses costs a login, and the file is gone.
func TestMovingWithASpentToken(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	path := filepath.Join(t.TempDir(), "token.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"refresh_token":"spent"}`), 0o600))
	require.NoError(t, run(t.Context(), server.Config(), path))
	require.NoFileExists(t, path)
	require.Equal(t, 1, server.Requests("authorize"))
}
