// Command msal signs in with the Microsoft Authentication Library for Go, at an authority of the ADFS kind. It does not verify the ID
// token's signature: it trusts TLS.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
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
	client, err := public.New(os.Getenv("BENCH_CLIENT"), public.WithAuthority(os.Getenv("BENCH_ISSUER")), public.WithInstanceDiscovery(false))
	if err != nil {
		return nil, err
	}
	result, err := client.AcquireTokenInteractive(ctx, []string{"api"}, public.WithRedirectURI("http://localhost:"+os.Getenv("BENCH_PORT")))
	if err != nil {
		return nil, err
	}
	cache.Verified()
	return &oauth2.Token{AccessToken: result.AccessToken, Expiry: result.ExpiresOn}, nil
}
