package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// identity is the client at one provider.
type identity struct {
	id     string
	auth   oauth.ClientAuth
	secret wire.Secret // of a client that registered itself; zero: none
}

// identityOf is the client as which g was obtained.
func (c *Config) identityOf(g *session.Grant) identity {
	if !g.ClientSecret.IsZero() {
		return identity{g.ClientID, oauth.ClientSecret(g.ClientSecret.Reveal()), g.ClientSecret}
	}
	return identity{id: g.ClientID, auth: c.ClientAuth.method}
}

// identify returns the client: as configured, as registered before and kept in
// store, or as registered now (RFC 7591). A registration belongs to one issuer
// (S44).
func (p *provider) identify(ctx context.Context, store tokenstore.Store, dpop bool) (identity, error) {
	id := p.cfg.ClientID
	document, supported := oauth.IsDocumentURL(id), p.doc.ClientIDMetadataDocumentSupported
	if id != "" && (!document || supported || p.cfg.Registration == nil) {
		if document && !supported {
			p.log.Warn("the provider's metadata do not say that it takes client ID metadata documents", "issuer", p.issuer)
		}
		return identity{id: id, auth: p.cfg.ClientAuth.method}, nil
	}
	if p.doc.RegistrationEndpoint == "" {
		return identity{}, unsupported("the provider has no registration_endpoint; " +
			"register the program there and set Config.ClientID")
	}
	req := p.registrationRequest(dpop)
	key := registrationKey(p.issuer, p.cfg.party())
	data, err := store.Get(ctx, key)
	if err == nil {
		var kept *oauth.RegisteredClient
		if kept, err = oauth.LoadClient(data, p.issuer, req); err == nil {
			return registered(kept), nil
		}
		p.log.Info("the client registers anew", "issuer", p.issuer, "why", err)
	} else if !errors.Is(err, tokenstore.ErrNotFound) {
		return identity{}, err
	}
	client, err := p.register(ctx, req)
	if err != nil {
		return identity{}, err
	}
	kept, err := client.Marshal(p.issuer, req)
	if err != nil {
		return identity{}, err
	}
	if err := store.Put(ctx, key, []byte(kept.Reveal())); err != nil {
		return identity{}, fmt.Errorf("the registration cannot be kept: %w", err)
	}
	return registered(client), nil
}

// registrationRequest describes the program to the provider.
func (p *provider) registrationRequest(dpop bool) oauth.RegistrationRequest {
	r := p.cfg.Registration
	req := oauth.RegistrationRequest{
		RedirectURIs: p.cfg.redirectURIs(), Scope: strings.Join(p.cfg.Scopes, " "), DPoP: dpop,
		ClientName: r.ClientName, ClientURI: r.ClientURI, LogoURI: r.LogoURI,
		SoftwareID: r.SoftwareID, SoftwareVersion: r.SoftwareVersion, Extra: r.Extra,
		GrantTypes: []string{"authorization_code", "refresh_token"},
	}
	if p.doc.DeviceAuthorizationEndpoint != "" { // there may turn out to be no browser here
		req.GrantTypes = append(req.GrantTypes, "urn:ietf:params:oauth:grant-type:device_code")
	}
	return req
}

func (p *provider) register(ctx context.Context, req oauth.RegistrationRequest) (*oauth.RegisteredClient, error) {
	var initial wire.Secret
	if ask := p.cfg.Registration.InitialAccessToken; ask != nil {
		token, err := ask(ctx)
		if err != nil {
			return nil, fmt.Errorf("the initial access token: %w", err)
		}
		initial = wire.NewSecret(token)
	}
	client, err := oauth.Register(ctx, p.fetch, p.doc.RegistrationEndpoint, req, initial)
	if err != nil {
		return nil, fromEndpoint("registration", err)
	}
	return client, nil
}

func registered(client *oauth.RegisteredClient) identity {
	id := identity{id: client.ID}
	if !client.Secret.IsZero() {
		id.secret, id.auth = client.Secret, oauth.ClientSecret(client.Secret.Reveal())
	}
	return id
}

func registrationKey(issuer, party string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + party))
	return "c1." + hex.EncodeToString(sum[:16])
}

// redirectURIs are what the flow may use. A port that is not fixed is left out: the
// provider must accept any port of a loopback address (RFC 8252 §7.3).
func (c *Config) redirectURIs() []string {
	l := c.Loopback
	if l.RedirectURI != "" {
		return []string{l.RedirectURI}
	}
	path := l.Path
	if path == "" {
		path = "/callback"
	}
	hosts := []string{"127.0.0.1", "::1"}
	if l.Localhost {
		hosts = []string{"localhost"}
	}
	port := ""
	if host, p, err := net.SplitHostPort(l.Addr); err == nil {
		if !l.Localhost {
			hosts = []string{host}
		}
		if p != "0" {
			port = p
		}
	}
	var uris []string
	for _, h := range hosts {
		u := url.URL{Scheme: "http", Host: h, Path: path}
		if strings.Contains(h, ":") {
			u.Host = "[" + h + "]"
		}
		if port != "" {
			u.Host = net.JoinHostPort(h, port)
		}
		uris = append(uris, u.String())
	}
	return uris
}
