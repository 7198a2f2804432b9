// Package inspect judges an authorization server by what it publishes: what a native program can do with it, and what is wrong. It is what
// `nativeoauth inspect` shows, for a program's own diagnosis or for a test of a provider's configuration.
//
//	report, err := inspect.Provider(ctx, "https://login.example.com", nil)
//	if err == nil && !report.Ready {
//		for _, f := range report.Findings { … }
//	}
//
// Areas, texts, and which levels a fault has may change between versions; Ready, the levels' meaning and the fields stay.
package inspect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// Level says how a finding matters to a native program.
type Level string

// The levels, from good to bad.
const (
	OK      Level = "ok"      // there, and right
	Note    Level = "note"    // good to know
	Warning Level = "warning" // works, and is weaker than it should be
	Problem Level = "problem" // a native program cannot sign in, or not safely
)

// Finding is one thing that was looked at. Its texts are safe for a terminal.
type Finding struct {
	Area  string `json:"area"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Report is what was found.
type Report struct {
	Issuer   string    `json:"issuer"`
	Ready    bool      `json:"ready"` // no Problem: a native program can sign in safely
	Findings []Finding `json:"findings"`
}

// Options are for a closer look. The zero Options look at what is published only.
type Options struct {
	// ClientID is tried at the authorization endpoint: does it take a loopback redirect URI with any port? Nobody is asked anything. "": none is.
	ClientID string
	// RedirectPath is the path of that URI. "": /callback.
	RedirectPath string
	// TenantIssuer is the template that the metadata of a provider for many tenants state in place of the issuer, as in oauthclient.Config. "": none.
	TenantIssuer string
	// Transport carries the requests. nil: one with proxies from the environment and TLS 1.2 or later.
	Transport http.RoundTripper
	// Now is this machine's clock. nil: time.Now.
	Now func() time.Time
}

// Provider looks at the provider with that issuer, signs nobody in and changes nothing there. nil opts: the zero Options. The error is ctx's; what a
// provider does wrong, and one that does not answer, is a finding. It is safe for concurrent use.
func Provider(ctx context.Context, issuer string, opts *Options) (*Report, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		t := fetch.NewTransport()
		defer t.CloseIdleConnections()
		o.Transport = t
	}
	seen := &witness{base: o.Transport, now: o.Now}
	r := &report{Report: Report{Issuer: issuer, Findings: []Finding{}}}
	web := &fetch.Client{Transport: seen, Timeout: 15 * time.Second}

	doc, err := oauth.Discover(ctx, web, issuer, oauth.DiscoverOptions{OpenID: true, Stated: o.TenantIssuer})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	sound := err == nil
	switch {
	case sound:
		r.add("metadata", OK, "found at %s and checked: issuer and endpoints are in order", seen.place)
		if o.TenantIssuer != "" {
			r.add("tenants", OK, "for many: an ID token's issuer is %s, with the token's own tenant", o.TenantIssuer)
		}
	case errors.Is(err, wire.ErrInvalidResponse) && seen.document != nil:
		if doc, _ = oauth.ParseMetadata(seen.document); doc == nil {
			r.add("metadata", Problem, "%v", err)
			break
		}
		r.fields(doc, issuer, err)
	default:
		r.add("metadata", Problem, "%v", err)
	}
	r.connection(seen, issuer)
	if doc != nil {
		r.flow(doc)
		r.tokens(doc)
		r.extras(doc)
	}
	if sound { // an endpoint of a document that is refused is not called
		r.keys(ctx, web, doc)
		if o.ClientID != "" && doc.AuthorizationEndpoint != "" {
			r.loopback(ctx, web, doc, o)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.Ready = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Problem })
	return &r.Report, nil
}

type report struct{ Report }

func (r *report) add(area string, level Level, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{area, level, wire.SafeText(fmt.Sprintf(format, args...), 500)})
}

// fields names each field that makes a document unusable (RFC 8414 §3.3, S38, S39).
func (r *report) fields(d *oauth.Metadata, issuer string, refusal error) {
	before := len(r.Findings)
	switch {
	case d.Issuer == issuer:
	case strings.Contains(d.Issuer, "{tenantid}"):
		r.add("issuer", Problem, "the document is of the template %q, which serves many tenants: take the issuer of one tenant, or name the template (Config.TenantIssuer, --tenant-issuer)", d.Issuer)
	default:
		r.add("issuer", Problem, "the document is of %q: it must be the issuer that was asked, character for character (RFC 8414 §3.3)", d.Issuer)
	}
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(issuer, "http://")}
	for _, e := range endpoints(d) {
		if e.url == "" {
			continue
		}
		if _, err := policy.Parse(e.url); err != nil {
			r.add(e.name, Problem, "%v", err)
		}
	}
	if len(r.Findings) == before {
		r.add("metadata", Problem, "%v", refusal)
	}
}

type endpoint struct{ name, url string }

func endpoints(d *oauth.Metadata) []endpoint {
	return []endpoint{
		{"authorization_endpoint", d.AuthorizationEndpoint}, {"token_endpoint", d.TokenEndpoint}, {"jwks_uri", d.JWKSURI},
		{"userinfo_endpoint", d.UserinfoEndpoint}, {"revocation_endpoint", d.RevocationEndpoint},
		{"introspection_endpoint", d.IntrospectionEndpoint}, {"device_authorization_endpoint", d.DeviceAuthorizationEndpoint},
		{"pushed_authorization_request_endpoint", d.PushedAuthorizationRequestEndpoint},
		{"end_session_endpoint", d.EndSessionEndpoint}, {"registration_endpoint", d.RegistrationEndpoint},
	}
}

// connection judges TLS and the clock, as the first answer showed them.
func (r *report) connection(w *witness, issuer string) {
	switch {
	case strings.HasPrefix(issuer, "http://"):
		r.add("TLS", Note, "none: the issuer is on this machine")
	case w.tls == "":
		// No answer came; the metadata finding says so.
	default:
		r.add("TLS", OK, "%s", w.tls)
		r.certificates(w)
	}
	if w.date.IsZero() {
		return
	}
	// Date has seconds, and the answer took time: within a few seconds nothing can be said.
	switch skew := w.at.Sub(w.date).Round(time.Second); {
	case skew.Abs() > time.Minute:
		r.add("clock", Problem, "this machine's clock and the provider's differ by %s: fresh ID tokens are refused; set the clock", skew.Abs())
	case skew.Abs() > 10*time.Second:
		r.add("clock", Warning, "this machine's clock and the provider's differ by %s", skew.Abs())
	default:
		r.add("clock", OK, "this machine's clock and the provider's agree")
	}
}

// certificates judges the chain that was sent: it was verified, and the first to end ends it.
func (r *report) certificates(w *witness) {
	if len(w.chain) == 0 {
		return
	}
	const area = "certificate"
	ends := slices.MinFunc(w.chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
	on, days := ends.UTC().Format(time.DateOnly), int(ends.Sub(w.at).Hours()/24)
	of := fmt.Sprintf("of %s by %s, in a chain of %d", name(w.chain[0].Subject), name(w.chain[0].Issuer), len(w.chain))
	switch {
	case days < 14:
		r.add(area, Warning, "%s, ends in %d days, on %s", of, days, on)
	default:
		r.add(area, OK, "%s, until %s (%d days)", of, on, days)
	}
}

func name(n pkix.Name) string {
	if n.CommonName != "" {
		return n.CommonName
	}
	if text := n.String(); text != "" {
		return text
	}
	return "no name" // new ones have none: the names are in the extension
}

// flow judges the authorization code flow (RFC 8252, RFC 9700).
func (r *report) flow(d *oauth.Metadata) {
	const device = "urn:ietf:params:oauth:grant-type:device_code"
	listed := func(list []string, value string) bool { return list == nil || slices.Contains(list, value) }
	hasDevice := d.DeviceAuthorizationEndpoint != ""
	switch {
	case d.TokenEndpoint == "":
		r.add("code flow", Problem, "there is no token_endpoint")
	case d.AuthorizationEndpoint == "" && hasDevice:
		r.add("code flow", Warning, "there is no authorization_endpoint: sign-in is by device code only")
	case d.AuthorizationEndpoint == "":
		r.add("code flow", Problem, "there is no authorization_endpoint, and no device flow")
	case !listed(d.GrantTypesSupported, "authorization_code") || !listed(d.ResponseTypesSupported, "code"):
		r.add("code flow", Problem, "the authorization code grant is not offered")
	default:
		r.add("code flow", OK, "offered")
	}
	switch modes := d.ResponseModesSupported; {
	case modes == nil:
		r.add("response modes", OK, "the answer comes in the query, as the metadata do not say otherwise")
	case slices.Contains(modes, "query"):
		r.add("response modes", OK, "%s", strings.Join(modes, ", "))
	case slices.Contains(modes, "form_post"):
		r.add("response modes", Warning, "%s, and no query: let the listener take a form (Config.Loopback.FormPost, --form-post)", strings.Join(modes, ", "))
	default:
		r.add("response modes", Problem, "%s: the listener of a native program takes query and form_post", strings.Join(modes, ", "))
	}
	for _, old := range []string{"implicit", "password"} {
		if slices.Contains(d.GrantTypesSupported, old) {
			r.add("old grants", Note, "%s is offered, which RFC 9700 forbids or discourages; it is not used here", old)
		}
	}
	switch d.S256() {
	case oauth.PKCEOffered:
		r.add("PKCE", OK, "S256")
	case oauth.PKCEUnsaid:
		r.add("PKCE", Warning, "the metadata do not say (code_challenge_methods_supported); S256 is sent all the same, and whether it is checked is unknown")
	case oauth.PKCERefused:
		r.add("PKCE", Problem, "S256 is not among %s", strings.Join(d.CodeChallengeMethodsSupported, ", "))
	}
	if d.AuthorizationResponseIssParameterSupported {
		r.add("iss", OK, "answers name their issuer (RFC 9207)")
	} else {
		r.add("iss", Warning, "answers do not name their issuer (RFC 9207): with several providers, give each a redirect path of its own if the port is fixed")
	}
	switch methods := d.TokenEndpointAuthMethodsSupported; {
	case slices.Contains(methods, "none"):
		r.add("public client", OK, "a client without a secret is offered")
	case methods == nil:
		r.add("public client", Note, "the metadata do not say whether a client without a secret is accepted; most providers register one as “native”")
	default:
		r.add("public client", Warning, "only %s are listed: a secret in an installed program is not one (RFC 8252 §8.5)", strings.Join(methods, ", "))
	}
	r.clientAuth(d)
	switch {
	case d.PushedAuthorizationRequestEndpoint != "" && d.RequirePushedAuthorizationRequests:
		r.add("PAR", OK, "required, and used (RFC 9126)")
	case d.PushedAuthorizationRequestEndpoint != "":
		r.add("PAR", OK, "offered, and used (RFC 9126)")
	case d.RequirePushedAuthorizationRequests:
		r.add("PAR", Problem, "required, but there is no endpoint")
	default:
		r.add("PAR", Note, "not offered")
	}
	if hasDevice && !slices.Contains(d.GrantTypesSupported, device) && d.GrantTypesSupported != nil {
		r.add("device flow", Warning, "there is an endpoint, but grant_types_supported leaves it out")
	} else if hasDevice {
		r.add("device flow", OK, "offered (RFC 8628)")
	} else {
		r.add("device flow", Note, "not offered: on a machine without a browser, the address is pasted")
	}
}

// clientAuth tells how a client that has a secret or a key authenticates, if there must be one.
func (r *report) clientAuth(d *oauth.Metadata) {
	const area = "client auth"
	methods := slices.DeleteFunc(slices.Clone(d.TokenEndpointAuthMethodsSupported), func(m string) bool { return m == "none" })
	algs := d.TokenEndpointAuthSigningAlgValuesSupported
	signed := slices.Contains(methods, "private_key_jwt")
	switch {
	case slices.Contains(algs, "none"): // RFC 8414 §2
		r.add(area, Warning, "the signing algorithm none is listed for client assertions, which proves nothing")
	case signed && algs == nil:
		r.add(area, Note, "%s; the algorithms of private_key_jwt are not listed, though they must be (RFC 8414 §2)", strings.Join(methods, ", "))
	case signed:
		r.add(area, OK, "%s, signed with %s", strings.Join(methods, ", "), strings.Join(algs, ", "))
	case len(methods) > 0:
		r.add(area, Note, "%s", strings.Join(methods, ", "))
	}
}

// tokens judges what is issued.
func (r *report) tokens(d *oauth.Metadata) {
	openID := slices.Contains(d.ScopesSupported, "openid") || d.SubjectTypesSupported != nil || d.IDTokenSigningAlgValuesSupported != nil
	switch algs := d.IDTokenAlgorithms(); {
	case !openID:
		r.add("ID token", Note, "no OpenID Connect: who signs in is not told")
	case len(algs) == 0:
		r.add("ID token", Problem, "signed with %s only, which a native program cannot check", strings.Join(d.IDTokenSigningAlgValuesSupported, ", "))
	case d.JWKSURI == "":
		r.add("ID token", Problem, "there is no jwks_uri: ID tokens cannot be verified")
	case d.IDTokenSigningAlgValuesSupported == nil:
		r.add("ID token", Note, "the algorithms are not listed")
	default:
		r.add("ID token", OK, "signed with %s", strings.Join(algs, ", "))
	}
	if slices.Contains(d.IDTokenSigningAlgValuesSupported, "none") {
		r.add("ID token", Note, "unsigned ones are offered too; they are refused here")
	}
	refresh := d.GrantTypesSupported == nil || slices.Contains(d.GrantTypesSupported, "refresh_token")
	switch {
	case !refresh:
		r.add("refresh", Warning, "the refresh_token grant is not offered: people sign in each time a token expires")
	case slices.Contains(d.ScopesSupported, "offline_access"):
		r.add("refresh", OK, "offered, with the scope offline_access")
	case d.GrantTypesSupported == nil:
		r.add("refresh", Note, "the metadata do not say")
	default:
		r.add("refresh", OK, "offered")
	}
	if algs := d.DPoPSigningAlgValuesSupported; algs != nil {
		r.add("DPoP", OK, "tokens can be bound to a key: %s (RFC 9449)", strings.Join(algs, ", "))
	} else {
		r.add("DPoP", Note, "not offered: tokens are good for whoever holds them")
	}
}

// extras judges what a sign-in does without.
func (r *report) extras(d *oauth.Metadata) {
	for _, e := range []struct {
		area, url, there, missing string
		level                     Level
	}{
		{"revocation", d.RevocationEndpoint, "a logout revokes the tokens (RFC 7009)", "not offered: after a logout, tokens stay good until they expire", Warning},
		{"userinfo", d.UserinfoEndpoint, "offered", "not offered", Note},
		{"logout", d.EndSessionEndpoint, "the provider's own session can be ended too", "not offered: the browser stays signed in at the provider", Note},
		{"introspection", d.IntrospectionEndpoint, "offered (RFC 7662)", "not offered", Note},
		{"registration", d.RegistrationEndpoint, "programs can register by themselves (RFC 7591)", "not offered", Note},
	} {
		if e.url == "" {
			r.add(e.area, e.level, "%s", e.missing)
		} else {
			r.add(e.area, OK, "%s", e.there)
		}
	}
	if acr := d.ACRValuesSupported; len(acr) > 0 {
		r.add("step-up", OK, "a stronger sign-in can be asked for: %s", strings.Join(acr, ", "))
	}
	if d.ClientIDMetadataDocumentSupported {
		r.add("client documents", OK, "a client ID may be the URL of a metadata document")
	}
}

func (r *report) keys(ctx context.Context, web *fetch.Client, d *oauth.Metadata) {
	if d.JWKSURI == "" {
		return
	}
	if err := jose.NewKeySet(web, d.JWKSURI).Prefetch(ctx); err != nil {
		r.add("keys", Problem, "%v", err)
		return
	}
	r.add("keys", OK, "jwks_uri has keys that can be used")
}

// loopback asks the authorization endpoint for a sign-in that shows nothing (prompt=none), on a port that cannot have been registered.
func (r *report) loopback(ctx context.Context, web *fetch.Client, d *oauth.Metadata, o Options) {
	const area = "loopback"
	if d.RequirePushedAuthorizationRequests {
		r.add(area, Note, "not tried: requests must be pushed first")
		return
	}
	path := o.RedirectPath
	if path == "" {
		path = "/callback"
	}
	redirect := "http://127.0.0.1:49681" + path
	u, err := url.Parse(d.AuthorizationEndpoint)
	if err != nil {
		return // Discover has parsed it
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": o.ClientID, "redirect_uri": redirect, "scope": "openid", "prompt": "none",
		"state": pkce.New().Reveal(), "nonce": pkce.New().Reveal(), "code_challenge": pkce.New().Challenge(), "code_challenge_method": pkce.Method,
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	req, err := fetch.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		r.add(area, Warning, "the authorization endpoint cannot be asked: %v", err)
		return
	}
	resp, err := web.Do(ctx, req)
	switch {
	case err != nil:
		r.add(area, Warning, "the authorization endpoint does not answer: %v", err)
	case strings.HasPrefix(resp.Header.Get("Location"), redirect):
		r.add(area, OK, "client %s may use 127.0.0.1 with any port, and the path %s", o.ClientID, path)
	case resp.Status >= 400:
		r.add(area, Problem, "the authorization endpoint answers %d to client %s with %s: register http://127.0.0.1%s for a native app, or give --port where the provider compares it",
			resp.Status, o.ClientID, redirect, path)
	default:
		r.add(area, Note, "the authorization endpoint answers %d to client %s with %s: whether it takes that, only a login tells", resp.Status, o.ClientID, redirect)
	}
}

// witness keeps what the first answers show besides their bodies.
type witness struct {
	base http.RoundTripper
	now  func() time.Time

	document []byte // of the last well-known place that answered
	place    string // and its path
	at, date time.Time
	tls      string
	chain    []*x509.Certificate // as it was sent, the server's own first
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if w.at.IsZero() {
		w.at = w.now()
		w.date, _ = http.ParseTime(resp.Header.Get("Date"))
		if s := resp.TLS; s != nil {
			w.tls = tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
			w.chain = s.PeerCertificates
		}
	}
	if resp.StatusCode == http.StatusOK && strings.Contains(req.URL.Path, "/.well-known/") {
		body, err := io.ReadAll(io.LimitReader(resp.Body, fetch.MaxBody+1))
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		w.document, w.place = body, req.URL.EscapedPath()
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return resp, nil
}
