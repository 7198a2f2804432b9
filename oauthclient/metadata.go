package oauthclient

// metadata is p's document for the program.
func (p *provider) metadata() *Metadata {
	m := Metadata(*p.doc)
	return &m
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
