// Accounts is a command line with several accounts, such as "work" and "home". Each
// account has a name that the user chooses, and a session of its own.
//
//	export ISSUER=https://login.example.com CLIENT_ID=my-cli
//	go run ./examples/accounts login work
//	go run ./examples/accounts login home
//	go run ./examples/accounts list
//	go run ./examples/accounts get work https://api.example.com/me
//	go run ./examples/accounts logout work
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

const usage = "usage: accounts login NAME | list | get NAME URL | logout NAME"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := oauthclient.Config{
		Issuer: os.Getenv("ISSUER"), ClientID: os.Getenv("CLIENT_ID"),
		Scopes: []string{"openid", "profile", "offline_access"},
		UI:     oauthclient.TerminalUI(os.Stderr, os.Stdin), // works over SSH, too
	}
	if err := run(ctx, cfg, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "accounts:", err)
		if errors.Is(err, oauthclient.ErrLoginRequired) {
			os.Exit(4) // scripts can tell it from other errors
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg oauthclient.Config, args []string, out io.Writer) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()

	switch {
	case len(args) == 2 && args[0] == "login":
		return login(ctx, client, args[1], out)
	case len(args) == 1 && args[0] == "list":
		return list(ctx, client, out)
	case len(args) == 3 && args[0] == "get":
		return get(ctx, client, args[1], args[2], out)
	case len(args) == 2 && args[0] == "logout":
		return client.Logout(ctx, args[1], nil)
	}
	return errors.New(usage)
}

func login(ctx context.Context, client *oauthclient.Client, name string, out io.Writer) error {
	session, err := client.Login(ctx, &oauthclient.LoginOptions{
		Account: name,
		Prompt:  "select_account", // else the browser's user is taken without a question
	})
	if errors.Is(err, oauthclient.ErrAccountMismatch) {
		return fmt.Errorf("%w; log out of %s first, or choose another name", err, name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is %s\n", name, session.Account().Username)
	return nil
}

// list needs neither the network nor the secrets of a session.
func list(ctx context.Context, client *oauthclient.Client, out io.Writer) error {
	accounts, err := client.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		state := "signed in"
		if a.LoginRequired {
			state = "sign in again"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", a.Name, a.Username, state)
	}
	return nil
}

// get never prompts. Without a session, the error names the accounts that there are.
func get(
	ctx context.Context, client *oauthclient.Client, name, url string, out io.Writer,
) error {
	session, err := client.Session(ctx, name)
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}
