// MCP is a client of Model Context Protocol servers that ask for a sign-in. It connects, lists the server's tools and calls those that
// need no argument. Run it again, and it does so without asking.
//
//	go run . https://mcp.example.com/mcp
//
// The server's URL is all it needs: the server names its authorization server (RFC 9728), and the program registers itself there (RFC 7591). The session is
// in the keychain; it is bound to a key (DPoP) where the server asks for that.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func main() {
	clientID := flag.String("client-id", "", "the `ID` that the server's provider knows, or the URL of a client ID metadata document")
	store := flag.String("store", "", "a `directory` for the session, in place of the keychain")
	key := flag.String("key", "", "the `file` with the key that seals -store")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mcp [flags] URL")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	cfg := config(flag.Arg(0))
	cfg.ClientID = *clientID
	cfg.UI = oauthclient.TerminalUI(os.Stderr, nil)
	if *store != "" {
		sealed, err := tokenstore.ReadKey(*key)
		if err != nil {
			fmt.Fprintln(os.Stderr, "mcp:", err)
			os.Exit(1)
		}
		cfg.Store = tokenstore.NewFile(*store, sealed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

// config is for the server at address: nothing but its URL is known.
func config(address string) oauthclient.Config {
	cfg := oauthclient.Config{
		Resources:    []string{address},
		Registration: &oauthclient.Registration{ClientName: "MCP example"},
	}
	if u, err := url.Parse(address); err == nil { // a server on this machine may name a provider on this machine
		ip, err := netip.ParseAddr(u.Hostname())
		cfg.AllowPrivate = err == nil && ip.IsLoopback()
	}
	return cfg
}

func run(ctx context.Context, w io.Writer, cfg oauthclient.Config) error {
	client, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer client.Close()

	sign := &signIn{client: client}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "nativeoauth-example", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:     cfg.Resources[0],
		HTTPClient:   &http.Client{Transport: sign},
		OAuthHandler: sign,
	}, nil)
	if err != nil {
		return err
	}
	defer session.Close()

	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return err
		}
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool.Name, Arguments: map[string]any{}})
		if err != nil {
			return fmt.Errorf("%s: %w", tool.Name, err)
		}
		fmt.Fprintf(w, "%s: %s\n", tool.Name, text(result))
	}
	return nil
}

// text is what a tool said, where it said it in words.
func text(result *mcp.CallToolResult) string {
	var said []string
	for _, content := range result.Content {
		if t, ok := content.(*mcp.TextContent); ok {
			said = append(said, t.Text)
		}
	}
	return strings.Join(said, " ")
}
