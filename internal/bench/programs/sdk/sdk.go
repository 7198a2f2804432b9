// Command sdk signs in with this SDK and prints a token: keychain, sealed file and DPoP are linked.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	cfg := oauthclient.Config{
		Issuer: os.Getenv("BENCH_ISSUER"), ClientID: os.Getenv("BENCH_CLIENT"),
		Scopes: []string{"openid", "offline_access"}, DPoP: os.Getenv("BENCH_DPOP") != "",
	}
	switch {
	case os.Getenv("BENCH_STORE") == "memory":
		cfg.Store = new(tokenstore.Memory)
	case os.Getenv("BENCH_FILE") != "":
		key, err := tokenstore.ReadKey(os.Getenv("BENCH_KEY"))
		if err != nil {
			return err
		}
		cfg.Store = tokenstore.NewFile(os.Getenv("BENCH_FILE"), key)
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	login := client.SessionOrLogin
	if os.Getenv("BENCH_LOGIN") != "" {
		login = client.Login
	}
	session, err := login(context.Background(), &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "verified %d\n", time.Now().UnixNano())
	token, err := session.Token(context.Background())
	if err != nil {
		return err
	}
	fmt.Println(token.AccessToken)
	return nil
}
