// Package inspect reports what an authorization server offers a native program,
// and what is wrong with it. `nativeoauth inspect` shows its report. A program can
// use it for a diagnosis of its own, or to test the configuration of a provider.
//
//	report, err := inspect.Provider(ctx, "https://login.example.com", nil)
//	if err == nil && !report.Ready {
//		for _, f := range report.Findings { … }
//	}
//
// # What is checked
//
//   - the metadata, by the rules of a login: the issuer, and every endpoint;
//   - TLS, the certificate, and the clock, as the first response showed them;
//   - what the metadata promise: PKCE, iss in responses, PAR, DPoP, device login,
//     refresh, revocation, algorithms of ID tokens, and more;
//   - addresses: a public provider that names a private one has a Problem;
//   - the key set, and with Options.ClientID the loopback redirect URI.
//
// What only a login shows is not checked, such as the tokens themselves.
//
// # Compatibility
//
// Areas, texts, and the level of a finding may change between versions. Ready, the
// meaning of the levels, and the fields stay as they are.
package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Level says how a finding matters to a native program.
type Level string

// The levels, from good to bad.
const (
	OK      Level = "ok"      // it is there and right
	Note    Level = "note"    // good to know; no need to act
	Warning Level = "warning" // it works, and is weaker than it should be
	Problem Level = "problem" // a native program cannot sign in, or not safely
)

// Finding is the result of one check. Its texts are safe to print on a terminal:
// control characters that the provider sent are replaced.
type Finding struct {
	Area  string `json:"area"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Report is the result of [Provider].
type Report struct {
	Issuer string `json:"issuer"` // as it was given
	// Ready says that no finding is a Problem, so that a native program can sign
	// in safely.
	Ready    bool      `json:"ready"`
	Findings []Finding `json:"findings"` // in the order of the checks; never nil
}

// Options extend an inspection. The zero Options read only what the provider
// publishes.
type Options struct {
	// ClientID is tried at the authorization endpoint, to see if it accepts a
	// loopback redirect URI with any port. No user is involved. "": not tried.
	ClientID string
	// RedirectPath is the path of that redirect URI. "": /callback.
	RedirectPath string
	// TenantIssuer is the template that the metadata of a provider for many
	// tenants state in place of the issuer, as in oauthclient.Config. "": none.
	TenantIssuer string
	// MetadataURL is the place of the metadata, as in oauthclient.Deviations. "": the
	// well-known places of the issuer.
	MetadataURL string
	// AllowPrivate lets the metadata name servers with private addresses, as in
	// oauthclient.Config. If false, that is a Problem, unless the issuer's own address is
	// private.
	AllowPrivate bool
	// Metadata is the document of a provider that publishes none, as the program or its
	// user wrote it down. As in a login, the servers that it names may have private
	// addresses. nil: the document is fetched.
	Metadata []byte
	// Transport carries the requests. It decides about TLS and proxies. nil:
	// proxies come from the environment, and TLS 1.2 or later is required.
	Transport http.RoundTripper
	// Now returns the time on this machine. nil: [time.Now].
	Now func() time.Time
}

// requestTimeout bounds one request: a user waits for the report.
const requestTimeout = 15 * time.Second

// Provider inspects the provider with this issuer. It signs in no user and changes
// nothing at the provider. nil opts are the zero Options.
//
// Requests go to the issuer, to its key set, and with ClientID to its
// authorization endpoint. As in a login, a public issuer cannot direct them to a
// private address; one that tries is a Problem. An issuer that itself has a
// private address may name servers beside it.
//
// The only error is that of ctx. A provider that does not answer, or that answers
// wrongly, is a finding. Provider is safe for concurrent use.
func Provider(ctx context.Context, issuer string, opts *Options) (*Report, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	// The issuer, or the place of its metadata, was learned from the user. What it names
	// was learned from the network (S43).
	guard := fetch.NewGuard(o.Transport, oauth.IssuerHost(cmp.Or(o.MetadataURL, issuer)))
	defer guard.CloseIdleConnections()
	seen := &witness{base: guard, now: o.Now, apart: o.MetadataURL}
	if o.Metadata != nil || o.AllowPrivate { // the user vouches for the servers
		seen.base = o.Transport
		if seen.base == nil {
			own := fetch.NewTransport()
			defer own.CloseIdleConnections()
			seen.base = own
		}
	}
	i := &inspection{
		report: report{Report{Issuer: issuer, Findings: []Finding{}}}, // [] in JSON, not null
		opts:   o, guard: guard, seen: seen,
		web: &fetch.Client{Transport: seen, Timeout: requestTimeout},
	}
	i.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	problem := func(f Finding) bool { return f.Level == Problem }
	i.Ready = !slices.ContainsFunc(i.Findings, problem)
	return &i.Report, nil
}

// inspection is one call of Provider. Requests go from web through seen, which keeps
// what the report needs, to guard, which keeps them out of private networks.
type inspection struct {
	report
	opts  Options
	guard *fetch.Guard
	seen  *witness
	web   *fetch.Client
}

// run makes the findings. It stops early if ctx ends.
func (i *inspection) run(ctx context.Context) {
	doc, sound := i.discover(ctx)
	if ctx.Err() != nil {
		return
	}
	i.connection(i.seen, i.Issuer)
	if doc != nil {
		i.flow(doc)
		i.tokens(doc)
		i.extras(doc)
	}
	// An endpoint of a rejected document is not called: a login would not call it.
	if !sound {
		return
	}
	if i.opts.Metadata == nil && !i.opts.AllowPrivate {
		i.addresses(ctx, doc)
	}
	i.keys(ctx, doc)
	if i.opts.ClientID != "" && doc.AuthorizationEndpoint != "" {
		i.loopback(ctx, doc)
	}
}

// discover fetches the metadata, or takes those of the options. doc is nil if there
// are none that can be read.
// sound says that they passed the checks of a login.
func (i *inspection) discover(ctx context.Context) (doc *oauth.Metadata, sound bool) {
	if i.opts.Metadata != nil {
		return i.given()
	}
	doc, err := oauth.Discover(ctx, i.web, i.Issuer, oauth.DiscoverOptions{
		OpenID: true, Stated: i.opts.TenantIssuer, Place: i.opts.MetadataURL,
	})
	if err == nil {
		i.add("metadata", OK, "found at %s and checked: "+
			"issuer and endpoints are in order", i.seen.place)
		for _, what := range doc.Ignored {
			i.add("metadata", Warning, "%s: a login ignores it", what)
		}
		if tenants := i.opts.TenantIssuer; tenants != "" {
			i.add("tenants", OK, "for many: "+
				"an ID token's issuer is %s, with the token's own tenant", tenants)
		}
		return doc, true
	}
	if errors.Is(err, wire.ErrInvalidResponse) && i.seen.document != nil {
		// The rest of a rejected document is worth a report, too.
		if doc, _ := oauth.ParseMetadata(i.seen.document); doc != nil {
			i.fields(doc, i.Issuer, err)
			return doc, false
		}
	}
	i.add("metadata", Problem, "%v", err)
	return nil, false
}

// given is discover for the metadata of the options.
func (i *inspection) given() (doc *oauth.Metadata, sound bool) {
	doc, err := oauth.ParseMetadata(i.opts.Metadata)
	if err != nil {
		i.add("metadata", Problem, "%v", err)
		return nil, false
	}
	if err := doc.Check(i.Issuer); err != nil {
		i.fields(doc, i.Issuer, err)
		return doc, false
	}
	i.add("metadata", OK, "given and checked, and not fetched: issuer and endpoints are in order")
	return doc, true
}

// addresses reports each endpoint of a public issuer that has a private address.
// No request is sent: a login would not send one either.
func (i *inspection) addresses(ctx context.Context, d *oauth.Metadata) {
	for _, e := range d.Endpoints() {
		u, err := url.Parse(e.URL)
		if e.URL == "" || err != nil {
			continue // Discover has checked those that are there
		}
		if i.guard.Check(ctx, u) != nil {
			i.add(e.Name, Problem, "%s has a private address, which a public provider "+
				"cannot name: nothing is sent there", u.Hostname())
		}
	}
}

// report is a Report that is being written. Its methods judge what was fetched, and
// send nothing.
type report struct{ Report }

// add appends a finding of at most 500 characters.
func (r *report) add(area string, level Level, format string, args ...any) {
	text := wire.SafeText(fmt.Sprintf(format, args...), 500)
	r.Findings = append(r.Findings, Finding{area, level, text})
}
