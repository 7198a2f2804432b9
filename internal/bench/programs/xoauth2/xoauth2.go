// Command xoauth2 signs in with golang.org/x/oauth2, go-oidc and go-keyring: what their documentation leaves to the program is written here.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	conf := &oauth2.Config{
		ClientID: os.Getenv("BENCH_CLIENT"), Endpoint: provider.Endpoint(), RedirectURL: "http://" + ln.Addr().String() + "/callback",
		Scopes: []string{oidc.ScopeOpenID, "offline_access"},
	}
	state, nonce, pkce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	codes := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("state") != state {
			http.Error(w, "wrong state", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "You may close this page.")
		select {
		case codes <- r.FormValue("code"):
		default:
		}
	})
	go func() { _ = http.Serve(ln, mux) }()
	if err := browser.OpenURL(conf.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(pkce))); err != nil {
		return nil, err
	}
	token, err := conf.Exchange(ctx, <-codes, oauth2.VerifierOption(pkce))
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: conf.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != nonce {
		return nil, errors.New("wrong nonce")
	}
	cache.Verified()
	return token, nil
}
