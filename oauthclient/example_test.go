package oauthclient_test

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

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

// The user signs in once. Later runs of the program use the stored session.
func Example() {
	// run returns its error, because log.Fatal in it would skip client.Close.
	const issuer, api = "https://login.example.com", "https://api.example.com/me"
	if err := run(context.Background(), issuer, "my-cli", api); err != nil {
		log.Print(err)
	}
}
