// Websocket listens to a websocket as the signed-in user, and shows each message. The
// token is sent once, with the first request. So the program itself ends the
// connection when the user signs out.
//
//	go run . https://login.example.com my-cli wss://api.example.com/events
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/coder/websocket"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: websocket ISSUER CLIENT_ID URL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := oauthclient.Config{
		Issuer: os.Args[1], ClientID: os.Args[2], Scopes: []string{"openid", "offline_access"},
	}
	if err := run(ctx, cfg, os.Args[3], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "websocket:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg oauthclient.Config, url string, out io.Writer) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.SessionOrLogin(ctx, nil)
	if err != nil {
		return err
	}
	return listen(ctx, session, url, out)
}

// listen shows messages until the connection, the session or ctx ends. After an error
// of the network, call it again: the token is renewed if need be.
func listen(ctx context.Context, session *oauthclient.Session, url string, out io.Writer) error {
	// The session's client adds the token. It refuses servers outside of Config.Origins.
	conn, _, err := websocket.Dial(ctx, url,
		&websocket.DialOptions{HTTPClient: session.HTTPClient()})
	if err != nil {
		return err // errors.Is finds ErrLoginRequired
	}
	defer conn.CloseNow()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-session.Done(): // a logout, or another user, in whatever process
			cancel(session.Err())
		case <-ctx.Done():
		}
	}()
	for {
		_, message, err := conn.Read(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", message)
	}
}
