package oauthclient

import (
	"context"
	"slices"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Metadata is what a provider says about itself (RFC 8414 §2, OpenID Connect
// Discovery §3), for a program that adapts to the provider. [Client.Metadata]
// fetches it.
//
// It is for reading only. A document from the network cannot become
// configuration, because a provider could then make the program call servers
// inside the user's network (S43). Write [Endpoints] for a provider that
// publishes no metadata.
//
// An empty string means that the provider does not name the endpoint. A nil list
// means that it says nothing about the subject.
type Metadata struct {
	Issuer                             string // Config.Issuer, also with TenantIssuer
	AuthorizationEndpoint              string // RFC 6749 §3.1; opened in the browser
	TokenEndpoint                      string // RFC 6749 §3.2
	JWKSURI                            string // the keys of ID tokens (RFC 7517)
	UserinfoEndpoint                   string // OpenID Connect Core §5.3; see Session.UserInfo
	DeviceAuthorizationEndpoint        string // RFC 8628; FlowDevice needs it
	PushedAuthorizationRequestEndpoint string // RFC 9126; Config.RequirePAR needs it
	RegistrationEndpoint               string // RFC 7591; Config.Registration needs it
	RevocationEndpoint                 string // RFC 7009; without it Logout returns ErrNotRevoked
	IntrospectionEndpoint              string // RFC 7662; Session.Introspect needs it
	EndSessionEndpoint                 string // LogoutOptions.EndSession needs it

	// ScopesSupported are scopes that a program may request. A provider may know
	// more than it lists.
	ScopesSupported []string
	// ACRValuesSupported are values for LoginOptions.ACRValues.
	ACRValuesSupported []string
	// DPoPSigningAlgValuesSupported is nil if the provider does not offer DPoP
	// (RFC 9449). Config.DPoP needs "ES256" in it.
	DPoPSigningAlgValuesSupported []string
	// AuthorizationResponseIssParameterSupported says that responses carry iss
	// (RFC 9207). One without iss is then rejected.
	AuthorizationResponseIssParameterSupported bool

	raw []byte // the document as it was sent; nil for Config.Endpoints
}

// Metadata returns the provider's metadata. They are fetched and checked with the
// first use and kept for 24 hours. If a later fetch fails, the earlier metadata
// are used.
//
// With [Config].Endpoints it returns what the program wrote down, without a
// request. Errors are those of a login before the browser opens:
// [ErrInvalidResponse] for a document that fails a check, [os.ErrClosed] after
// [Client.Close]; any other is a failure of the network. The result is a copy.
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	t, err := c.providers.target(ctx, &LoginOptions{})
	if err != nil {
		return nil, err
	}
	p, err := c.providers.get(ctx, t.issuer)
	if err != nil {
		return nil, err
	}
	return published(p.doc), nil
}

// published copies what programs read of d. The lists are copies, too: d is
// shared by all logins and refreshes of the client.
func published(d *oauth.Metadata) *Metadata {
	return &Metadata{
		Issuer:                                     d.Issuer,
		AuthorizationEndpoint:                      d.AuthorizationEndpoint,
		TokenEndpoint:                              d.TokenEndpoint,
		JWKSURI:                                    d.JWKSURI,
		UserinfoEndpoint:                           d.UserinfoEndpoint,
		DeviceAuthorizationEndpoint:                d.DeviceAuthorizationEndpoint,
		PushedAuthorizationRequestEndpoint:         d.PushedAuthorizationRequestEndpoint,
		RegistrationEndpoint:                       d.RegistrationEndpoint,
		RevocationEndpoint:                         d.RevocationEndpoint,
		IntrospectionEndpoint:                      d.IntrospectionEndpoint,
		EndSessionEndpoint:                         d.EndSessionEndpoint,
		ScopesSupported:                            slices.Clone(d.ScopesSupported),
		ACRValuesSupported:                         slices.Clone(d.ACRValuesSupported),
		DPoPSigningAlgValuesSupported:              slices.Clone(d.DPoPSigningAlgValuesSupported),
		AuthorizationResponseIssParameterSupported: d.AuthorizationResponseIssParameterSupported,
		raw: d.Raw,
	}
}

// Claims decodes the whole document into v, a pointer to a struct or map, for
// members that Metadata has no field for:
//
//	var more struct {
//		Prompts []string `json:"prompt_values_supported"`
//	}
//	err := metadata.Claims(&more)
//
// Names match exactly. These members are not checked: do not call a URL from
// them without checks of your own. The error matches [errors.ErrUnsupported] if
// there is no document because the program wrote [Config].Endpoints, and
// [ErrInvalidResponse] if a value does not fit v.
func (m *Metadata) Claims(v any) error {
	if m.raw == nil {
		return unsupported("the provider's metadata were not fetched; they are Config.Endpoints")
	}
	if err := wire.UnmarshalJSON(m.raw, v); err != nil {
		return invalid("the provider's metadata: %w", err)
	}
	return nil
}
