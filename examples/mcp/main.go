// MCP calls the tools of a Model Context Protocol server that asks for a sign-in. The
// server names its authorization server, and the program registers itself there.
//
//	go run . https://mcp.example.com/mcp
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: mcp URL")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, config(os.Args[1])); err != nil {
		log.Fatal(err)
	}
}

// config is for the server at address. Add a ClientID if you have one.
func config(address string) oauthclient.Config {
	return oauthclient.Config{
		Resources:    []string{address},
		Registration: &oauthclient.Registration{ClientName: "MCP example"},
		Store:        &tokenstore.Keyring{}, // or tokenstore.NewFile, on a machine without one
		UI:           oauthclient.TerminalUI(os.Stderr, nil),
	}
}

func run(ctx context.Context, w io.Writer, cfg oauthclient.Config) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	auth := &signIn{client: client}
	session, err := client.Session(ctx, "")
	if err != nil && !errors.Is(err, oauthclient.ErrLoginRequired) {
		return err
	}
	auth.session.Store(session)
	program := mcp.NewClient(&mcp.Implementation{Name: "nativeoauth-example", Version: "1"}, nil)
	server, err := program.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: cfg.Resources[0], HTTPClient: &http.Client{Transport: auth}, OAuthHandler: auth,
	}, nil)
	if err != nil {
		return err
	}
	defer server.Close()
	for tool, err := range server.Tools(ctx, nil) {
		if err != nil {
			return err
		}
		result, err := server.CallTool(ctx, &mcp.CallToolParams{Name: tool.Name, Arguments: map[string]any{}})
		if err != nil {
			return fmt.Errorf("%s: %w", tool.Name, err)
		}
		for _, content := range result.Content {
			if text, ok := content.(*mcp.TextContent); ok {
				fmt.Fprintf(w, "%s: %s\n", tool.Name, text.Text)
			}
		}
	}
	return nil
}

// signIn is the go-sdk's OAuthHandler, and the transport of its requests. The go-sdk
// sends bearer tokens only, so it gets none: the transport adds it, and DPoP's proof.
type signIn struct {
	client  *oauthclient.Client
	session atomic.Pointer[oauthclient.Session] // nil: there is none
	denied  atomic.Bool                         // the user said no, and is not asked again
}

func (s *signIn) TokenSource(context.Context) (oauth2.TokenSource, error) { return nil, nil }

// Authorize is called after a 401 or 403. If it returns nil, the request is sent
// again. The user is asked if the stored session lacks what the server wants.
func (s *signIn) Authorize(ctx context.Context, _ *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	opts, ok := oauthclient.ParseChallenge(resp)
	if !ok {
		return fmt.Errorf("the server answered %s, and signing in does not help", resp.Status)
	}
	if s.denied.Load() {
		return oauthclient.ErrAccessDenied
	}
	session, err := s.client.SessionOrLogin(ctx, opts)
	if err == nil {
		s.session.Store(session)
	}
	s.denied.Store(errors.Is(err, oauthclient.ErrAccessDenied))
	return err
}

func (s *signIn) RoundTrip(req *http.Request) (*http.Response, error) {
	if session := s.session.Load(); session != nil {
		if _, err := session.Token(req.Context()); !errors.Is(err, oauthclient.ErrLoginRequired) {
			return session.Transport(nil).RoundTrip(req)
		}
	}
	return http.DefaultTransport.RoundTrip(req) // the server will say how to sign in
}
