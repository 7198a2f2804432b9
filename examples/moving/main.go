// Moving is a program that kept its token in a file, with x/oauth2, oauth2cli or
// MSAL, and now uses the SDK. Its users do not sign in again: the refresh token of the
// file becomes a session, and the file is deleted.
//
//	go run ./examples/moving https://login.example.com my-cli ~/.my-cli/token.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: moving ISSUER CLIENT_ID OLD_FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := oauthclient.Config{
		Issuer: os.Args[1], ClientID: os.Args[2],
		Scopes: []string{"openid", "profile", "offline_access"},
	}
	if err := run(ctx, cfg, os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "moving:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg oauthclient.Config, oldFile string) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := signedIn(ctx, client, cfg.ClientID, oldFile)
	if err != nil {
		return err
	}
	fmt.Println("signed in as", session.Account().Username)
	return nil
}

// signedIn returns the session: the stored one, the one of the old file, or a login's.
// It may run at every start of the program, in many processes at once.
func signedIn(
	ctx context.Context, client *oauthclient.Client, clientID, oldFile string,
) (*oauthclient.Session, error) {
	token, err := oldToken(oldFile, clientID)
	if errors.Is(err, fs.ErrNotExist) {
		return client.SessionOrLogin(ctx, nil) // it has moved already
	}
	if err != nil {
		return nil, err
	}
	session, err := client.Import(ctx, "", token)
	if errors.Is(err, oauthclient.ErrLoginRequired) { // refused, spent, or signed out since
		session, err = client.SessionOrLogin(ctx, nil)
	}
	if err != nil {
		return nil, err // the network, for example: the file stays for the next start
	}
	return session, os.Remove(oldFile) // its refresh token is spent or worthless
}

// oldToken reads the JSON of an oauth2.Token, or the cache of MSAL.
func oldToken(path, clientID string) (*oauth2.Token, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		oauth2.Token
		IDToken string `json:"id_token"` // if the program kept it
		MSAL    map[string]struct {
			ClientID string `json:"client_id"`
			Secret   string `json:"secret"`
		} `json:"RefreshToken"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s is neither a token nor a cache of MSAL", path)
	}
	token := &file.Token
	for _, entry := range file.MSAL {
		if entry.ClientID == clientID {
			token = &oauth2.Token{RefreshToken: entry.Secret}
		}
	}
	return token.WithExtra(map[string]any{"id_token": file.IDToken}), nil
}
