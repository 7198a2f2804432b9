// Agent shows how a fleet of machines shares one session. Many agents call an API
// as one service account. A user signs in once, on any machine. When the access
// token expires, one agent refreshes it for all.
//
//	agent -login …   # once; shows a code to enter on any device
//	agent …          # on every machine
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/nativeoauth/nativeoauth/examples/etcdstore"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

type options struct {
	endpoints, ca, cert, certKey string
	sealKey                      string
	issuer, clientID, api        string
	login                        bool
	every                        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.endpoints, "etcd", "",
		"the cluster's `addresses`, separated by commas: https://etcd-1:2379,…")
	flag.StringVar(&o.ca, "ca", "", "`file` with the CA certificate of the cluster")
	flag.StringVar(&o.cert, "cert", "", "`file` with this machine's certificate for the cluster")
	flag.StringVar(&o.certKey, "cert-key", "", "`file` with the private key of -cert")
	flag.StringVar(&o.sealKey, "key", "",
		"`file` with the key that seals the session, the same on all machines (mode 0600); "+
			"make it with: openssl rand -base64 32")
	flag.StringVar(&o.issuer, "issuer", "", "issuer `URL` of the authorization server")
	flag.StringVar(&o.clientID, "client", "", "client `id` at the authorization server")
	flag.StringVar(&o.api, "api", "", "`URL` to call")
	flag.BoolVar(&o.login, "login", false,
		"sign in for all agents, with a code on another device")
	flag.DurationVar(&o.every, "every", 0, "call the API again after this `time`; 0: once only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out, log io.Writer) error {
	if o.endpoints == "" || o.sealKey == "" || o.issuer == "" || o.clientID == "" || o.api == "" {
		return errors.New("-etcd, -key, -issuer, -client and -api are required; see -help")
	}
	certs, err := o.tls()
	if err != nil {
		return err
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(o.endpoints, ","), TLS: certs, Logger: zap.NewNop(),
		DialTimeout: 5 * time.Second,
		// These make the client leave a node that hangs.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	key, err := tokenstore.ReadKey(o.sealKey)
	if err != nil {
		return err
	}
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: o.issuer, ClientID: o.clientID, Scopes: []string{"offline_access"},
		Store:  tokenstore.Seal(&etcdstore.Store{Client: etcd}, key),
		UI:     oauthclient.TerminalUI(log, nil),
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	// Close finishes a refresh that is under way. It runs before the connection to etcd
	// is closed.
	defer func() { _ = client.Close() }()

	session, err := client.Session(ctx, "")
	if o.login {
		session, err = client.Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	}
	if errors.Is(err, oauthclient.ErrLoginRequired) {
		return fmt.Errorf("%w (run one agent with -login)", err)
	}
	if err != nil {
		return err
	}
	for {
		if err := call(ctx, session.HTTPClient(), o.api, out); err != nil || o.every == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.every):
		}
	}
}

func call(ctx context.Context, client *http.Client, api string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answers %s", resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

// tls returns nil if no certificate is given. The addresses then tell whether TLS
// is used.
func (o options) tls() (*tls.Config, error) {
	if o.ca == "" && o.cert == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca: there is no certificate in %q", o.ca)
		}
	}
	if o.cert != "" {
		cert, err := tls.LoadX509KeyPair(o.cert, o.certKey)
		if err != nil {
			return nil, fmt.Errorf("-cert and -cert-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
