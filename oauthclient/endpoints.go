package oauthclient

import (
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Endpoints describe a provider that publishes no metadata, such as GitHub. The
// program writes them down in Config.Endpoints.
//
// Issuer and Token are required. An empty URL means that the provider lacks the
// endpoint; a call that needs it then fails with [errors.ErrUnsupported]. Every
// URL has the scheme https. If Issuer is http on a loopback address, the other
// URLs may be so too.
//
// The program vouches for these servers, so they may have any address, also one
// inside a private network. Never fill Endpoints in from a document that was
// fetched: [Config].Issuer fetches it, and checks which addresses it names.
type Endpoints struct {
	Issuer        string // the issuer identifier; a name for the provider if it has none
	Authorization string // authorization endpoint (RFC 6749 §3.1)
	Token         string // token endpoint (RFC 6749 §3.2)
	JWKS          string // key set for ID tokens (RFC 7517); required for the scope openid
	Userinfo      string // UserInfo endpoint (OpenID Connect Core §5.3)
	Device        string // device authorization endpoint (RFC 8628)
	PAR           string // pushed authorization requests (RFC 9126); used if given
	Registration  string // client registration (RFC 7591)
	Revocation    string // token revocation (RFC 7009)
	Introspection string // token introspection (RFC 7662)
	EndSession    string // logout page (OpenID Connect RP-Initiated Logout)

	// S256 says that the provider verifies PKCE (RFC 7636). If false, PKCE is
	// sent to the authorization endpoint nevertheless, and a warning is logged.
	S256 bool
	// ResponseIssuer says that every authorization response carries iss
	// (RFC 9207). A response without it is then rejected. If false, iss is
	// checked only if it is there.
	ResponseIssuer bool
	// AuthMethods are the ways in which the provider authenticates a client, as
	// RFC 7591 names them: "client_secret_basic", "client_secret_post",
	// "private_key_jwt". nil means that Config.ClientAuth is used as it is, and
	// a secret is sent with HTTP Basic.
	AuthMethods []string
}

// urls names every URL of e after its field, in the order of the fields.
func (e *Endpoints) urls() []struct{ field, url string } {
	return []struct{ field, url string }{
		{"Authorization", e.Authorization},
		{"Token", e.Token},
		{"JWKS", e.JWKS},
		{"Userinfo", e.Userinfo},
		{"Device", e.Device},
		{"PAR", e.PAR},
		{"Registration", e.Registration},
		{"Revocation", e.Revocation},
		{"Introspection", e.Introspection},
		{"EndSession", e.EndSession},
	}
}

// check applies the rules for discovered metadata (RFC 8414 §2, S39) to what the
// program wrote down. config.check has checked Issuer.
func (e *Endpoints) check() error {
	if e.Token == "" {
		return wire.Field("Config.Endpoints.Token", "it is missing; give the provider's token endpoint")
	}
	local := strings.HasPrefix(strings.ToLower(e.Issuer), "http:")
	policy := wire.URLPolicy{LoopbackHTTP: local}
	for _, u := range e.urls() {
		if u.url == "" {
			continue
		}
		if _, err := policy.Parse(u.url); err != nil {
			return wire.Field("Config.Endpoints."+u.field, "%w", err)
		}
	}
	return nil
}

// metadata returns e in the form in which the flows read a provider. Lists that
// e cannot express stay nil: the provider says nothing about them.
func (e *Endpoints) metadata() *oauth.Metadata {
	m := &oauth.Metadata{
		Issuer:                                     e.Issuer,
		AuthorizationEndpoint:                      e.Authorization,
		TokenEndpoint:                              e.Token,
		JWKSURI:                                    e.JWKS,
		UserinfoEndpoint:                           e.Userinfo,
		DeviceAuthorizationEndpoint:                e.Device,
		PushedAuthorizationRequestEndpoint:         e.PAR,
		RegistrationEndpoint:                       e.Registration,
		RevocationEndpoint:                         e.Revocation,
		IntrospectionEndpoint:                      e.Introspection,
		EndSessionEndpoint:                         e.EndSession,
		TokenEndpointAuthMethodsSupported:          slices.Clone(e.AuthMethods),
		AuthorizationResponseIssParameterSupported: e.ResponseIssuer,
	}
	if e.S256 {
		m.CodeChallengeMethodsSupported = []string{"S256"}
	}
	return m
}
