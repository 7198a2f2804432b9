// Workload calls an API on a laptop as its user, and in a CI job or a pod as the
// program itself.
//
//	go run ./examples/workload https://login.example.com my-cli https://api.example.com/me
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/workload"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: workload ISSUER CLIENT_ID API_URL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, clientID, api string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := oauthclient.Config{
		Issuer: issuer, ClientID: clientID, Scopes: []string{"openid", "offline_access"},
		Logger: log,
	}
	token, why := workload.Detect()
	log.Info("credentials", "from", why)
	if token != nil { // this provider takes the platform's token as a client assertion
		cfg.Workload = &oauthclient.Workload{ClientAssertion: token}
	}
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()

	session, err := client.SessionOrLogin(ctx, nil) // it opens a browser only if there is a user
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
