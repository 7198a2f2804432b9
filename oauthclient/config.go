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

// Config describes the provider, the client and the program. [New] copies it.
//
// Required are one of Issuer, Endpoints and Resources, and one of ClientID and
// Registration. The zero value of every other field is a default that suits most
// programs.
type Config struct {
	// Issuer is the provider's issuer identifier, exactly as its metadata state
	// it. The metadata are fetched from it (RFC 8414, OpenID Connect Discovery).
	//
	// If it is "", Endpoints.Issuer is taken. If there are no Endpoints either,
	// Resources[0] names the issuer (RFC 9728); stricter rules hold then, and
	// ClientAuth and Workload need Deviations.AcceptIssuer.
	Issuer string
	// Endpoints describe a provider without metadata; nothing is fetched then.
	// nil: the metadata are fetched.
	Endpoints *Endpoints
	// TenantIssuer is for an Issuer that serves many tenants. Its metadata state
	// a template in place of the issuer; Entra's "common" and "organizations"
	// state "https://login.microsoftonline.com/{tenantid}/v2.0". Set exactly that
	// text. An ID token's iss must then be the template with the token's own tid,
	// a UUID, filled in. The program decides which tenants it admits, by the tid
	// in [Session.Claims]. "": only Issuer itself.
	TenantIssuer string

	// ClientID is the ID of the registered client. It may be the URL of a client
	// ID metadata document. "": Registration obtains an ID.
	ClientID string
	// ClientAuth is for providers that require a secret or a key. Zero: a public
	// client, which is right for a native app (RFC 8252 §8.4).
	ClientAuth ClientAuth
	// Registration registers the client at the provider (RFC 7591) if ClientID is
	// "". nil: never. The result is kept in Store under SoftwareID, or under
	// ClientName if that is "". Programs that share a keychain must differ in it.
	Registration *Registration

	// Workload makes the program get tokens for itself, without a user: in a CI job, a
	// cluster or a service. Store, UI and Registration are not used then, and no browser
	// is opened. Of Scopes, "openid" and "offline_access" are left out, since they are
	// about a user. nil: a user signs in.
	Workload *Workload

	// IdentityProvider is the user's session at the company's identity provider, which
	// decides what the user may do here (enterprise-managed authorization,
	// draft-ietf-oauth-identity-assertion-authz-grant). Its ID token is exchanged there
	// for an assertion, and that here for access tokens, for each resource, without the
	// user. The ID token goes to its own issuer only. ClientID and ClientAuth are those
	// at the resource's authorization server. Store, UI and Registration are not used,
	// and Login is an error. An error that matches ErrLoginRequired means that the user
	// must sign in at the identity provider, with its own Client; this session goes on
	// then. nil: the user signs in here.
	IdentityProvider *Session

	// Scopes are requested at every login. "openid" brings an ID token, and
	// "offline_access" a refresh token at many providers. nil: the scopes that
	// Resources[0] names in its metadata, if those name the issuer too.
	Scopes []string
	// Resources are the APIs that tokens are for. They are sent as resource
	// (RFC 8707), and a request to a URL under one of them carries a token of its
	// own. nil: none.
	Resources []string
	// Origins are the servers that HTTPClient sends tokens to, each as
	// "https://api.example.com". nil: the origins of Resources. If there are no
	// Resources either, any https or loopback origin that the program itself
	// calls, but none that a redirect leads to.
	Origins []string
	// AuthParams are additional parameters of the authorization request, such as
	// audience or access_type. A parameter that the flow itself sets is an error.
	AuthParams url.Values
	// TokenParams are additional parameters of every token request: with a code,
	// a device code or a refresh token. A parameter that the flow itself sets is
	// an error. nil: none.
	TokenParams url.Values
	// TrustedAudiences may stand beside ClientID in an ID token's aud. nil: none.
	TrustedAudiences []string
	// DPoP binds tokens to a key of the session (RFC 9449). It is used even if
	// false when the metadata of a resource require it.
	DPoP bool
	// RequirePAR makes a login fail if the provider does not offer pushed
	// authorization requests (RFC 9126). They are used if offered in any case.
	RequirePAR bool

	// Store keeps the sessions. nil: the keychain of the operating system. There
	// is no fallback if the keychain is missing.
	Store tokenstore.Store
	// UI reaches the user. Zero: it opens the system's browser and does nothing
	// else.
	UI UI
	// Loopback configures the listener that receives the authorization response,
	// and its page. Zero: 127.0.0.1, else [::1], at a free port, path /callback.
	Loopback loopback.Config
	// Transport carries every request to the provider, and is the base of
	// HTTPClient. It decides about TLS and proxies. This package decides about
	// redirects, limits and deadlines. nil: proxies come from the environment,
	// and TLS 1.2 or later is required.
	Transport http.RoundTripper
	// Logger receives what happens, without secrets. nil: nothing is logged. These
	// records have an attribute "event": "login", "refresh", "adopt" (the tokens of
	// another process are used), "refresh_failed", "session_ended" (once, and not on
	// every call), "logout", and "workload" (once for a session without a user, with
	// its "grant"). They have "account", too. Other records may change.
	Logger *slog.Logger
	// RefreshBefore is how long before its expiry a token is refreshed in the
	// background, at most half the token's life. A random part of it is
	// subtracted, so that processes do not refresh at once. 0: a tenth of the
	// token's life, at most 5 minutes.
	RefreshBefore time.Duration
	// AssumeLifetime is the life of a token that comes without expires_in.
	// 0: one hour.
	AssumeLifetime time.Duration
	// Deviations are concessions to a provider that bends the specifications.
	// Zero: none is made.
	Deviations Deviations
	// AllowPrivate accepts private addresses from the network: for an issuer that
	// a resource names, and for the endpoints that an issuer's metadata name. A
	// provider can then make the program send requests inside the user's network.
	// If it is false, only Issuer, Resources[0] and Endpoints may have a private
	// address, and a private Issuer may name others. A resource on this machine may
	// name an issuer on this machine in any case.
	AllowPrivate bool
}

// Deviations are concessions to a provider. The zero Deviations makes none. Each
// field says what is given up. Concessions that cost no security are made without
// being asked for; docs/providers.md lists them all.
type Deviations struct {
	// AllowMissingNonce accepts an ID token without the nonce that was sent, as
	// LinkedIn's. The replay protection of the ID token is given up; PKCE still
	// protects the code. A nonce of another login is rejected all the same.
	AllowMissingNonce bool
	// AcceptAudiences decides about an ID token with audiences besides the client
	// and TrustedAudiences, which it gets. It is for a provider whose list grows,
	// as ZITADEL's with every project. If it returns true for a list that the
	// program does not know, another client's tokens may be accepted. The client
	// itself must be an audience in any case. It may be called by several
	// goroutines at once. nil: such a token is rejected.
	AcceptAudiences func(others []string) bool
	// MetadataURL is the place of the metadata, for a provider that publishes them
	// apart from its issuer, as Azure AD B2C. It is the only place that is asked.
	// The document's issuer must be Config.Issuer all the same. Given up is that
	// the issuer's own host vouches for the document; the host of MetadataURL
	// does. "": the well-known places of the issuer.
	MetadataURL string
	// AcceptIssuer decides whether an issuer that Resources[0] names gets ClientAuth,
	// or what Workload's function returns.
	// It is for a secret that was registered beforehand, at a provider with an issuer
	// that the program does not know. If it returns true for just any issuer, anybody
	// in control of the resource can collect the secret. If it
	// returns false, a login fails, and a stored session of that issuer is used
	// without ClientAuth. It is called before each use, and may be called by several
	// goroutines at once. nil: ClientAuth or such a function without Issuer is an error.
	AcceptIssuer func(issuer string) bool
	// RawBasicAuth sends client ID and secret as they are in HTTP Basic, without
	// the form encoding of RFC 6749 §2.3.1. Nothing is given up. A provider that
	// decodes them would see another secret.
	RawBasicAuth bool
}

// ClientAuth authenticates the client to the provider. The zero ClientAuth is a
// public client. A ClientAuth is immutable, and every form in which it can be
// printed hides the secret.
type ClientAuth struct{ method oauth.ClientAuth }

// ClientSecret authenticates with a secret, for providers that require one of
// native apps, such as Google. It is sent with HTTP Basic, or in the body if the
// provider offers only that. In a program that users install it is not
// confidential (RFC 8252 §8.5). "" gives the zero ClientAuth.
func ClientSecret(secret string) ClientAuth { return ClientAuth{oauth.ClientSecret(secret)} }

// ClientSecretPost is [ClientSecret] for a provider that takes the secret only in
// the body, though its metadata do not say so. "" gives the zero ClientAuth.
func ClientSecretPost(secret string) ClientAuth {
	return ClientAuth{oauth.RegisteredSecret(secret, oauth.AuthPost)}
}

// PrivateKeyJWT authenticates with an assertion signed by key (RFC 7523). key is
// an *rsa.PrivateKey of 2048 bits or more, an *ecdsa.PrivateKey, an
// ed25519.PrivateKey, or a signer in hardware with such a public key; [New]
// rejects any other. keyID is the kid of the key at the provider; if it is "",
// none is sent.
func PrivateKeyJWT(key crypto.Signer, keyID string) ClientAuth {
	return ClientAuth{oauth.PrivateKeyJWT(key, keyID)}
}

// Format implements [fmt.Formatter]. No verb prints the secret.
func (a ClientAuth) Format(f fmt.State, verb rune) { fmt.Fprint(f, "[client authentication]") }

// MarshalText implements [encoding.TextMarshaler], and so JSON, without the secret.
func (a ClientAuth) MarshalText() ([]byte, error) { return []byte("[client authentication]"), nil }

// LogValue implements [slog.LogValuer] without the secret.
func (a ClientAuth) LogValue() slog.Value { return slog.StringValue("[client authentication]") }

// Registration describes the program to a provider that registers clients
// dynamically (RFC 7591). The flow itself sets redirect URIs, grant types and
// application_type. If Registration changes, the client is registered again.
type Registration struct {
	// ClientName is the program's name, which the provider shows to the user.
	ClientName string
	// ClientURI and LogoURI are the program's home page and logo. "": none.
	ClientURI, LogoURI string
	// SoftwareID names the program in all its versions, and SoftwareVersion one
	// of them. "": none is sent. See Config.Registration.
	SoftwareID, SoftwareVersion string
	// InitialAccessToken returns the token that authorizes the registration at a
	// provider that requires one. nil: no token is sent.
	InitialAccessToken func(context.Context) (string, error)
	// Extra are additional members of the request. One that the flow sets is an
	// error.
	Extra map[string]any
}

// flowParams are the parameters that the flow sets. AuthParams and TokenParams may
// not replace them, because the checks of the response rely on them.
var flowParams = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
	"code_challenge_method", "response_mode", "request", "request_uri", "resource", "dpop_jkt",
	"code", "code_verifier", "client_secret", "grant_type", "client_assertion",
	"client_assertion_type", "refresh_token", "device_code", "acr_values", "max_age",
	"assertion", "subject_token", "subject_token_type", "requested_token_type",
}

// checkAuthParams is also for LoginOptions: its error names only the parameter.
func checkAuthParams(p url.Values) error {
	for name := range p {
		if slices.Contains(flowParams, name) {
			return fmt.Errorf("%q is set by the flow itself; remove it", name)
		}
	}
	return nil
}

// check reports the first error in c that can be found without I/O. Its messages
// name the field.
func (c *Config) check() error {
	issuer := c.Issuer
	if c.Endpoints != nil {
		if issuer == "" {
			issuer = c.Endpoints.Issuer
		}
		if issuer != c.Endpoints.Issuer {
			return wire.Field("Config.Issuer", "it and Config.Endpoints.Issuer differ; make them equal")
		}
	}
	if err := c.checkProvider(issuer); err != nil {
		return err
	}
	if err := c.checkClient(issuer); err != nil {
		return err
	}
	if err := c.checkRequest(); err != nil {
		return err
	}
	if c.RefreshBefore < 0 || c.AssumeLifetime < 0 {
		return wire.Field("Config.RefreshBefore", "it and Config.AssumeLifetime cannot be negative")
	}
	return nil
}

// localURL accepts https, and http on a loopback address.
var localURL = wire.URLPolicy{LoopbackHTTP: true}

// checkProvider checks what names the provider. issuer is "" if a resource names
// it.
func (c *Config) checkProvider(issuer string) error {
	if issuer == "" {
		if len(c.Resources) == 0 {
			return wire.Field("Config.Issuer", "it is missing; give the provider's issuer URL")
		}
	} else {
		u, err := localURL.Parse(issuer)
		if err != nil {
			return wire.Field("Config.Issuer", "%w", err)
		}
		if u.RawQuery != "" || u.ForceQuery {
			return wire.Field("Config.Issuer", "an issuer has no query (RFC 8414 §2)")
		}
	}
	if c.Endpoints != nil {
		if err := c.Endpoints.check(); err != nil {
			return err
		}
	}
	if place := c.Deviations.MetadataURL; place != "" {
		if _, err := localURL.Parse(place); err != nil {
			return wire.Field("Config.Deviations.MetadataURL", "%w", err)
		}
		if c.Issuer == "" || c.Endpoints != nil {
			return wire.Field("Config.Deviations.MetadataURL",
				"it needs Config.Issuer, and no Config.Endpoints")
		}
	}
	if c.TenantIssuer != "" {
		if err := checkTenantIssuer(issuer, c.TenantIssuer); err != nil {
			return wire.Field("Config.TenantIssuer", "%w", err)
		}
	}
	return nil
}

// checkClient checks what identifies and authenticates the client.
func (c *Config) checkClient(issuer string) error {
	switch {
	case issuer == "" && c.ClientAuth != ClientAuth{} && c.Deviations.AcceptIssuer == nil:
		return wire.Field("Config.ClientAuth",
			"it needs an issuer: a secret is only sent to a provider that was named beforehand")
	case c.IdentityProvider != nil:
		if err := c.checkIdentityProvider(); err != nil {
			return err
		}
	case c.Workload != nil:
		if err := c.checkWorkload(issuer); err != nil {
			return err
		}
	case c.ClientID == "" && c.Registration == nil:
		return wire.Field("Config.ClientID",
			"it is missing; give the client ID that the provider registered")
	}
	if oauth.IsDocumentURL(c.ClientID) {
		if err := oauth.CheckDocumentURL(c.ClientID); err != nil {
			return wire.Field("Config.ClientID", "%w", err)
		}
	}
	if err := c.ClientAuth.method.Check(); err != nil {
		return wire.Field("Config.ClientAuth", "%w", err)
	}
	return nil
}

// checkRequest checks what a login requests, and the servers that its tokens are
// for.
func (c *Config) checkRequest() error {
	for _, s := range c.Scopes {
		if err := checkScope(s); err != nil {
			return wire.Field("Config.Scopes", "%w", err)
		}
	}
	for _, r := range c.Resources {
		if _, err := localURL.Parse(r); err != nil {
			return wire.Field("Config.Resources", "%w", err)
		}
	}
	for _, o := range c.Origins {
		u, err := localURL.Parse(o)
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
	if err := checkAuthParams(c.TokenParams); err != nil {
		return wire.Field("Config.TokenParams", "%w", err)
	}
	return nil
}

// checkTenantIssuer accepts a template at the origin of issuer, with the tenant
// as one whole segment of its path. A tenant that could fill in more than a
// segment could name any issuer.
func checkTenantIssuer(issuer, template string) error {
	u, err := localURL.Parse(template)
	if err != nil {
		return err
	}
	of, err := url.Parse(issuer)
	if err != nil || issuer == "" || wire.Origin(of) != wire.Origin(u) {
		return errors.New("it is at another origin than the issuer")
	}
	const tenant = "{tenantid}"
	segment := strings.Count(template, tenant) == 1 && strings.Contains(u.Path+"/", "/"+tenant+"/")
	if !segment || u.RawQuery != "" || u.ForceQuery {
		return errors.New("it needs {tenantid} once, as a whole segment of its path")
	}
	return nil
}

// checkScope accepts a scope-token (RFC 6749 §3.3).
func checkScope(s string) error {
	outside := func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }
	if s == "" || strings.ContainsFunc(s, outside) {
		return fmt.Errorf("%q is not one scope; "+
			"give each scope separately, without spaces or quotes", s)
	}
	return nil
}

// clone copies everything that c refers to and that a check has seen: a program
// that changes its Config afterwards must not get around the checks.
func (c Config) clone() Config {
	c.Scopes = slices.Clone(c.Scopes)
	c.Resources = slices.Clone(c.Resources)
	c.Origins = slices.Clone(c.Origins)
	c.TrustedAudiences = slices.Clone(c.TrustedAudiences)
	c.AuthParams, c.TokenParams = cloneValues(c.AuthParams), cloneValues(c.TokenParams)
	if c.Registration != nil {
		r := *c.Registration
		r.Extra = maps.Clone(r.Extra)
		c.Registration = &r
	}
	if c.Endpoints != nil {
		e := *c.Endpoints
		e.AuthMethods = slices.Clone(e.AuthMethods)
		c.Endpoints = &e
	}
	if c.Workload != nil {
		w := *c.Workload
		c.Workload = &w
	}
	c.Loopback.Ports = slices.Clone(c.Loopback.Ports)
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
