// Reads what a protected resource says about itself (RFC 9728): above all,
// which authorization servers it trusts.
//
// A resource can lie. It may speak for itself only (S42), and the issuers that
// it names are learned from the network: they must be https and must not lead
// into the program's own network (S43).

package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrNoResourceMetadata is matched if the resource publishes no metadata. It
// matches [ErrNoMetadata], and not wire.ErrInvalidResponse.
var ErrNoResourceMetadata error = noResourceMetadata{}

type noResourceMetadata struct{}

func (noResourceMetadata) Error() string {
	return ErrNoMetadata.Error() + ": the resource does not describe itself; configure the issuer"
}

func (noResourceMetadata) Unwrap() error { return ErrNoMetadata }

// maxResourceList bounds the lists that are kept. Real ones have one to twenty
// entries.
const maxResourceList = 256

// ResourceMetadata is a protected resource's metadata (§2), as far as a client
// acts on it. Treat it as read-only. AuthorizationServers are issuers in the
// resource's order, each learned from the network (S43).
type ResourceMetadata struct {
	Resource                          string   `json:"resource"`
	AuthorizationServers              []string `json:"authorization_servers"`
	ScopesSupported                   []string `json:"scopes_supported"`
	BearerMethodsSupported            []string `json:"bearer_methods_supported"` // nil: it does not say
	ResourceName                      string   `json:"resource_name"`            // safe to show
	DPoPSigningAlgValuesSupported     []string `json:"dpop_signing_alg_values_supported"`
	DPoPBoundAccessTokensRequired     bool     `json:"dpop_bound_access_tokens_required"`
	TLSClientCertificateBoundRequired bool     `json:"tls_client_certificate_bound_access_tokens"`

	// Legacy says that there is no document, and that this stands for it: see
	// ResourceOptions.Legacy.
	Legacy bool `json:"-"`
	// Raw is the document as it came.
	Raw []byte `json:"-"`
}

// ResourceOptions name the places to look at. The zero ResourceOptions mean the
// resource's well-known place.
type ResourceOptions struct {
	// MetadataURL is the resource_metadata of a challenge (§5.1), the first
	// place then. "" means the well-known one.
	MetadataURL string
	// Root looks at the origin's well-known place too, if the resource's path
	// has none, as the Model Context Protocol wants it. A document there may
	// name the origin as the resource.
	Root bool
	// Legacy takes a resource for its own authorization server if each of its
	// well-known places answers 404, as servers of the Model Context Protocol's
	// version 2025-03-26 do. A challenge with a resource_metadata is newer.
	Legacy bool
	// AllowPrivate lets MetadataURL name another host with a private address.
	AllowPrivate bool
}

const resourceWellKnown = "/.well-known/oauth-protected-resource"

// wellKnownAt returns the well-known place of a resource's metadata (§3.1). The
// suffix stands between host and path, and the query stays.
func wellKnownAt(u *url.URL) string {
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return u.Scheme + "://" + u.Host + resourceWellKnown + path
}

// resourceIdentifier parses a resource identifier (§1.2): https without a
// fragment, or http on a loopback address, for development. Errors match
// wire.ErrUnsafeURL.
func resourceIdentifier(resource string) (*url.URL, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(resource)
	if err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	return u, nil
}

// DiscoverResource fetches and checks the metadata of resource. If a place has
// none, or a document that is refused, the next one is tried. If none fits, the
// error is that of the first document that was refused.
//
// Errors: [ErrNoResourceMetadata]; wire.ErrInvalidResponse; wire.ErrUnsafeURL;
// a [fetch.Error], which matches fetch.ErrAddress if MetadataURL leads to a
// private address; errors.ErrUnsupported if the resource accepts tokens only in
// a form that this SDK does not have.
func DiscoverResource(
	ctx context.Context, c *fetch.Client, resource string, o ResourceOptions,
) (*ResourceMetadata, error) {
	u, err := resourceIdentifier(resource)
	if err != nil {
		return nil, err
	}
	local := wire.URLPolicy{LoopbackHTTP: u.Scheme == "http"}
	origin := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	legacy := o.Legacy && o.MetadataURL == ""
	var refused error
	for _, place := range resourcePlaces(u, o) {
		via, names := c, []string{resource}
		switch {
		case place == origin+resourceWellKnown:
			names = append(names, origin)
		case place == o.MetadataURL:
			m, err := local.Parse(place)
			if err != nil {
				return nil, fmt.Errorf("resource_metadata of the challenge: %w", err)
			}
			if !strings.EqualFold(m.Hostname(), u.Hostname()) && !o.AllowPrivate {
				guard := fetch.NewGuard(c.Transport, u.Hostname())
				defer guard.CloseIdleConnections()
				via = &fetch.Client{Transport: guard, Timeout: c.Timeout}
			}
		}
		d, status, err := getResource(ctx, via, place, local, names...)
		switch {
		case err == nil:
			return d, nil
		case errors.Is(err, wire.ErrInvalidResponse):
			refused = cmp.Or(refused, err)
		case !errors.Is(err, ErrNoResourceMetadata):
			return nil, err
		}
		legacy = legacy && status == http.StatusNotFound
	}
	switch {
	case legacy:
		return &ResourceMetadata{Resource: resource, AuthorizationServers: []string{wire.Origin(u)}, Legacy: true}, nil
	case refused != nil:
		return nil, refused
	}
	return nil, ErrNoResourceMetadata
}

// resourcePlaces returns where the metadata of the resource at u may be, without
// duplicates.
func resourcePlaces(u *url.URL, o ResourceOptions) []string {
	var places []string
	if o.MetadataURL != "" {
		places = append(places, o.MetadataURL)
	}
	places = append(places, wellKnownAt(u))
	if o.Root {
		places = append(places, wellKnownAt(&url.URL{Scheme: u.Scheme, Host: u.Host}))
	}
	var all []string
	for _, place := range places {
		if !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	return all
}

// getResource fetches a document whose resource must be one of names.
func getResource(
	ctx context.Context, c *fetch.Client, location string, policy wire.URLPolicy, names ...string,
) (d *ResourceMetadata, status int, err error) {
	resp, err := getJSON(ctx, c, location)
	if err != nil {
		return nil, 0, err
	}
	d, err = readResource(resp, policy, names)
	return d, resp.Status, err
}

// readResource checks the answer of one place.
func readResource(resp *fetch.Response, policy wire.URLPolicy, names []string) (*ResourceMetadata, error) {
	switch {
	case resp.Status == http.StatusOK:
	case resp.Status >= 300 && resp.Status < 400:
		return nil, invalidResource("it answers with a redirect, which is not followed")
	case absent(resp.Status):
		return nil, ErrNoResourceMetadata
	default:
		return nil, fmt.Errorf("the resource's metadata cannot be had now (HTTP %d); try again later", resp.Status)
	}
	var d ResourceMetadata
	if err := decodeJSON(resp, &d); err != nil {
		return nil, invalidResource("%w", err)
	}
	d.Raw, d.ResourceName = resp.Body, wire.SafeText(d.ResourceName, 100)
	if err := d.check(policy, names); err != nil {
		return nil, err
	}
	return &d, d.supported()
}

// invalidResource refuses a document. The message names the field.
func invalidResource(format string, a ...any) error {
	return wire.Invalid("the resource's metadata is refused: %w", fmt.Errorf(format, a...))
}

// check checks what the document names. Its errors match
// wire.ErrInvalidResponse.
func (d *ResourceMetadata) check(policy wire.URLPolicy, names []string) error {
	// §3.3: else any host could speak for another resource (S42).
	if !slices.ContainsFunc(names, d.isAbout) {
		return invalidResource("it is about %q; if that is the resource you mean, configure it exactly so",
			wire.SafeText(d.Resource, 0))
	}
	if len(d.AuthorizationServers) > maxResourceList || len(d.ScopesSupported) > maxResourceList {
		return invalidResource("a list in it is too long")
	}
	for _, issuer := range d.AuthorizationServers {
		u, err := policy.Parse(issuer)
		if err != nil {
			return invalidResource("authorization_servers: %w", err)
		}
		if u.RawQuery != "" || u.ForceQuery { // RFC 8414 §2
			return invalidResource("authorization_servers: an issuer has no query")
		}
	}
	for _, scope := range d.ScopesSupported {
		if scope == "" || !isNQCHAR(scope) {
			return invalidResource("scopes_supported holds what is no scope")
		}
	}
	return nil
}

func (d *ResourceMetadata) isAbout(name string) bool { return SameIdentifier(name, d.Resource) }

// SameIdentifier reports whether two identifiers of a resource or an issuer are
// the same, or differ only by the slash after the origin. Software that
// normalizes URLs adds that slash or takes it away, and nothing else can be
// meant by either (RFC 3986 §6.2.3). Any other difference counts.
func SameIdentifier(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b {
		return true
	}
	u, err := url.Parse(a)
	return err == nil && b == a+"/" && u.Host != "" && a == u.Scheme+"://"+u.Host
}

// supported reports a resource that accepts tokens only in a form that this SDK
// does not have. Its errors match errors.ErrUnsupported.
func (d *ResourceMetadata) supported() error {
	header := d.BearerMethodsSupported == nil || slices.Contains(d.BearerMethodsSupported, "header")
	switch {
	case d.TLSClientCertificateBoundRequired:
		return fmt.Errorf("%w: the resource takes only tokens that are bound to a TLS client certificate",
			errors.ErrUnsupported)
	case !header && !d.DPoPBoundAccessTokensRequired:
		return fmt.Errorf("%w: the resource does not take tokens in the Authorization header, "+
			"the only place where they are sent", errors.ErrUnsupported)
	}
	return nil
}
