// Reads what a protected resource says about itself (RFC 9728): above all, which authorization
// servers it trusts.

package oauth

import (
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

// ErrNoResourceMetadata is matched where the resource publishes no metadata.
var ErrNoResourceMetadata = errors.New("the resource publishes no metadata; configure the issuer")

// errResource is matched by every refusal of a document. The message names the field.
var errResource = wire.Invalid("the resource's metadata is refused")

// maxResourceList bounds the lists that are kept.
const maxResourceList = 256

// ResourceMetadata is a protected resource's metadata (§2), as far as a client acts on it. Treat it as read-only.
type ResourceMetadata struct {
	Resource                          string   `json:"resource"`
	AuthorizationServers              []string `json:"authorization_servers"` // issuers, in the resource's order; each learned from the network (S43)
	ScopesSupported                   []string `json:"scopes_supported"`
	BearerMethodsSupported            []string `json:"bearer_methods_supported"` // nil: it does not say
	ResourceName                      string   `json:"resource_name"`            // neutralised
	DPoPSigningAlgValuesSupported     []string `json:"dpop_signing_alg_values_supported"`
	DPoPBoundAccessTokensRequired     bool     `json:"dpop_bound_access_tokens_required"`
	TLSClientCertificateBoundRequired bool     `json:"tls_client_certificate_bound_access_tokens"`

	// Raw is the document as it came.
	Raw []byte `json:"-"`
}

// ResourceOptions say where to look.
type ResourceOptions struct {
	// MetadataURL is the resource_metadata of a challenge (§5.1): the only place to look then. "": the well-known one.
	MetadataURL string
	// Root looks at the origin's well-known place too, where the resource's path has none, as the Model Context Protocol wants it. What is
	// found there may name the origin as the resource instead.
	Root bool
	// AllowPrivate lets MetadataURL name another host with a private address.
	AllowPrivate bool
}

const resourceWellKnown = "/.well-known/oauth-protected-resource"

// ResourceWellKnown returns where the metadata of resource is (§3.1): the suffix stands between host and path, and the query stays.
// Errors match wire.ErrUnsafeURL.
func ResourceWellKnown(resource string) (string, error) {
	u, err := resourceIdentifier(resource)
	if err != nil {
		return "", err
	}
	return wellKnownAt(u), nil
}

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

// resourceIdentifier parses a resource identifier (§1.2): https without a fragment, http on a loopback address for what is being developed.
func resourceIdentifier(resource string) (*url.URL, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(resource)
	if err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	return u, nil
}

// DiscoverResource fetches and checks the metadata of resource. Errors: [ErrNone]; [ErrInvalid]; wire.ErrUnsafeURL; [fetch.Error], which matches
// fetch.ErrAddress where MetadataURL leads to a private address; errors.ErrUnsupported where the resource takes tokens only in a way that
// this SDK has not.
func DiscoverResource(ctx context.Context, c *fetch.Client, resource string, o ResourceOptions) (*ResourceMetadata, error) {
	u, err := resourceIdentifier(resource)
	if err != nil {
		return nil, err
	}
	local := wire.URLPolicy{LoopbackHTTP: u.Scheme == "http"}
	if o.MetadataURL != "" {
		m, err := local.Parse(o.MetadataURL)
		if err != nil {
			return nil, fmt.Errorf("resource_metadata of the challenge: %w", err)
		}
		if !strings.EqualFold(m.Hostname(), u.Hostname()) && !o.AllowPrivate {
			guard := fetch.NewGuard(c.Transport, u.Hostname())
			defer guard.CloseIdleConnections()
			c = &fetch.Client{Transport: guard, Timeout: c.Timeout}
		}
		return getResource(ctx, c, o.MetadataURL, local, resource)
	}
	d, err := getResource(ctx, c, wellKnownAt(u), local, resource)
	if errors.Is(err, ErrNoResourceMetadata) && o.Root && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
		origin := &url.URL{Scheme: u.Scheme, Host: u.Host}
		return getResource(ctx, c, wellKnownAt(origin), local, resource, origin.String(), origin.String()+"/")
	}
	return d, err
}

// getResource fetches a document whose resource must be one of names.
func getResource(ctx context.Context, c *fetch.Client, location string, policy wire.URLPolicy, names ...string) (*ResourceMetadata, error) {
	req, err := fetch.NewRequest(http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.Status == http.StatusOK:
	case resp.Status >= 300 && resp.Status < 400:
		return nil, fmt.Errorf("%w: it answers with a redirect, which is not followed", errResource)
	case resp.Status >= 400 && resp.Status < 500 && resp.Status != http.StatusTooManyRequests:
		return nil, ErrNoResourceMetadata
	default:
		return nil, fmt.Errorf("the resource's metadata cannot be had now (HTTP %d); try again later", resp.Status)
	}
	if !resp.IsJSON() {
		return nil, fmt.Errorf("%w: it is not JSON", errResource)
	}
	var d ResourceMetadata
	if err := wire.UnmarshalJSON(resp.Body, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", errResource, err)
	}
	d.Raw = resp.Body
	if err := d.check(policy, names); err != nil {
		return nil, err
	}
	return &d, nil
}

func (d *ResourceMetadata) check(policy wire.URLPolicy, names []string) error {
	if !slices.Contains(names, d.Resource) { // §3.3: else whoever answers could speak for another resource (S42)
		return fmt.Errorf("%w: it is about %q; if that is the resource you mean, configure it exactly so", errResource, wire.SafeText(d.Resource, 0))
	}
	if len(d.AuthorizationServers) > maxResourceList || len(d.ScopesSupported) > maxResourceList {
		return fmt.Errorf("%w: a list in it is too long", errResource)
	}
	for _, issuer := range d.AuthorizationServers {
		u, err := policy.Parse(issuer)
		if err != nil {
			return fmt.Errorf("%w: authorization_servers: %w", errResource, err)
		}
		if u.RawQuery != "" || u.ForceQuery { // RFC 8414 §2
			return fmt.Errorf("%w: authorization_servers: an issuer has no query", errResource)
		}
	}
	for _, scope := range d.ScopesSupported {
		// A scope with a space would ask for two.
		if scope == "" || strings.IndexFunc(scope, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) >= 0 {
			return fmt.Errorf("%w: scopes_supported holds what is no scope", errResource)
		}
	}
	switch {
	case d.TLSClientCertificateBoundRequired:
		return fmt.Errorf("%w: the resource takes only tokens that are bound to a TLS client certificate", errors.ErrUnsupported)
	case d.BearerMethodsSupported != nil && !slices.Contains(d.BearerMethodsSupported, "header") && !d.DPoPBoundAccessTokensRequired:
		return fmt.Errorf("%w: the resource does not take tokens in the Authorization header, the only place where they are sent", errors.ErrUnsupported)
	}
	d.ResourceName = wire.SafeText(d.ResourceName, 100)
	return nil
}
