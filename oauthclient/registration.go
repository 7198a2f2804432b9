package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
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
	method string      // how secret is sent; "": as the metadata say
	asked  bool        // Config.Workload.ClientAssertion is asked for the authentication
}

// identityOf is the client as which g was obtained.
func (c *Config) identityOf(g *session.Grant) identity {
	if !g.ClientSecret.IsZero() {
		auth := oauth.RegisteredSecret(g.ClientSecret.Reveal(), g.ClientAuth)
		return identity{id: g.ClientID, auth: auth, secret: g.ClientSecret, method: g.ClientAuth}
	}
	auth, ok := c.authAt(g.Issuer)
	return c.configured(g.ClientID, auth, ok)
}

// configured is the client id with auth, or with what the platform vouches for it
// with. ok is authAt's.
func (c *Config) configured(id string, auth oauth.ClientAuth, ok bool) identity {
	if c.Workload != nil && c.Workload.ClientAssertion != nil {
		return identity{id: id, asked: ok}
	}
	return identity{id: id, auth: auth}
}

// authAt returns the configured authentication, if issuer may have it: the program
// named that issuer, or accepts it (S44).
func (c *Config) authAt(issuer string) (auth oauth.ClientAuth, ok bool) {
	accept := c.Deviations.AcceptIssuer
	if c.issuer() != "" || !c.hasCredential() || accept != nil && accept(issuer) {
		return c.ClientAuth.method, true
	}
	return oauth.ClientAuth{}, false
}

// hasCredential reports whether c has what another server must not get.
func (c *Config) hasCredential() bool {
	return c.ClientAuth != ClientAuth{} || c.Workload != nil && c.Workload.given().ask != nil
}

// identify returns the client: as configured, as registered before and kept in
// store, or as registered now (RFC 7591). A registration belongs to one issuer
// (S44). forgotten is a client ID that the provider no longer knows; "": none.
func (p *provider) identify(ctx context.Context, store tokenstore.Store, dpop bool, forgotten string) (identity, error) {
	id := p.cfg.ClientID
	document, supported := oauth.IsDocumentURL(id), p.doc.ClientIDMetadataDocumentSupported
	if id != "" && (!document || supported || p.cfg.Registration == nil) {
		if document && !supported {
			p.log.Warn("the provider's metadata do not say that it takes client ID metadata documents", "issuer", p.issuer)
		}
		auth, ok := p.cfg.authAt(p.issuer)
		if !ok {
			return identity{}, invalid("the resource names the authorization server %s, "+
				"and Config.Deviations.AcceptIssuer does not accept it for ClientAuth", p.issuer)
		}
		return identity{id: id, auth: auth}, nil
	}
	if p.doc.RegistrationEndpoint == "" {
		return identity{}, unsupported("the provider has no registration_endpoint; " +
			"register the program there, and give its client ID")
	}
	req := p.registrationRequest(dpop)
	kept, err := p.keptClient(ctx, store, req)
	if err != nil {
		return identity{}, err
	}
	if kept != nil && kept.ID != forgotten && p.stillKnown(ctx, store, kept) {
		return registered(kept), nil
	}
	client, err := p.register(ctx, req)
	if err != nil {
		return identity{}, err
	}
	return p.keepClient(ctx, store, req, kept, client)
}

// keptClient returns the client that was registered before; nil: there is none that
// fits.
func (p *provider) keptClient(
	ctx context.Context, store tokenstore.Store, req oauth.RegistrationRequest,
) (*oauth.RegisteredClient, error) {
	data, err := store.Get(ctx, registrationKey(p.issuer, p.cfg.party()))
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return nil, nil
	case errors.Is(err, tokenstore.ErrDamaged): // or nobody could sign in any more
		p.log.Warn("the kept registration cannot be read; the client registers anew", "issuer", p.issuer, "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	kept, err := oauth.LoadClient(data, p.issuer, req)
	if err != nil {
		p.log.Info("the client registers anew", "issuer", p.issuer, "why", err)
		return nil, nil
	}
	return kept, nil
}

// keepClient keeps a new registration in place of before, unless another process has
// replaced that already: then its registration is used.
func (p *provider) keepClient(
	ctx context.Context, store tokenstore.Store, req oauth.RegistrationRequest, before, client *oauth.RegisteredClient,
) (identity, error) {
	if now, err := p.keptClient(ctx, store, req); err == nil && before != nil && now != nil && now.ID != before.ID {
		return registered(now), nil
	}
	kept, err := client.Marshal(p.issuer, req)
	if err != nil {
		return identity{}, err
	}
	key := registrationKey(p.issuer, p.cfg.party())
	if err := store.Put(ctx, key, []byte(kept.Reveal())); err != nil {
		return identity{}, fmt.Errorf("the registration cannot be kept: %w", err)
	}
	if err := store.Delete(ctx, key+doubtSuffix); err != nil {
		p.log.Info("the doubt about an earlier registration cannot be deleted", "err", err)
	}
	return registered(client), nil
}

// doubtSuffix marks a kept registration that a login failed with: the provider may
// have forgotten the client.
const doubtSuffix = ".doubt"

// stillKnown reports whether the provider knows a kept client. It is asked only if a
// login with this registration failed: an authorization endpoint that has forgotten a
// client shows a page and never redirects, so the login times out. The question is a
// refresh token that nobody issued: a provider that knows the client refuses the
// token, another refuses the client.
func (p *provider) stillKnown(ctx context.Context, store tokenstore.Store, kept *oauth.RegisteredClient) bool {
	key := registrationKey(p.issuer, p.cfg.party()) + doubtSuffix
	doubted, err := store.Get(ctx, key)
	if err != nil || string(doubted) != kept.ID {
		return true
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {random().Reveal()}}
	_, err = oauth.RequestToken(ctx, p.fetch, p.tokenRequest(registered(kept), form, oauth.DPoPKey{}))
	var refused *oauth.Error
	if errors.As(err, &refused) && refused.Code == "invalid_client" {
		p.log.Warn("the provider has forgotten this client; it registers anew", "issuer", p.issuer)
		return false
	}
	if errors.As(err, &refused) && refused.Code != "" { // it knows the client
		if err := store.Delete(ctx, key); err != nil {
			p.log.Info("the doubt about the registration cannot be deleted", "err", err)
		}
	}
	return true
}

// doubtRegistration notes that a login with a kept registration failed in a way that
// a forgotten client explains. The next login then checks the registration first.
func (l *login) doubtRegistration(ctx context.Context, err error) {
	var e *Error
	timedOut := errors.Is(err, context.DeadlineExceeded)
	unknown := errors.As(err, &e) && (e.Code == "invalid_client" || e.Code == "unauthorized_client")
	if !l.client.cfg.registered(l.identity.id) || l.identity.id == "" || !timedOut && !unknown {
		return
	}
	key := registrationKey(l.provider.issuer, l.client.cfg.party()) + doubtSuffix
	if err := l.client.store.Put(ctx, key, []byte(l.identity.id)); err != nil {
		l.client.log.Info("the doubt about the registration cannot be kept", "err", err)
	}
}

// ForgetRegistration deletes the registration that is kept for a client that
// registers itself (RFC 7591). The next login registers anew; stored sessions go on
// with the client that they were obtained as. It does nothing if
// Config.Registration is nil.
func (c *Client) ForgetRegistration(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	if c.cfg.Registration == nil || c.cfg.Workload != nil {
		return nil
	}
	t, err := c.providers.target(ctx, &LoginOptions{})
	if err != nil {
		return err
	}
	// A resource may spell the issuer with a slash that the provider does not write.
	bare := strings.TrimSuffix(t.issuer, "/")
	for _, issuer := range []string{t.issuer, bare, bare + "/"} {
		if !oauth.SameIdentifier(issuer, t.issuer) {
			continue
		}
		key := registrationKey(issuer, c.cfg.party())
		if err := c.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("the registration was not deleted: %w", err)
		}
		if err := c.store.Delete(ctx, key+doubtSuffix); err != nil {
			return err
		}
	}
	return nil
}

// registrationRequest describes the program to the provider.
func (p *provider) registrationRequest(dpop bool) oauth.RegistrationRequest {
	r := p.cfg.Registration
	req := oauth.RegistrationRequest{
		RedirectURIs: p.cfg.redirectURIs(), Scope: strings.Join(p.cfg.Scopes, " "), DPoP: dpop,
		Offered:    p.doc.TokenEndpointAuthMethodsSupported,
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
	if len(client.Dropped) > 0 {
		p.log.Warn("the provider registered only some of the redirect URIs",
			"issuer", p.issuer, "missing", client.Dropped)
	}
	if client.AuthMethod != oauth.AuthNone {
		p.log.Info("the provider registered the program with an authentication that was not asked for",
			"issuer", p.issuer, "token_endpoint_auth_method", client.AuthMethod)
	}
	return client, nil
}

func registered(client *oauth.RegisteredClient) identity {
	id := identity{id: client.ID}
	if !client.Secret.IsZero() {
		id.secret, id.method = client.Secret, client.AuthMethod
		id.auth = oauth.RegisteredSecret(client.Secret.Reveal(), client.AuthMethod)
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
	ports := []string{""}
	if host, p, err := net.SplitHostPort(l.Addr); err == nil {
		if !l.Localhost {
			hosts = []string{host}
		}
		if p != "0" {
			ports = []string{p}
		}
	}
	if l.Ports != nil {
		ports = nil
		for _, p := range l.Ports {
			ports = append(ports, strconv.Itoa(int(p)))
		}
	}
	var uris []string
	for _, port := range ports {
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
	}
	return uris
}
