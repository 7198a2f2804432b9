// Command cap signs in with hashicorp/cap, as its example for the command line does.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/cap/oidc"
	"github.com/hashicorp/cap/oidc/callback"
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
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BENCH_PORT"))
	if err != nil {
		return nil, err
	}
	redirect := "http://" + ln.Addr().String() + "/callback"
	config, err := oidc.NewConfig(os.Getenv("BENCH_ISSUER"), os.Getenv("BENCH_CLIENT"), "", []oidc.Alg{oidc.ES256}, []string{redirect})
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(config)
	if err != nil {
		return nil, err
	}
	defer provider.Done()
	verifier, err := oidc.NewCodeVerifier()
	if err != nil {
		return nil, err
	}
	request, err := oidc.NewRequest(2*time.Minute, redirect, oidc.WithPKCE(verifier), oidc.WithScopes("offline_access"))
	if err != nil {
		return nil, err
	}
	type outcome struct {
		token oidc.Token
		err   error
	}
	done := make(chan outcome, 1)
	handler, err := callback.AuthCode(ctx, provider, &callback.SingleRequestReader{Request: request},
		func(state string, t oidc.Token, w http.ResponseWriter, _ *http.Request) {
			done <- outcome{token: t}
			fmt.Fprintln(w, "You may close this page.")
		},
		func(state string, r *callback.AuthenErrorResponse, e error, w http.ResponseWriter, _ *http.Request) {
			done <- outcome{err: fmt.Errorf("%v %v", r, e)}
		})
	if err != nil {
		return nil, err
	}
	authURL, err := provider.AuthURL(ctx, request)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", handler)
	go func() { _ = http.Serve(ln, mux) }()
	if err := browser.OpenURL(authURL); err != nil {
		return nil, err
	}
	o := <-done
	if o.err != nil {
		return nil, o.err
	}
	cache.Verified()
	return &oauth2.Token{
		AccessToken: string(o.token.AccessToken()), RefreshToken: string(o.token.RefreshToken()), Expiry: o.token.Expiry(),
	}, nil
}
