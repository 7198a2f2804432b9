// Command zitadel signs in with zitadel/oidc's rp and rp/cli.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/client/rp/cli"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
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
	port, key := os.Getenv("BENCH_PORT"), []byte(rand.Text()[:16])
	party, err := rp.NewRelyingPartyOIDC(ctx, os.Getenv("BENCH_ISSUER"), os.Getenv("BENCH_CLIENT"), "", "http://127.0.0.1:"+port+"/callback",
		[]string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess}, rp.WithPKCE(httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())))
	if err != nil {
		return nil, err
	}
	tokens := cli.CodeFlow[*oidc.IDTokenClaims](ctx, party, "/callback", port, rand.Text)
	cache.Verified()
	return tokens.Token, nil
}
