// Tested is a program with a tested sign-in, see main_test.go: it needs neither a
// browser nor a registration there. The program takes its Config as an argument, and
// that is all that it does for its tests.
//
//	go run ./examples/tested https://login.example.com my-cli https://api.example.com/notes
//	go test ./examples/tested
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: tested ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	cfg := config()
	cfg.Issuer, cfg.ClientID = os.Args[1], os.Args[2]
	if err := run(context.Background(), cfg, os.Args[3], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// config is what the program asks for, at its own provider and in its tests.
func config() oauthclient.Config {
	return oauthclient.Config{Scopes: []string{"openid", "notes", "offline_access"}}
}

func run(ctx context.Context, cfg oauthclient.Config, api string, out io.Writer) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if errors.Is(err, oauthclient.ErrAccessDenied) {
		return errors.New("you did not allow access to your notes, so there is nothing to show")
	}
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(api)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the notes cannot be read: %s", resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}
