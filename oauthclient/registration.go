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

// identity is who the client is at one provider.
type identity struct {
	id     string
	auth   oauth.ClientAuth
	secret wire.Secret // of a client that registered itself
}

// identityOf is who the client was when it got g.
func (c *Client) identityOf(g *session.Grant) identity {
	if !g.ClientSecret.IsZero() {
		return identity{g.ClientID, oauth.ClientSecret(g.ClientSecret.Reveal()), g.ClientSecret}
	}
	return identity{id: g.ClientID, auth: c.cfg.ClientAuth.method}
}

// identify returns who the client is at p: as configured, as registered before, or as registered now (S44: by issuer).
func (c *Client) identify(ctx context.Context, p *provider, dpop bool) (identity, error) {
	id := c.cfg.ClientID
	if id != "" && (!oauth.IsDocumentURL(id) || p.doc.ClientIDMetadataDocumentSupported || c.cfg.Registration == nil) {
		if oauth.IsDocumentURL(id) && !p.doc.ClientIDMetadataDocumentSupported {
			c.log.Warn("the provider's metadata do not say that it takes client ID metadata documents", "issuer", p.issuer)
		}
		return identity{id: id, auth: c.cfg.ClientAuth.method}, nil
	}
	if p.doc.RegistrationEndpoint == "" {
		return identity{}, unsupported("the provider has no registration_endpoint; register the program there, and give its client ID")
	}
	r := c.cfg.Registration
	req := oauth.RegistrationRequest{
		RedirectURIs: c.redirectURIs(), Scope: strings.Join(c.cfg.Scopes, " "), DPoP: dpop,
		ClientName: r.ClientName, ClientURI: r.ClientURI, LogoURI: r.LogoURI, SoftwareID: r.SoftwareID, SoftwareVersion: r.SoftwareVersion,
		Extra: r.Extra, GrantTypes: []string{"authorization_code", "refresh_token"},
	}
	if p.doc.DeviceAuthorizationEndpoint != "" { // the person may turn out to have no browser here
		req.GrantTypes = append(req.GrantTypes, "urn:ietf:params:oauth:grant-type:device_code")
	}
	key := registrationKey(p.issuer, c.party())
	data, err := c.store.Get(ctx, key)
	if err == nil {
		var kept *oauth.RegisteredClient
		if kept, err = oauth.LoadClient(data, p.issuer, req); err == nil {
			return registered(kept), nil
		}
		c.log.Info("the client registers anew", "issuer", p.issuer, "why", err)
	} else if !errors.Is(err, tokenstore.ErrNotFound) {
		return identity{}, err
	}
	var initial wire.Secret
	if r.InitialAccessToken != nil {
		token, err := r.InitialAccessToken(ctx)
		if err != nil {
			return identity{}, fmt.Errorf("the initial access token: %w", err)
		}
		initial = wire.NewSecret(token)
	}
	client, err := oauth.Register(ctx, p.fetch, p.doc.RegistrationEndpoint, req, initial)
	if err != nil {
		return identity{}, fromEndpoint("registration", err)
	}
	kept, err := client.Marshal(p.issuer, req)
	if err != nil {
		return identity{}, err
	}
	if err := c.store.Put(ctx, key, []byte(kept.Reveal())); err != nil {
		return identity{}, fmt.Errorf("the registration cannot be kept: %w", err)
	}
	return registered(client), nil
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

// redirectURIs are what the flow may use: any port of a loopback address (RFC 8252 §7.3) is left out where it is not fixed.
func (c *Client) redirectURIs() []string {
	l := c.cfg.Loopback
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
