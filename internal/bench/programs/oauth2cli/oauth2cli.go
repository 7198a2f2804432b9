// Command oauth2cli signs in as kubelogin does: int128/oauth2cli for the flow, go-oidc for the ID token, a cache of its own.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/int128/oauth2cli"
	"github.com/pkg/browser"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/bench/programs/cache"
)

func main() {
	token, ok := cache.Valid()
	if !ok {
		var err error
		if token, err = login(context.Background()); err == nil {
			err = cache.Keep(token)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println(token.AccessToken)
}

func login(ctx context.Context) (*oauth2.Token, error) {
	provider, err := oidc.NewProvider(ctx, os.Getenv("BENCH_ISSUER"))
	if err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() { _ = browser.OpenURL(<-ready) }()
	pkce, nonce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	token, err := oauth2cli.GetToken(ctx, oauth2cli.Config{
		OAuth2Config: oauth2.Config{
			ClientID: os.Getenv("BENCH_CLIENT"), Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "offline_access"},
		},
		AuthCodeOptions:      []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(pkce), oidc.Nonce(nonce)},
		TokenRequestOptions:  []oauth2.AuthCodeOption{oauth2.VerifierOption(pkce)},
		LocalServerReadyChan: ready,
	})
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: os.Getenv("BENCH_CLIENT")}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != nonce {
		return nil, fmt.Errorf("wrong nonce")
	}
	cache.Verified()
	return token, nil
}
