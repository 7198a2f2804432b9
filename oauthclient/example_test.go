package oauthclient_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The user signs in once and stays signed in, also after a restart of the program.
func Example() {
	provider := exampleProvider()
	defer provider.Close()

	client, err := oauthclient.New(oauthclient.Config{
		Issuer:   provider.URL, // "https://login.example.com"
		ClientID: "my-cli",     // registered as a native app with http://127.0.0.1/callback
		Scopes:   []string{"openid", "offline_access"},
		Store:    &tokenstore.Memory{}, UI: provider.UI, // leave these out: keychain and browser
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close() // lets the browser load its page, and a refresh finish

	// The stored session is used if there is one. Otherwise the browser opens.
	session, err := client.SessionOrLogin(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := session.HTTPClient().Get(provider.API + "/me") // refreshes the token if need be
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: hello <nil>
}
