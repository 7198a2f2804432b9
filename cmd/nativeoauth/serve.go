package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// devClient is the client that the development provider knows.
const devClient = "dev"

// serveCmd runs a provider for people who build a login and have no provider yet.
func (a *app) serveCmd() *cobra.Command {
	var port int
	var redirects []string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a provider on this machine, to develop a login against",
		Long: `serve runs an OpenID provider at http://127.0.0.1:PORT (or [::1], without IPv4) until it is interrupted, and
prints its issuer. It is for people who build a login and have no provider yet.

Anybody can sign in under any name, without a password; what is signed in is forgotten at the
end. The client ID ` + devClient + ` is registered for every loopback port with the path /callback, and a
program may also register itself. The provider is strict: PKCE, exact redirect URIs, and a
refresh token that is used twice ends the session. It offers metadata, PAR, DPoP, the device
flow, revocation, introspection, userinfo, registration and logout.

Never use it for anything but development: whoever can reach it is whoever they say they are.
Only this machine can reach it.`,
		Example: `  nativeoauth serve
  nativeoauth login --issuer http://127.0.0.1:8085 --client-id dev
  nativeoauth serve --redirect-uri http://localhost:3000/auth/callback --lifetime 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port < 0 || port > 65535 {
				return usage("--port %d is not a port", port)
			}
			if lifetime < 0 || lifetime%time.Second != 0 {
				return usage("--lifetime %s: give whole seconds", lifetime)
			}
			return a.serve(cmd.Context(), port, redirects, lifetime)
		},
	}
	f := cmd.Flags()
	f.IntVar(&port, "port", 8085, "`port` to listen at; 0 chooses a free one")
	f.StringArrayVar(&redirects, "redirect-uri", nil, "another `URI` that the client is registered for")
	f.DurationVar(&lifetime, "lifetime", 5*time.Minute, "`life` of access tokens and ID tokens")
	return cmd
}

// listenLocally listens at a port of 127.0.0.1, or of [::1] if this machine has no
// IPv4.
func listenLocally(port int) (net.Listener, error) {
	var failed error
	for _, ip := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		if failed == nil {
			failed = err
		}
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, failed
}

// serve runs the provider until ctx ends.
func (a *app) serve(
	ctx context.Context, port int, redirects []string, lifetime time.Duration,
) error {
	l, err := listenLocally(port)
	if err != nil {
		return fmt.Errorf("the provider cannot listen, choose another --port: %w", err)
	}
	defer l.Close()
	issuer := "http://" + l.Addr().String()
	provider, err := authserver.New(authserver.Config{
		Issuer: issuer, OpenRegistration: true,
		AccessTokenLifetime: lifetime, IDTokenLifetime: lifetime,
		Clients: []authserver.Client{{
			ID: devClient, Name: "your program",
			RedirectURIs: append([]string{
				"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback",
			}, redirects...),
		}},
	})
	if err != nil {
		return usage("%v", err)
	}
	server := &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := a.output(issuer + "\n"); err != nil {
		return err
	}
	a.console.tell("A provider for development, for this machine only. Its client ID is %s; "+
		"Ctrl-C ends it. To sign in: nativeoauth login --issuer %s --client-id %[1]s", devClient, issuer)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
