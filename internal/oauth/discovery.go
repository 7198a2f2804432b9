// Finds an authorization server's metadata at its well-known places (RFC 8414
// §3 and §5, OpenID Connect Discovery 1.0 §4).
//
// Only an empty place leads on to the next one. A server that fails, or a
// document that is refused, ends the search, so that nobody can steer it to
// another document (S41).

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// DiscoverOptions say how an issuer came to be known. The zero DiscoverOptions
// are for an issuer that the program configured, without openid.
type DiscoverOptions struct {
	// OpenID is set if openid is requested: OpenID Connect's well-known place
	// comes first.
	OpenID bool
	// Learned is set if the network named the issuer (MCP), not the program.
	// RFC 8414's place comes first then, and https is required. The
	// fetch.Client needs a fetch.Guard.
	Learned bool
	// Stated is what the documents state in place of the issuer, if that is the
	// template of many tenants. "" means the issuer.
	Stated string
	// Place is the URL of the document, if the program knows that it is not at a
	// well-known place. It is the only place then. "" means the well-known ones.
	Place string
	// Private allows a learned issuer on this machine, which may then speak
	// http.
	Private bool
	// Legacy takes the endpoints /authorize, /token and /register of an issuer
	// without a path if each of its places answers 404, as servers of the Model
	// Context Protocol's version 2025-03-26 want it.
	Legacy bool
}

// ErrNoMetadata is matched if an issuer or a resource publishes no metadata at
// any of its places.
var ErrNoMetadata = errors.New("no metadata found")

// Discover fetches the metadata of issuer from its well-known places, in the
// order of S41, and checks it. If the issuer was learned, the document's own may
// differ from it by the slash after the origin.
//
// A redirect, a client error, or an answer without JSON means that a place is
// empty, because web servers answer like that for paths that they do not know.
// Anything else ends the search: a [fetch.Error], another status, which may pass,
// or a document that is refused (wire.ErrInvalidResponse).
func Discover(
	ctx context.Context, c *fetch.Client, issuer string, o DiscoverOptions,
) (*Metadata, error) {
	u, err := o.parse(issuer)
	if err != nil {
		return nil, err
	}
	var tried []string
	legacy := o.Legacy && strings.Trim(u.EscapedPath(), "/") == ""
	origin, paths := metadataLocations(u, o)
	if o.Place != "" {
		origin, paths = "", []string{o.Place}
	}
	for _, path := range paths {
		body, empty, err := fetchMetadata(ctx, c, origin, path)
		if err != nil {
			return nil, err
		}
		if empty != nil {
			tried = append(tried, path+": "+empty.why)
			legacy = legacy && empty.status == http.StatusNotFound
			continue
		}
		return o.read(body, issuer)
	}
	if legacy {
		return &Metadata{
			Issuer: issuer, Legacy: true, CodeChallengeMethodsSupported: []string{"S256"},
			AuthorizationEndpoint: origin + "/authorize", TokenEndpoint: origin + "/token",
			RegistrationEndpoint: origin + "/register",
		}, nil
	}
	return nil, wire.Invalid("%w (%s); check the issuer; if the metadata are elsewhere, set "+
		"Config.Deviations.MetadataURL, and if there are none, Config.Endpoints",
		ErrNoMetadata, strings.Join(tried, "; "))
}

// Read reads a document that was fetched earlier, the Raw of a Metadata, and checks it
// as [Discover] does.
func (o DiscoverOptions) Read(document []byte, issuer string) (*Metadata, error) {
	if _, err := o.parse(issuer); err != nil {
		return nil, err
	}
	return o.read(document, issuer)
}

// parse checks the issuer itself.
func (o DiscoverOptions) parse(issuer string) (*url.URL, error) {
	policy := wire.URLPolicy{LoopbackHTTP: !o.Learned || o.Private}
	u, err := policy.Parse(issuer)
	if err == nil {
		err = CheckIssuer(issuer)
	}
	if err != nil {
		return nil, invalidMetadata("issuer: %w", err)
	}
	return u, nil
}

// read reads the document of issuer and checks it.
func (o DiscoverOptions) read(body []byte, issuer string) (*Metadata, error) {
	d, err := ParseMetadata(body)
	if err != nil {
		return nil, err
	}
	if o.Stated != "" && d.Issuer == o.Stated {
		d.Issuer = issuer // Raw has it as it came
	}
	d.dropUnusable(issuer)
	// The resource's spelling is not the provider's. What the provider writes
	// counts from here on: iss must be exactly that.
	if o.Learned && SameIdentifier(d.Issuer, issuer) {
		issuer = d.Issuer
	}
	if err := d.Check(issuer); err != nil {
		return nil, err
	}
	return d, nil
}

// emptyPlace says why a place has no document.
type emptyPlace struct {
	status int
	why    string
}

// fetchMetadata gets the document at one place. empty is nil if there is one.
func fetchMetadata(
	ctx context.Context, c *fetch.Client, origin, path string,
) (body []byte, empty *emptyPlace, err error) {
	resp, err := getJSON(ctx, c, origin+path)
	if err != nil {
		return nil, nil, err
	}
	switch status := resp.Status; {
	case status == http.StatusOK && looksJSON(resp):
		return jsonText(resp), nil, nil
	case status == http.StatusOK:
		return nil, &emptyPlace{status, "no JSON"}, nil
	case status >= 300 && status < 400:
		return nil, &emptyPlace{status, "a redirect, which is not followed"}, nil
	case absent(status):
		return nil, &emptyPlace{status, fmt.Sprintf("HTTP %d", status)}, nil
	}
	return nil, nil, fmt.Errorf(
		"the provider cannot give its metadata now (HTTP %d); try again later", resp.Status)
}

// metadataLocations lists the places of an issuer's metadata in the order of S41:
// paths on its origin.
func metadataLocations(issuer *url.URL, o DiscoverOptions) (origin string, paths []string) {
	const oauth = "/.well-known/oauth-authorization-server"
	const openid = "/.well-known/openid-configuration"
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	// RFC 8414 §3.1 puts the well-known part before the path, OpenID Connect
	// after it.
	appended := path + openid
	paths = []string{oauth + path, openid + path, appended}
	if o.OpenID && !o.Learned {
		paths = []string{appended, paths[0], paths[1]}
	}
	if path == "" { // the two places of OpenID Connect are one
		paths = paths[:2]
	}
	return issuer.Scheme + "://" + issuer.Host, paths
}
