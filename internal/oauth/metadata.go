// Reads what an authorization server says about itself (RFC 8414, OpenID
// Connect Discovery 1.0) and checks it.
//
// The document names every endpoint. So its issuer must be the configured one,
// or another server could take its place in the flow (S38), and its endpoints
// must be https (S39).

package oauth

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Metadata is an authorization server's metadata: discovered, or written down
// for a provider without discovery. A nil list and an empty string mean that
// the document is silent. Members that are not named here are in Raw only.
// Treat it as read-only.
//
// The endpoints and jwks_uri are safe to call once [Metadata.Check] has passed.
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
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported,omitempty"`

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
	ClientIDMetadataDocumentSupported          bool     `json:"client_id_metadata_document_supported,omitempty"`

	UserinfoEndpoint                  string          `json:"userinfo_endpoint,omitempty"`
	EndSessionEndpoint                string          `json:"end_session_endpoint,omitempty"` // RP-Initiated Logout
	ACRValuesSupported                []string        `json:"acr_values_supported,omitempty"`
	SubjectTypesSupported             json.RawMessage `json:"subject_types_supported,omitempty"` // read by inspect alone
	IDTokenSigningAlgValuesSupported  []string        `json:"id_token_signing_alg_values_supported,omitempty"`
	UserinfoSigningAlgValuesSupported []string        `json:"userinfo_signing_alg_values_supported,omitempty"`

	// Legacy says that there is no document: see DiscoverOptions.Legacy.
	Legacy bool `json:"-"`
	// Ignored says, for the log, which members are not used and why.
	Ignored []string `json:"-"`
	// Raw is the document as it came; nil for one made by hand.
	Raw []byte `json:"-"`
}

// invalidMetadata refuses a document. The message names the field.
func invalidMetadata(format string, a ...any) error {
	return wire.Invalid("the provider's metadata is refused: %w", fmt.Errorf(format, a...))
}

// ParseMetadata reads a document strictly: exact names, no duplicates, the
// right types (S51). A member that no flow and no defence reads may have a wrong
// type: it counts as absent, and is in Ignored. The document is not checked yet.
// Errors match wire.ErrInvalidResponse.
func ParseMetadata(data []byte) (*Metadata, error) {
	d := &Metadata{Raw: data}
	var raw map[string]json.RawMessage
	if err := wire.UnmarshalJSON(data, &raw); err != nil {
		return nil, invalidMetadata("it is %w", err)
	}
	for _, name := range mistypedMembers(raw) {
		return nil, invalidMetadata("%s has a value of the wrong type", name)
	}
	if err := wire.UnmarshalJSON(data, d); err != nil {
		return nil, invalidMetadata("it is %w", err)
	}
	for name, example := range unread() {
		value, ok := raw[name]
		if ok && json.Unmarshal(value, reflect.New(reflect.TypeOf(example)).Interface()) != nil {
			d.Ignored = append(d.Ignored, name+" has a value of the wrong type")
		}
	}
	slices.Sort(d.Ignored)
	return d, nil
}

// unread are members that neither a flow nor a defence reads, with a value of their
// type. Every other member is read strictly or refused.
func unread() map[string]any {
	text, list, flag := "", []string{}, false
	return map[string]any{
		"service_documentation": text, "op_policy_uri": text, "op_tos_uri": text, "signed_metadata": text,
		"ui_locales_supported": list, "subject_types_supported": list, "display_values_supported": list,
		"claim_types_supported": list, "claims_supported": list, "claims_locales_supported": list,
		"prompt_values_supported": list, "protected_resources": list,
		"claims_parameter_supported": flag, "request_parameter_supported": flag,
		"request_uri_parameter_supported": flag, "require_request_uri_registration": flag,
	}
}

// mistypedMembers returns the members of raw that cannot be decoded.
func mistypedMembers(raw map[string]json.RawMessage) (names []string) {
	t := reflect.TypeFor[Metadata]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if value, ok := raw[name]; ok && name != "-" && json.Unmarshal(value, reflect.New(t.Field(i).Type).Interface()) != nil {
			names = append(names, name)
		}
	}
	return names
}

// dropUnusable takes out the endpoints that are relative or plain http, so that
// they count as absent and are never called (S39). Providers publish such an
// endpoint for a feature that they do not offer outside their own network. Every
// login needs the token endpoint and nearly every one the authorization endpoint,
// so these are left for [Metadata.Check] to refuse, with the reason. So are URLs
// that look like an attack.
func (d *Metadata) dropUnusable(issuer string) {
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(strings.ToLower(issuer), "http:")}
	for name, at := range map[string]*string{
		"jwks_uri":                              &d.JWKSURI,
		"registration_endpoint":                 &d.RegistrationEndpoint,
		"revocation_endpoint":                   &d.RevocationEndpoint,
		"introspection_endpoint":                &d.IntrospectionEndpoint,
		"device_authorization_endpoint":         &d.DeviceAuthorizationEndpoint,
		"pushed_authorization_request_endpoint": &d.PushedAuthorizationRequestEndpoint,
		"userinfo_endpoint":                     &d.UserinfoEndpoint,
		"end_session_endpoint":                  &d.EndSessionEndpoint,
	} {
		u, err := url.Parse(*at)
		if err != nil || *at == "" {
			continue
		}
		plain := u.Scheme == "http" && u.Host != "" && u.User == nil && u.Fragment == ""
		relative := u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.Contains(*at, `\`)
		if _, err := policy.Parse(*at); err != nil && (plain || relative) {
			*at = ""
			d.Ignored = append(d.Ignored, name+" is not an https URL")
		}
	}
	slices.Sort(d.Ignored)
}

// Check checks d against the issuer that it must have: the configured one or,
// for a document written down by hand, its own. Errors match
// wire.ErrInvalidResponse.
//
// The issuers must be identical, character for character (RFC 8414 §3.3, S38).
// Every endpoint must be an https URL; if the issuer is http on a loopback
// address, endpoints may be so too (S39). There must be a token endpoint. Each
// flow looks for its other endpoints itself: a provider for devices alone has
// no authorization endpoint.
func (d *Metadata) Check(issuer string) error {
	if err := CheckIssuer(issuer); err != nil {
		return invalidMetadata("issuer: %w", err)
	}
	if d.Issuer != issuer {
		return d.mismatch(issuer)
	}
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(strings.ToLower(issuer), "http:")}
	for _, e := range d.Endpoints() {
		if e.URL == "" {
			continue
		}
		if _, err := policy.Parse(e.URL); err != nil {
			return invalidMetadata("%s: %w", e.Name, err)
		}
	}
	if d.TokenEndpoint == "" {
		return invalidMetadata("token_endpoint is missing")
	}
	return nil
}

// Endpoint is a URL of the metadata with the name of its member. An empty URL
// means that the document has no such member.
type Endpoint struct{ Name, URL string }

// Endpoints returns every URL that the SDK itself calls or opens.
func (d *Metadata) Endpoints() []Endpoint {
	return []Endpoint{
		{"authorization_endpoint", d.AuthorizationEndpoint},
		{"token_endpoint", d.TokenEndpoint},
		{"jwks_uri", d.JWKSURI},
		{"userinfo_endpoint", d.UserinfoEndpoint},
		{"revocation_endpoint", d.RevocationEndpoint},
		{"introspection_endpoint", d.IntrospectionEndpoint},
		{"device_authorization_endpoint", d.DeviceAuthorizationEndpoint},
		{"pushed_authorization_request_endpoint", d.PushedAuthorizationRequestEndpoint},
		{"end_session_endpoint", d.EndSessionEndpoint},
		{"registration_endpoint", d.RegistrationEndpoint},
	}
}

// mismatch explains an issuer that is not the configured one. Entra's documents
// for many tenants name a template, which is no issuer: tokens carry their
// tenant's own. A program that accepts all tenants names the template
// (DiscoverOptions.Stated).
func (d *Metadata) mismatch(issuer string) error {
	stated := wire.SafeText(d.Issuer, 0)
	switch {
	case d.Issuer == "":
		return invalidMetadata("issuer is missing")
	case strings.ContainsAny(d.Issuer, "{}"):
		return invalidMetadata("issuer is a template for many tenants (%s); configure the issuer of your own tenant, "+
			"or set TenantIssuer to take them all", stated)
	}
	return invalidMetadata("issuer is %s, not %s; configure the issuer exactly as the provider writes it",
		stated, wire.SafeText(issuer, 0))
}

// CheckIssuer checks an issuer identifier: https, or http on a loopback
// address, without query or fragment (RFC 8414 §2). Errors match
// wire.ErrUnsafeURL.
func CheckIssuer(issuer string) error {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(issuer)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("%w: an issuer has no query", wire.ErrUnsafeURL)
	}
	return nil
}

// IssuerHost returns the host of issuer in lower case, for fetch.NewGuard. It
// is "" if issuer is no URL.
func IssuerHost(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return wire.LowerHost(u.Hostname())
}

// PKCESupport is what a document says of PKCE's method S256.
type PKCESupport int

// What a document can say.
const (
	PKCEUnsaid  PKCESupport = iota // it is silent
	PKCEOffered                    // it is listed
	PKCERefused                    // there is a list without it
)

// S256 returns what d says of PKCE's method S256. Entra and others say nothing.
// PKCERefused is a reason not to log in (S25, S26).
func (d *Metadata) S256() PKCESupport {
	switch {
	case d.CodeChallengeMethodsSupported == nil:
		return PKCEUnsaid
	case slices.Contains(d.CodeChallengeMethodsSupported, "S256"):
		return PKCEOffered
	}
	return PKCERefused
}

// IDTokenAlgorithms returns the algorithms that an ID token may be signed with:
// those of the document that can be verified (S72), or all of these if the
// document is silent. If there are none, a native program cannot check the
// provider's signatures.
func (d *Metadata) IDTokenAlgorithms() []string {
	return jose.Algorithms(d.IDTokenSigningAlgValuesSupported)
}

// UserinfoAlgorithms is IDTokenAlgorithms for a signed UserInfo answer.
func (d *Metadata) UserinfoAlgorithms() []string {
	return jose.Algorithms(d.UserinfoSigningAlgValuesSupported)
}
