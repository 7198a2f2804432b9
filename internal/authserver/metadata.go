package authserver

import (
	"net/http"
)

// document is the server's metadata (RFC 8414 §2, OpenID Connect Discovery §3, and where the fields say so).
type document struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
	EndSessionEndpoint    string `json:"end_session_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	DeviceEndpoint        string `json:"device_authorization_endpoint"`                  // RFC 8628 §4
	PAREndpoint           string `json:"pushed_authorization_request_endpoint"`          // RFC 9126 §5
	RequirePAR            bool   `json:"require_pushed_authorization_requests"`          //
	RegistrationEndpoint  string `json:"registration_endpoint,omitempty"`                //
	IssParameter          bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	ClaimsParameter       bool   `json:"claims_parameter_supported"`
	RequestParameter      bool   `json:"request_parameter_supported"`
	RequestURIParameter   bool   `json:"request_uri_parameter_supported"`

	ScopesSupported          []string `json:"scopes_supported"`
	ResponseTypes            []string `json:"response_types_supported"`
	ResponseModes            []string `json:"response_modes_supported"`
	GrantTypes               []string `json:"grant_types_supported"`
	SubjectTypes             []string `json:"subject_types_supported"`
	ACRValues                []string `json:"acr_values_supported"`
	Prompts                  []string `json:"prompt_values_supported"`
	CodeChallengeMethods     []string `json:"code_challenge_methods_supported"`
	IDTokenAlgs              []string `json:"id_token_signing_alg_values_supported"`
	UserinfoAlgs             []string `json:"userinfo_signing_alg_values_supported"`
	DPoPAlgs                 []string `json:"dpop_signing_alg_values_supported"` // RFC 9449 §5.1
	TokenAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs            []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs       []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs    []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
}

// standardScopes are what a server without a list of its own names.
func standardScopes() []string {
	return []string{"openid", "profile", "email", "phone", "address", "offline_access"}
}

func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	methods := []string{AuthNone, AuthBasic, AuthPost, AuthPrivateKeyJWT}
	alg := []string{string(s.key().alg)}
	doc := document{
		Issuer:                s.cfg.Issuer,
		AuthorizationEndpoint: s.URL("/authorize"),
		TokenEndpoint:         s.URL("/token"),
		JWKSURI:               s.URL("/jwks"),
		UserinfoEndpoint:      s.URL("/userinfo"),
		EndSessionEndpoint:    s.URL("/end_session"),
		RevocationEndpoint:    s.URL("/revoke"),
		IntrospectionEndpoint: s.URL("/introspect"),
		DeviceEndpoint:        s.URL("/device_authorization"),
		PAREndpoint:           s.URL("/par"),
		RequirePAR:            s.cfg.RequirePAR,
		IssParameter:          true,
		ClaimsParameter:       true,

		ScopesSupported:          s.cfg.Scopes,
		ResponseTypes:            []string{"code"},
		ResponseModes:            []string{"query", "form_post"},
		GrantTypes:               []string{grantCode, grantRefresh, grantDevice},
		SubjectTypes:             []string{"public"},
		ACRValues:                s.cfg.ACRValues,
		Prompts:                  []string{"none", "login", "consent"},
		CodeChallengeMethods:     []string{"S256"},
		IDTokenAlgs:              alg,
		UserinfoAlgs:             alg,
		DPoPAlgs:                 algorithmNames(),
		TokenAuthMethods:         methods,
		TokenAuthAlgs:            algorithmNames(),
		RevocationAuthMethods:    methods,
		RevocationAuthAlgs:       algorithmNames(),
		IntrospectionAuthMethods: methods,
		IntrospectionAuthAlgs:    algorithmNames(),
	}
	if doc.ScopesSupported == nil {
		doc.ScopesSupported = standardScopes()
	}
	if s.canRegister() {
		doc.RegistrationEndpoint = s.URL("/register")
	}
	answer(w, http.StatusOK, doc)
}
