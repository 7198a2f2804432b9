package oauth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// DiscoverOptions say how an issuer came to be known.
type DiscoverOptions struct {
	OpenID  bool   // openid is asked for: OpenID Connect's well-known place comes first
	Learned bool   // the network named the issuer (MCP), not the program: RFC 8414's place comes first, and https is needed. Give c a [fetch.Guard].
	Stated  string // what the documents state in place of the issuer, where that is the template of many tenants'; "": the issuer
	Private bool   // a learned issuer may be on this machine, and then speak http
}

// ErrNoMetadata is matched where the issuer publishes no metadata at any of its places.
var ErrNoMetadata = wire.Invalid("no metadata found")

// Discover fetches the metadata of issuer from its well-known places, in the order of S41, and checks it.
//
// A place that answers with a redirect, with a client error, or with no JSON is taken for empty, and the next one is asked: web servers answer so for
// paths that they do not know. Anything else ends the search, so that a failing server cannot steer it to another place: a
// [fetch.Error], a server's error, or a document that is refused (ErrInvalid).
func Discover(ctx context.Context, c *fetch.Client, issuer string, o DiscoverOptions) (*Metadata, error) {
	policy := wire.URLPolicy{LoopbackHTTP: !o.Learned || o.Private}
	if _, err := policy.Parse(issuer); err != nil {
		return nil, invalidMetadata("issuer: %w", err)
	}
	if err := CheckIssuer(issuer); err != nil {
		return nil, invalidMetadata("issuer: %w", err)
	}
	var tried []string
	for _, place := range metadataLocations(issuer, o) {
		req, err := fetch.NewRequest(http.MethodGet, place, nil)
		if err != nil {
			return nil, invalidMetadata("issuer: %w", err)
		}
		req.Header.Set("Accept", "application/json")
		resp, err := c.Do(ctx, req)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.Status == http.StatusOK && resp.IsJSON():
			d, err := ParseMetadata(resp.Body)
			if err != nil {
				return nil, err
			}
			if o.Stated != "" && d.Issuer == o.Stated {
				d.Issuer = issuer // Raw has it as it came
			}
			if err := d.Check(issuer); err != nil {
				return nil, err
			}
			return d, nil
		case resp.Status == http.StatusOK:
			tried = append(tried, req.URL.EscapedPath()+": no JSON")
		case resp.Status >= 300 && resp.Status < 400:
			tried = append(tried, req.URL.EscapedPath()+": a redirect, which is not followed")
		case resp.Status >= 400 && resp.Status < 500 && resp.Status != http.StatusTooManyRequests:
			tried = append(tried, fmt.Sprintf("%s: HTTP %d", req.URL.EscapedPath(), resp.Status))
		default:
			return nil, &MetadataStatusError{Status: resp.Status}
		}
	}
	return nil, fmt.Errorf("%w (%s); check the issuer, or configure the metadata by hand", ErrNoMetadata, strings.Join(tried, "; "))
}

// MetadataStatusError is a server's failure, which may pass.
type MetadataStatusError struct{ Status int }

func (e *MetadataStatusError) Error() string {
	return fmt.Sprintf("the provider cannot give its metadata now (HTTP %d); try again later", e.Status)
}

// metadataLocations lists where issuer's metadata may be (RFC 8414 §3 and §5, OpenID Connect Discovery §4).
func metadataLocations(issuer string, o DiscoverOptions) []string {
	const oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	appended := origin + path + openid
	list := []string{origin + oauth + path, origin + openid + path, appended}
	if o.OpenID && !o.Learned {
		list = []string{appended, list[0], list[1]}
	}
	if path == "" { // the two places of OpenID Connect are one
		list = list[:2]
	}
	return list
}
