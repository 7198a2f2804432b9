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
	defer client.Close() // lets the browser load its page, and a refresh finish

	session, err := client.SessionOrLogin(ctx, nil) // the stored session, else opens the browser
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(api) // refreshes the token when it is time, in however many processes
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// The quick start: who signed in stays signed in, and the API is called as that person.
func Example() {
	// An error, and not log.Fatal, ends run: what is deferred there must happen.
	if err := run(context.Background(), "https://login.example.com", "my-cli", "https://api.example.com/me"); err != nil {
		log.Print(err)
	}
}
