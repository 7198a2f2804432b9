package oauthclient

import (
	"context"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/jwks"
	"github.com/nativeoauth/nativeoauth/internal/metadata"
)

// provider is what is known of the authorization server: its metadata and its keys.
type provider struct {
	doc     *metadata.Document
	keys    *jwks.Cache // nil: the metadata name none
	fetched time.Time
}

// providerAge is how long metadata are trusted without another look.
const providerAge = 24 * time.Hour

// discovery fetches the metadata once for all who ask.
type discovery struct {
	mu      sync.Mutex // held while fetching: the others wait for the same answer
	current *provider
}

func (c *Client) provider(ctx context.Context) (*provider, error) {
	c.discovery.mu.Lock()
	defer c.discovery.mu.Unlock()
	p := c.discovery.current
	if p != nil && (c.cfg.Metadata != nil || time.Since(p.fetched) < providerAge) {
		return p, nil
	}
	doc, err := c.discover(ctx)
	if err != nil {
		if p != nil && ctx.Err() == nil {
			c.log.Warn("the provider's metadata cannot be renewed; going on with the earlier ones", "err", err)
			return p, nil
		}
		return nil, err
	}
	next := &provider{doc: doc, fetched: time.Now()}
	switch {
	case p != nil && p.doc.JWKSURI == doc.JWKSURI:
		next.keys = p.keys // with its limit on refetches
	case doc.JWKSURI != "":
		next.keys = jwks.New(c.fetch, doc.JWKSURI)
	}
	c.discovery.current = next
	return next, nil
}

func (c *Client) discover(ctx context.Context) (*metadata.Document, error) {
	if c.cfg.Metadata != nil {
		doc := metadata.Document(*c.cfg.Metadata)
		if err := doc.Check(c.issuer); err != nil {
			return nil, invalid("Config.Metadata: %w", err)
		}
		return &doc, nil
	}
	doc, err := metadata.Discover(ctx, c.fetch, c.issuer, metadata.Options{OpenID: c.openID()})
	if err != nil {
		return nil, fromMetadata(err)
	}
	return doc, nil
}

// Metadata returns what the provider says about itself, fetched and checked once and kept for a day.
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	m := Metadata(*p.doc)
	return &m, nil
}

// Metadata is what an authorization server says about itself (RFC 8414 §2, OpenID Connect Discovery §3). For Config.Metadata, fill in
// Issuer, AuthorizationEndpoint, TokenEndpoint, and what else the program uses.
type Metadata struct {
	// RFC 8414 §2, OpenID Connect Discovery §3.
	Issuer                                     string   `json:"issuer,omitempty"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                              string   `json:"token_endpoint,omitempty"`
	JWKSURI                                    string   `json:"jwks_uri,omitempty"`
	RegistrationEndpoint                       string   `json:"registration_endpoint,omitempty"`
	ScopesSupported                            []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported                     []string `json:"response_types_supported,omitempty"`
	ResponseModesSupported                     []string `json:"response_modes_supported,omitempty"`
	GrantTypesSupported                        []string `json:"grant_types_supported,omitempty"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	TokenEndpointAuthSigningAlgValuesSupported []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	ServiceDocumentation                       string   `json:"service_documentation,omitempty"`
	UILocalesSupported                         []string `json:"ui_locales_supported,omitempty"`
	OpPolicyURI                                string   `json:"op_policy_uri,omitempty"`
	OpTosURI                                   string   `json:"op_tos_uri,omitempty"`
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported,omitempty"`
	SignedMetadata                             string   `json:"signed_metadata,omitempty"`

	RevocationEndpoint                                 string   `json:"revocation_endpoint,omitempty"` // RFC 7009
	RevocationEndpointAuthMethodsSupported             []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationEndpointAuthSigningAlgValuesSupported    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpoint                              string   `json:"introspection_endpoint,omitempty"` // RFC 7662
	IntrospectionEndpointAuthMethodsSupported          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpointAuthSigningAlgValuesSupported []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`

	DeviceAuthorizationEndpoint                string   `json:"device_authorization_endpoint,omitempty"`         // RFC 8628
	PushedAuthorizationRequestEndpoint         string   `json:"pushed_authorization_request_endpoint,omitempty"` // RFC 9126
	RequirePushedAuthorizationRequests         bool     `json:"require_pushed_authorization_requests,omitempty"`
	AuthorizationResponseIssParameterSupported bool     `json:"authorization_response_iss_parameter_supported,omitempty"` // RFC 9207
	DPoPSigningAlgValuesSupported              []string `json:"dpop_signing_alg_values_supported,omitempty"`              // RFC 9449
	ProtectedResources                         []string `json:"protected_resources,omitempty"`                            // RFC 9728
	ClientIDMetadataDocumentSupported          bool     `json:"client_id_metadata_document_supported,omitempty"`

	UserinfoEndpoint                  string   `json:"userinfo_endpoint,omitempty"`
	EndSessionEndpoint                string   `json:"end_session_endpoint,omitempty"` // RP-Initiated Logout
	ACRValuesSupported                []string `json:"acr_values_supported,omitempty"`
	SubjectTypesSupported             []string `json:"subject_types_supported,omitempty"`
	IDTokenSigningAlgValuesSupported  []string `json:"id_token_signing_alg_values_supported,omitempty"`
	UserinfoSigningAlgValuesSupported []string `json:"userinfo_signing_alg_values_supported,omitempty"`
	DisplayValuesSupported            []string `json:"display_values_supported,omitempty"`
	ClaimTypesSupported               []string `json:"claim_types_supported,omitempty"`
	ClaimsSupported                   []string `json:"claims_supported,omitempty"`
	ClaimsLocalesSupported            []string `json:"claims_locales_supported,omitempty"`
	PromptValuesSupported             []string `json:"prompt_values_supported,omitempty"`
	ClaimsParameterSupported          bool     `json:"claims_parameter_supported,omitempty"`
	RequestParameterSupported         bool     `json:"request_parameter_supported,omitempty"`
	RequestURIParameterSupported      *bool    `json:"request_uri_parameter_supported,omitempty"` // absent means true
	RequireRequestURIRegistration     bool     `json:"require_request_uri_registration,omitempty"`

	// Raw is the document as it came; nil for one made by hand.
	Raw []byte `json:"-"`
}
