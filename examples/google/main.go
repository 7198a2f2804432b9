// Google lists the user's task lists with Google's API client for Go. The session's
// HTTP client carries the requests.
//
//	CLIENT_ID=… CLIENT_SECRET=… go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"

	"google.golang.org/api/option"
	"google.golang.org/api/tasks/v1"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := oauthclient.Config{
		Issuer:   "https://accounts.google.com",
		ClientID: os.Getenv("CLIENT_ID"), // of the type "Desktop app"
		// Google insists on it. It is not confidential in an installed program.
		ClientAuth: oauthclient.ClientSecret(os.Getenv("CLIENT_SECRET")),
		Scopes:     []string{"openid", "email", tasks.TasksReadonlyScope},
		Origins:    []string{"https://tasks.googleapis.com"}, // the token goes nowhere else
		// A refresh token comes only with both of them.
		AuthParams: url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
	}
	err := run(ctx, cfg, os.Stdout)
	if errors.Is(err, oauthclient.ErrLoginRequired) {
		err = fmt.Errorf("%w; run this program again", err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "google:", err)
		os.Exit(1)
	}
}

func run(
	ctx context.Context, cfg oauthclient.Config, out io.Writer, more ...option.ClientOption,
) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		return err
	}
	return list(ctx, session, out, more...)
}

func list(
	ctx context.Context, session *oauthclient.Session, out io.Writer, more ...option.ClientOption,
) error {
	// Not WithTokenSource: it keeps a token of its own, and replaces the session's error
	// by a text.
	options := append([]option.ClientOption{option.WithHTTPClient(session.HTTPClient())}, more...)
	service, err := tasks.NewService(ctx, options...)
	if err != nil {
		return err
	}
	lists, err := service.Tasklists.List().Context(ctx).Do()
	if err != nil {
		return err
	}
	for _, l := range lists.Items {
		fmt.Fprintln(out, l.Title)
	}
	return nil
}
