// Quickstart signs a user in and calls an API with the user's token. When it runs
// again, it does so without a prompt.
//
//	go run ./examples/quickstart https://login.example.com my-cli https://api.example.com/me
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: quickstart ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, clientID, api string) error {
	client, err := oauthclient.New(oauthclient.Config{
		Issuer:   issuer,   // "https://login.example.com"
		ClientID: clientID, // "my-cli", registered as a native app with http://127.0.0.1/callback
		Scopes:   []string{"openid", "offline_access"},
	})
	if err != nil {
		return err
	}
	defer client.Close() // waits for a refresh that is under way

	session, err := client.SessionOrLogin(ctx, nil) // the stored session, or a login in the browser
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(api) // refreshes the token if that is due
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
