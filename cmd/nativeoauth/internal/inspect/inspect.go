// Package inspect judges an authorization server by what it publishes: what a native program can do with it, and what is wrong.
package inspect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jwks"
	"github.com/nativeoauth/nativeoauth/internal/metadata"
	"github.com/nativeoauth/nativeoauth/internal/neutral"
	"github.com/nativeoauth/nativeoauth/internal/safeurl"
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

// Options are for a closer look.
type Options struct {
	// ClientID, if not "", is tried at the authorization endpoint: does it take a loopback redirect URI with any port? Nobody is asked anything.
	ClientID string
	// RedirectPath is the path of that URI; "": /callback.
	RedirectPath string
	Transport    http.RoundTripper // nil: fetch.NewTransport's
	Now          func() time.Time  // nil: time.Now
}

// Provider looks at the provider with that issuer. The error is ctx's; what a provider does wrong is a finding.
func Provider(ctx context.Context, issuer string, o Options) (*Report, error) {
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

	doc, err := metadata.Discover(ctx, web, issuer, metadata.Options{OpenID: true})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	sound := err == nil
	switch {
	case sound:
		r.add("metadata", OK, "found and checked: issuer and endpoints are in order")
	case errors.Is(err, metadata.ErrInvalid) && seen.document != nil:
		if doc, _ = metadata.Parse(seen.document); doc == nil {
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
	r.Findings = append(r.Findings, Finding{area, level, neutral.Text(fmt.Sprintf(format, args...), 500)})
}

// fields names each field that makes a document unusable (RFC 8414 §3.3, S38, S39).
func (r *report) fields(d *metadata.Document, issuer string, refusal error) {
	before := len(r.Findings)
	if d.Issuer != issuer {
		r.add("issuer", Problem, "the document is of %q: it must be the issuer that was asked, character for character (RFC 8414 §3.3)", d.Issuer)
	}
	policy := safeurl.Policy{LoopbackHTTP: strings.HasPrefix(issuer, "http://")}
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

func endpoints(d *metadata.Document) []endpoint {
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
		if left := w.certificate.Sub(w.at); !w.certificate.IsZero() && left < 14*24*time.Hour {
			r.add("TLS", Warning, "the certificate ends in %d days, on %s", int(left.Hours()/24), w.certificate.UTC().Format(time.DateOnly))
		}
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

// flow judges the authorization code flow (RFC 8252, RFC 9700).
func (r *report) flow(d *metadata.Document) {
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
	for _, old := range []string{"implicit", "password"} {
		if slices.Contains(d.GrantTypesSupported, old) {
			r.add("old grants", Note, "%s is offered, which RFC 9700 forbids or discourages; it is not used here", old)
		}
	}
	switch d.S256() {
	case metadata.Offered:
		r.add("PKCE", OK, "S256")
	case metadata.Unsaid:
		r.add("PKCE", Warning, "the metadata do not say (code_challenge_methods_supported); S256 is sent all the same, and whether it is checked is unknown")
	case metadata.Refused:
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

// tokens judges what is issued.
func (r *report) tokens(d *metadata.Document) {
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
func (r *report) extras(d *metadata.Document) {
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
	if d.ClientIDMetadataDocumentSupported {
		r.add("client documents", OK, "a client ID may be the URL of a metadata document")
	}
}

func (r *report) keys(ctx context.Context, web *fetch.Client, d *metadata.Document) {
	if d.JWKSURI == "" {
		return
	}
	if err := jwks.New(web, d.JWKSURI).Prefetch(ctx); err != nil {
		r.add("keys", Problem, "%v", err)
		return
	}
	r.add("keys", OK, "jwks_uri has keys that can be used")
}

// loopback asks the authorization endpoint for a sign-in that shows nothing (prompt=none), on a port that cannot have been registered.
func (r *report) loopback(ctx context.Context, web *fetch.Client, d *metadata.Document, o Options) {
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

	document    []byte // of the last well-known place that had JSON
	at, date    time.Time
	tls         string
	certificate time.Time // when it ends
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
			w.tls = tls.VersionName(s.Version)
			if len(s.PeerCertificates) > 0 {
				w.certificate = s.PeerCertificates[0].NotAfter
			}
		}
	}
	if resp.StatusCode == http.StatusOK && strings.Contains(req.URL.Path, "/.well-known/") {
		body, err := io.ReadAll(io.LimitReader(resp.Body, fetch.MaxBody+1))
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		w.document = body
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return resp, nil
}
