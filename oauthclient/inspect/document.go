package inspect

import (
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// fields reports each field for which a login rejects the document (RFC 8414 §3.3,
// S38, S39), and rejection itself if it is for none of them.
func (r *report) fields(d *oauth.Metadata, issuer string, rejection error) {
	before := len(r.Findings)
	// The rules of oauth.Metadata.Check, which stops at the first of them. A report
	// names all.
	switch {
	case d.Issuer == issuer:
	case strings.Contains(d.Issuer, "{tenantid}"):
		r.add("issuer", Problem, "the document is of the template %q, which serves many tenants: "+
			"take the issuer of one tenant, or name the template "+
			"(Config.TenantIssuer, --tenant-issuer)", d.Issuer)
	default:
		r.add("issuer", Problem, "the document is of %q: it must be the issuer that was given, "+
			"character for character (RFC 8414 §3.3)", d.Issuer)
	}
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(issuer, "http://")}
	for _, e := range d.Endpoints() {
		if e.URL == "" {
			continue
		}
		if _, err := policy.Parse(e.URL); err != nil {
			r.add(e.Name, Problem, "%v", err)
		}
	}
	if len(r.Findings) == before {
		r.add("metadata", Problem, "%v", rejection)
	}
}

// flow reports on what a login needs (RFC 8252, RFC 9700), step by step.
func (r *report) flow(d *oauth.Metadata) {
	r.codeFlow(d)
	r.responseModes(d)
	r.oldGrants(d)
	r.pkce(d)
	r.issuerParameter(d)
	r.publicClient(d)
	r.clientAuth(d)
	r.pushedRequests(d)
	r.deviceFlow(d)
}

// offered reports whether a list of the metadata has value. A provider that sends
// no list leaves the question open, and is given the benefit of the doubt.
func offered(list []string, value string) bool {
	return list == nil || slices.Contains(list, value)
}

// codeFlow reports on the authorization code grant (RFC 6749 §4.1).
func (r *report) codeFlow(d *oauth.Metadata) {
	const area = "code flow"
	switch {
	case d.TokenEndpoint == "":
		r.add(area, Problem, "there is no token_endpoint")
	case d.AuthorizationEndpoint == "" && d.DeviceAuthorizationEndpoint != "":
		r.add(area, Warning, "there is no authorization_endpoint: sign-in is by device code only")
	case d.AuthorizationEndpoint == "":
		r.add(area, Problem, "there is no authorization_endpoint, and no device flow")
	case !offered(d.GrantTypesSupported, "authorization_code"),
		!offered(d.ResponseTypesSupported, "code"):
		r.add(area, Problem, "the authorization code grant is not offered")
	default:
		r.add(area, OK, "offered")
	}
}

// responseModes reports whether the loopback listener can receive the
// authorization response. A fragment never reaches it: browsers do not send one.
func (r *report) responseModes(d *oauth.Metadata) {
	const area = "response modes"
	modes := d.ResponseModesSupported
	list := strings.Join(modes, ", ")
	switch {
	case modes == nil: // RFC 8414 §2: query and fragment
		r.add(area, OK, "the response comes in the query, as the metadata do not say otherwise")
	case slices.Contains(modes, "query"):
		r.add(area, OK, "%s", list)
	case slices.Contains(modes, "form_post"):
		r.add(area, Warning, "%s, and no query: let the listener accept a form "+
			"(Config.Loopback.FormPost, --form-post)", list)
	default:
		r.add(area, Problem, "%s: "+
			"the listener of a native program accepts query and form_post", list)
	}
}

// oldGrants notes grants that nobody should use any more (RFC 9700 §2.1.2, §2.4).
func (r *report) oldGrants(d *oauth.Metadata) {
	for _, old := range []string{"implicit", "password"} {
		if slices.Contains(d.GrantTypesSupported, old) {
			r.add("old grants", Note, "%s is offered, which RFC 9700 forbids or discourages; "+
				"it is not used here", old)
		}
	}
}

// pkce reports on S256 (RFC 7636), without which a login is refused (S25, S26).
func (r *report) pkce(d *oauth.Metadata) {
	const area = "PKCE"
	switch d.S256() {
	case oauth.PKCEOffered:
		r.add(area, OK, "S256")
	case oauth.PKCEUnsaid:
		r.add(area, Warning, "the metadata do not say (code_challenge_methods_supported); "+
			"S256 is sent all the same, and whether it is checked is unknown")
	case oauth.PKCERefused:
		methods := strings.Join(d.CodeChallengeMethodsSupported, ", ")
		r.add(area, Problem, "S256 is not among %s", methods)
	}
}

// issuerParameter reports on iss in responses, which stops a mix-up of providers
// (RFC 9207, S29).
func (r *report) issuerParameter(d *oauth.Metadata) {
	if d.AuthorizationResponseIssParameterSupported {
		r.add("iss", OK, "responses name their issuer (RFC 9207)")
		return
	}
	r.add("iss", Warning, "responses do not name their issuer (RFC 9207): "+
		"with several providers, give each a redirect path of its own if the port is fixed")
}

// publicClient reports whether a client without a secret is accepted.
func (r *report) publicClient(d *oauth.Metadata) {
	const area = "public client"
	methods := d.TokenEndpointAuthMethodsSupported
	switch {
	case slices.Contains(methods, "none"):
		r.add(area, OK, "a client without a secret is offered")
	case methods == nil:
		r.add(area, Note, "the metadata do not say whether a client without a secret is accepted; "+
			"most providers register one as “native”")
	default: // a login tries nevertheless: many accept public clients without saying so
		r.add(area, Warning, "only %s are listed: try a public client all the same, which many providers "+
			"accept; a secret in an installed program is not confidential (RFC 8252 §8.5)", strings.Join(methods, ", "))
	}
}

// pushedRequests reports on PAR (RFC 9126).
func (r *report) pushedRequests(d *oauth.Metadata) {
	const area = "PAR"
	there := d.PushedAuthorizationRequestEndpoint != ""
	required := d.RequirePushedAuthorizationRequests
	switch {
	case there && required:
		r.add(area, OK, "required, and used (RFC 9126)")
	case there:
		r.add(area, OK, "offered, and used (RFC 9126)")
	case required:
		r.add(area, Problem, "required, but there is no endpoint")
	default:
		r.add(area, Note, "not offered")
	}
}

// deviceFlow reports on the device authorization grant (RFC 8628).
func (r *report) deviceFlow(d *oauth.Metadata) {
	const area, grant = "device flow", "urn:ietf:params:oauth:grant-type:device_code"
	switch {
	case d.DeviceAuthorizationEndpoint == "":
		r.add(area, Note, "not offered: on a machine without a browser, the address is pasted")
	case !offered(d.GrantTypesSupported, grant): // a login with it may be refused
		r.add(area, Warning, "there is an endpoint, but grant_types_supported leaves it out")
	default:
		r.add(area, OK, "offered (RFC 8628)")
	}
}

// clientAuth reports how a confidential client authenticates (RFC 8414 §2).
func (r *report) clientAuth(d *oauth.Metadata) {
	const area = "client auth"
	none := func(method string) bool { return method == "none" }
	methods := slices.DeleteFunc(slices.Clone(d.TokenEndpointAuthMethodsSupported), none)
	list, algs := strings.Join(methods, ", "), d.TokenEndpointAuthSigningAlgValuesSupported
	signed := slices.Contains(methods, "private_key_jwt")
	switch {
	case slices.Contains(algs, "none"): // which RFC 8414 §2 forbids
		r.add(area, Warning, "the signing algorithm none is listed for client assertions, "+
			"which proves nothing")
	case signed && algs == nil: // a client must guess what is accepted
		r.add(area, Note, "%s; the algorithms of private_key_jwt are not listed, "+
			"though they must be (RFC 8414 §2)", list)
	case signed:
		r.add(area, OK, "%s, signed with %s", list, strings.Join(algs, ", "))
	case len(methods) > 0:
		r.add(area, Note, "%s", list)
	}
}

// tokens reports on what the provider issues: ID tokens, refresh tokens, and access
// tokens that are bound to a key.
func (r *report) tokens(d *oauth.Metadata) {
	r.idToken(d)
	r.refresh(d)
	if algs := d.DPoPSigningAlgValuesSupported; algs != nil {
		r.add("DPoP", OK, "tokens can be bound to a key: %s (RFC 9449)", strings.Join(algs, ", "))
	} else {
		r.add("DPoP", Note, "not offered: anyone who has a token can use it")
	}
}

// idToken reports whether ID tokens can be verified here. Only signatures that
// need no shared secret count: a native program has none (S72).
func (r *report) idToken(d *oauth.Metadata) {
	const area = "ID token"
	listed := d.IDTokenSigningAlgValuesSupported
	// Any of these is only said by an OpenID provider.
	openID := slices.Contains(d.ScopesSupported, "openid") ||
		d.SubjectTypesSupported != nil || listed != nil
	switch algs := d.IDTokenAlgorithms(); {
	case !openID:
		r.add(area, Note, "no OpenID Connect: the provider does not say which user signs in")
	case len(algs) == 0: // HS256 and its like, keyed with the client secret
		r.add(area, Problem, "signed with %s only, which a native program cannot check",
			strings.Join(listed, ", "))
	case d.JWKSURI == "":
		r.add(area, Problem, "there is no jwks_uri: ID tokens cannot be verified")
	case listed == nil:
		r.add(area, Note, "the algorithms are not listed")
	default:
		r.add(area, OK, "signed with %s", strings.Join(algs, ", "))
	}
	if slices.Contains(listed, "none") {
		r.add(area, Note, "unsigned ones are offered too; they are refused here")
	}
}

// refresh reports whether a session can outlast its access token.
func (r *report) refresh(d *oauth.Metadata) {
	const area = "refresh"
	switch {
	case !offered(d.GrantTypesSupported, "refresh_token"):
		r.add(area, Warning, "the metadata do not list the refresh_token grant: if there is no refresh token "+
			"after a login either, users sign in each time a token expires")
	case slices.Contains(d.ScopesSupported, "offline_access"):
		r.add(area, OK, "offered, with the scope offline_access")
	case d.GrantTypesSupported == nil:
		r.add(area, Note, "the metadata do not say")
	default:
		r.add(area, OK, "offered")
	}
}

// extras reports on what a login can do without. A missing revocation endpoint is a
// Warning, because a token that was copied stays valid after a logout; the others
// are only convenient.
func (r *report) extras(d *oauth.Metadata) {
	for _, e := range []struct {
		area, url, there, missing string
		level                     Level // if it is missing
	}{
		{
			"revocation", d.RevocationEndpoint, "a logout revokes the tokens (RFC 7009)",
			"not offered: after a logout, tokens stay valid until they expire", Warning,
		},
		{"userinfo", d.UserinfoEndpoint, "offered", "not offered", Note},
		{
			"logout", d.EndSessionEndpoint, "the provider's own session can be ended too",
			"not offered: the browser stays signed in at the provider", Note,
		},
		{"introspection", d.IntrospectionEndpoint, "offered (RFC 7662)", "not offered", Note},
		{
			"registration", d.RegistrationEndpoint,
			"programs can register by themselves (RFC 7591)", "not offered", Note,
		},
	} {
		if e.url == "" {
			r.add(e.area, e.level, "%s", e.missing)
		} else {
			r.add(e.area, OK, "%s", e.there)
		}
	}
	if acr := d.ACRValuesSupported; len(acr) > 0 {
		r.add("step-up", OK, "a stronger sign-in can be requested: %s", strings.Join(acr, ", "))
	}
	if d.ClientIDMetadataDocumentSupported {
		r.add("client documents", OK, "a client ID may be the URL of a metadata document")
	}
}
