// Headless signs in over SSH and in containers. There may be no browser and no
// keychain: the user opens the page on another device, and the session is in a
// sealed file with a key from outside.
//
//	(umask 077; openssl rand -base64 32 >key)
//	KEY_FILE=key go run ./examples/headless https://login.example.com my-cli https://api.example.com/me
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: headless ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "headless:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, clientID, api string) error {
	store, err := openStore(os.Getenv("KEY_FILE"))
	if err != nil {
		return err
	}
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: issuer, ClientID: clientID, Scopes: []string{"openid", "offline_access"},
		Store: store,
		// It opens a browser if there is one. It also shows the URL, takes the address
		// that another machine's browser ended at, and shows a device code if the
		// provider has them.
		UI: oauthclient.TerminalUI(os.Stderr, os.Stdin),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(api)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// openStore returns a sealed file if there is a key, and otherwise the keychain. The
// deployment decides; the program never falls back by itself.
func openStore(keyFile string) (tokenstore.Store, error) {
	if keyFile == "" {
		return &tokenstore.Keyring{}, nil
	}
	key, err := tokenstore.ReadKey(keyFile) // "-" is standard input
	if err != nil {
		return nil, err
	}
	return tokenstore.NewFile(os.Getenv("STATE_DIR"), key), nil // "": below the home directory
}
