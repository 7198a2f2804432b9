package authserver

import (
	"net/http"
	"slices"
)

// standardScopes are announced by a server whose Config.Scopes is nil.
func standardScopes() []string {
	return []string{"openid", "profile", "email", "phone", "address", "offline_access"}
}

// serveMetadata answers with the server's metadata: RFC 8414 §2, OpenID Connect
// Discovery §3, and the specifications that are named beside the fields.
func (s *Server) serveMetadata(*request) (*reply, *oauthError) {
	methods := []string{AuthNone, AuthBasic, AuthPost, AuthPrivateKeyJWT}
	algs := algorithmNames()
	signs := []string{string(s.key().alg)}
	scopes := s.cfg.Scopes
	if scopes == nil {
		scopes = standardScopes()
	}
	doc := map[string]any{
		"issuer":                                s.cfg.Issuer,
		"authorization_endpoint":                s.URL("/authorize"),
		"token_endpoint":                        s.URL("/token"),
		"jwks_uri":                              s.URL("/jwks"),
		"userinfo_endpoint":                     s.URL("/userinfo"),
		"end_session_endpoint":                  s.URL("/end_session"),
		"revocation_endpoint":                   s.URL("/revoke"),
		"introspection_endpoint":                s.URL("/introspect"),
		"device_authorization_endpoint":         s.URL("/device_authorization"), // RFC 8628 §4
		"pushed_authorization_request_endpoint": s.URL("/par"),                  // RFC 9126 §5
		"require_pushed_authorization_requests": s.cfg.RequirePAR,

		"authorization_response_iss_parameter_supported": true, // RFC 9207 §3
		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    false,
		// Its default is true (OpenID Connect Discovery §3). Pushed requests do
		// not need it.
		"request_uri_parameter_supported": false,

		"scopes_supported":                      scopes,
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"grant_types_supported":                 s.grants(),
		"subject_types_supported":               []string{"public"},
		"acr_values_supported":                  acrValues(),
		"prompt_values_supported":               []string{"none", "login", "consent"},
		"code_challenge_methods_supported":      []string{"S256"},
		"id_token_signing_alg_values_supported": signs,
		"dpop_signing_alg_values_supported":     algs, // RFC 9449 §5.1

		// draft-ietf-oauth-identity-assertion-authz-grant §7.1
		"identity_chaining_requested_token_types_supported": []string{tokenTypeIDJAG},
	}
	if slices.ContainsFunc(s.cfg.Trusted, func(t Trusted) bool { return t.Users }) {
		doc["authorization_grant_profiles_supported"] = []string{"urn:ietf:params:oauth:grant-profile:id-jag"}
	}
	for _, name := range []string{"token", "revocation", "introspection"} {
		doc[name+"_endpoint_auth_methods_supported"] = methods
		doc[name+"_endpoint_auth_signing_alg_values_supported"] = algs
	}
	if s.canRegister() {
		doc["registration_endpoint"] = s.URL("/register")
	}
	return jsonReply(http.StatusOK, doc)
}
