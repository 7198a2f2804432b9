package oauthclient

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Config says who signs in where. [New] copies it. Only ClientID and one of Issuer, Metadata and Resources are needed.
type Config struct {
	// Issuer is the provider's issuer identifier, exactly as its metadata state it. "": Metadata's; else Resources[0] names it
	// (RFC 9728): stricter rules hold then, and ClientAuth is refused.
	Issuer string
	// ClientID is the registered client; it may be the URL of a client ID metadata document. "": Registration obtains one.
	ClientID string
	// ClientAuth is for providers that insist on a secret or key. The zero ClientAuth is a public client, as a native app is (RFC 8252 §8.4).
	ClientAuth ClientAuth
	// Registration registers the client by itself (RFC 7591) where there is no ClientID. nil: never. The result is kept in Store, under
	// SoftwareID, else ClientName: programs that share a keychain need one of them to be told apart.
	Registration *Registration
	// Metadata is for a provider without discovery. nil: discover (RFC 8414, OpenID Connect Discovery).
	Metadata *Metadata

	// TenantIssuer is for an Issuer that serves many tenants, and whose metadata state a template in its place: Entra's "common" and "organizations"
	// state "https://login.microsoftonline.com/{tenantid}/v2.0". That exact text is then taken from the metadata, and an ID token's iss must be it
	// with the token's own tid (a UUID) filled in; the program decides about tenants by the tid in [Session.Claims]. "": Issuer alone.
	TenantIssuer string

	// Scopes to ask for; "openid" brings an ID token. nil: what the resource names, where it names the issuer.
	Scopes []string
	// Resources are the APIs that tokens are for, sent as resource= (RFC 8707). A request under one of them gets its own token. nil: none.
	Resources []string
	// Origins are where HTTPClient sends tokens, as "https://api.example.com". nil: those of Resources, else any https
	// (or loopback) origin that the program itself calls; never one that a redirect leads to.
	Origins []string
	// AuthParams are more parameters for the authorization request (audience, access_type); never what the flow itself sets.
	AuthParams url.Values
	// TrustedAudiences may stand beside ClientID in an ID token's aud. nil: nobody.
	TrustedAudiences []string
	// DPoP binds tokens to a key of this session (RFC 9449). It is used unasked where the resource's metadata require it.
	DPoP bool
	// RequirePAR fails where the provider has no pushed authorization requests (RFC 9126). They are used wherever they are advertised.
	RequirePAR bool

	// Store keeps sessions. nil: the OS keychain, and no fallback.
	Store tokenstore.Store
	// UI is how the person is reached. Zero: the system's browser, and nothing else.
	UI UI
	// Loopback sets up the listener and its page. Zero: 127.0.0.1, else [::1], a free port, /callback.
	Loopback loopback.Config
	// Transport carries every request to the provider, and is HTTPClient's base: TLS and proxy are its business; redirects, limits and deadlines
	// are this package's. nil: one with proxies from the environment and TLS 1.2 or later.
	Transport http.RoundTripper
	// Logger gets what happens, without secrets. nil: silence.
	Logger *slog.Logger
	// RefreshBefore is how long before expiry a token is refreshed in the background, less jitter. 0: a tenth of the token's life, at most 5 minutes.
	RefreshBefore time.Duration
	// AssumeLifetime is the life of a token that comes without expires_in. 0: an hour.
	AssumeLifetime time.Duration
	// AllowPrivate lets an issuer that was learned from the network have a private address. An Issuer given here may always.
	AllowPrivate bool
}

// ClientAuth authenticates the client at the provider's endpoints. The zero ClientAuth is a public client. It redacts itself
// wherever it is printed. It is immutable.
type ClientAuth struct{ method oauth.ClientAuth }

// ClientSecret is for providers that insist on a secret (Google). It is sent with HTTP Basic, or in the body where only that is
// advertised. In a program that people install it is not confidential (RFC 8252 §8.5).
func ClientSecret(secret string) ClientAuth { return ClientAuth{oauth.ClientSecret(secret)} }

// PrivateKeyJWT signs an assertion with key (RFC 7523): an *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey or a signer from hardware.
// keyID is the key's kid at the provider; "" sends none.
func PrivateKeyJWT(key crypto.Signer, keyID string) ClientAuth {
	return ClientAuth{oauth.PrivateKeyJWT(key, keyID)}
}

// Format keeps every verb of fmt from printing the secret.
func (a ClientAuth) Format(f fmt.State, verb rune) { fmt.Fprint(f, "[client authentication]") }

// MarshalText keeps the secret out of JSON.
func (a ClientAuth) MarshalText() ([]byte, error) { return []byte("[client authentication]"), nil }

// LogValue keeps the secret out of logs.
func (a ClientAuth) LogValue() slog.Value { return slog.StringValue("[client authentication]") }

// Registration describes the program to a provider that registers clients by itself (RFC 7591). Redirect URIs, grant types and
// application_type are the flow's own. It is registered anew when it changes.
type Registration struct {
	ClientName, ClientURI, LogoURI, SoftwareID, SoftwareVersion string
	// InitialAccessToken authorizes the registration where the provider wants that. nil: none.
	InitialAccessToken func(context.Context) (string, error)
	// Extra are more members of the request; never what the flow sets.
	Extra map[string]any
}

// flowParams are set by the flow; AuthParams may not touch them.
var flowParams = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"response_mode", "request", "request_uri", "resource", "dpop_jkt", "code", "code_verifier", "client_secret", "grant_type",
	"client_assertion", "client_assertion_type", "refresh_token", "acr_values", "max_age",
}

func checkAuthParams(p url.Values) error {
	for name := range p {
		if slices.Contains(flowParams, name) {
			return fmt.Errorf("%q is set by the flow itself; remove it", name)
		}
	}
	return nil
}

// check validates what can be validated without I/O.
func (c *Config) check() error {
	issuer := c.Issuer
	if c.Metadata != nil {
		if issuer == "" {
			issuer = c.Metadata.Issuer
		}
		if issuer != c.Metadata.Issuer {
			return fmt.Errorf("Config.Issuer and Config.Metadata.Issuer differ; make them equal")
		}
	}
	switch {
	case issuer == "" && len(c.Resources) == 0:
		return wire.Field("Config.Issuer", "it is missing; give the provider's issuer URL")
	case issuer == "" && c.ClientAuth != ClientAuth{}:
		return wire.Field("Config.ClientAuth",
			"it needs an issuer: a secret is only sent to a provider that was named beforehand")
	case c.ClientID == "" && c.Registration == nil:
		return wire.Field("Config.ClientID", "it is missing; give the client ID that the provider registered")
	}
	if oauth.IsDocumentURL(c.ClientID) {
		if err := oauth.CheckDocumentURL(c.ClientID); err != nil {
			return wire.Field("Config.ClientID", "%w", err)
		}
	}
	if err := c.ClientAuth.method.Check(); err != nil {
		return wire.Field("Config.ClientAuth", "%w", err)
	}
	loopbackHTTP := wire.URLPolicy{LoopbackHTTP: true}
	if issuer != "" {
		u, err := loopbackHTTP.Parse(issuer)
		if err != nil {
			return wire.Field("Config.Issuer", "%w", err)
		}
		if u.RawQuery != "" || u.ForceQuery {
			return wire.Field("Config.Issuer", "an issuer has no query (RFC 8414 §2)")
		}
	}
	if c.TenantIssuer != "" {
		if err := checkTenantIssuer(issuer, c.TenantIssuer); err != nil {
			return wire.Field("Config.TenantIssuer", "%w", err)
		}
	}
	for _, s := range c.Scopes {
		if err := checkScope(s); err != nil {
			return wire.Field("Config.Scopes", "%w", err)
		}
	}
	for _, r := range c.Resources {
		if _, err := loopbackHTTP.Parse(r); err != nil {
			return wire.Field("Config.Resources", "%w", err)
		}
	}
	for _, o := range c.Origins {
		u, err := loopbackHTTP.Parse(o)
		if err != nil {
			return wire.Field("Config.Origins", "%w", err)
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return wire.Field("Config.Origins", "%q has a path; give the origin alone", o)
		}
	}
	if err := checkAuthParams(c.AuthParams); err != nil {
		return wire.Field("Config.AuthParams", "%w", err)
	}
	if c.RefreshBefore < 0 {
		return wire.Field("Config.RefreshBefore", "it cannot be negative")
	}
	if c.AssumeLifetime < 0 {
		return wire.Field("Config.AssumeLifetime", "it cannot be negative")
	}
	return nil
}

// checkTenantIssuer takes an issuer at the same origin with the tenant as one segment of its path: whoever could fill in more could name any issuer.
func checkTenantIssuer(issuer, template string) error {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(template)
	if err != nil {
		return err
	}
	of, err := url.Parse(issuer)
	switch {
	case err != nil || issuer == "" || wire.Origin(of) != wire.Origin(u):
		return errors.New("it is at another origin than the issuer")
	case strings.Count(template, "{tenantid}") != 1 || !strings.Contains(u.Path+"/", "/{tenantid}/") || u.RawQuery != "" || u.ForceQuery:
		return errors.New("it needs {tenantid} once, as a whole segment of its path")
	}
	return nil
}

// checkScope accepts a scope-token (RFC 6749 §3.3).
func checkScope(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }) {
		return fmt.Errorf("%q is not one scope; give each scope separately, without spaces or quotes", s)
	}
	return nil
}

func (c Config) clone() Config {
	c.Scopes = slices.Clone(c.Scopes)
	c.Resources = slices.Clone(c.Resources)
	c.Origins = slices.Clone(c.Origins)
	c.TrustedAudiences = slices.Clone(c.TrustedAudiences)
	c.AuthParams = cloneValues(c.AuthParams)
	if c.Registration != nil {
		r := *c.Registration
		r.Extra = maps.Clone(r.Extra)
		c.Registration = &r
	}
	if c.Metadata != nil {
		m := *c.Metadata
		c.Metadata = &m
	}
	c.Loopback.Page.Logo = slices.Clone(c.Loopback.Page.Logo)
	return c
}

func cloneValues(v url.Values) url.Values {
	if v == nil {
		return nil
	}
	out := make(url.Values, len(v))
	for k, vs := range v {
		out[k] = slices.Clone(vs)
	}
	return out
}
