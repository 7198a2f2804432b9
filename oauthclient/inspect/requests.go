package inspect

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// keys fetches the key set, as a login does, and reports whether a key in it can
// verify an ID token.
func (i *inspection) keys(ctx context.Context, d *oauth.Metadata) {
	if d.JWKSURI == "" {
		return
	}
	if err := jose.NewKeySet(i.web, d.JWKSURI).Prefetch(ctx); err != nil {
		i.add("keys", Problem, "%v", err)
		return
	}
	i.add("keys", OK, "jwks_uri has keys that can be used")
}

// redirectOrigin has a port that nobody has registered. A provider that accepts
// it accepts any port, as RFC 8252 §7.3 requires.
const redirectOrigin = "http://127.0.0.1:49681"

// loopback sends the authorization endpoint a request that shows nothing to a user
// (prompt=none), and reports whether it accepts the redirect URI. It has no
// cookies of a user, so that nobody is signed in by it.
func (i *inspection) loopback(ctx context.Context, d *oauth.Metadata) {
	const area = "loopback"
	// To push a request takes the client's authentication, which Options do not have.
	if d.RequirePushedAuthorizationRequests {
		i.add(area, Note, "not tried: requests must be pushed first")
		return
	}
	path := cmp.Or(i.opts.RedirectPath, "/callback")
	client, redirect := i.opts.ClientID, redirectOrigin+path
	req, err := silentRequest(d.AuthorizationEndpoint, client, redirect)
	if err != nil {
		i.add(area, Warning, "the authorization endpoint cannot be tried: %v", err)
		return
	}
	resp, err := i.web.Do(ctx, req)
	switch {
	case err != nil:
		i.add(area, Warning, "the authorization endpoint does not answer: %v", err)
	case strings.HasPrefix(resp.Header.Get("Location"), redirect):
		// An error such as login_required, at the redirect URI, shows that it is accepted.
		i.add(area, OK, "client %s may use 127.0.0.1 with any port, and the path %s", client, path)
	case resp.Status >= 400: // RFC 6749 §4.1.2.1: a bad redirect URI is an error page
		i.add(area, Problem, "the authorization endpoint answers %d to client %s with %s: "+
			"register http://127.0.0.1%s for a native app, "+
			"or give --port if the provider compares it", resp.Status, client, redirect, path)
	default:
		i.add(area, Note, "the authorization endpoint answers %d to client %s with %s: "+
			"only a login shows whether it accepts that", resp.Status, client, redirect)
	}
}

// silentRequest returns an authorization request that a provider answers without
// showing a page (OpenID Connect Core §3.1.2.1).
func silentRequest(endpoint, client, redirect string) (*http.Request, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	// The values are fresh and not kept: no response is awaited at the redirect URI.
	for name, value := range map[string]string{
		"response_type": "code", "client_id": client, "redirect_uri": redirect,
		"scope": "openid", "prompt": "none",
		"state": pkce.New().Reveal(), "nonce": pkce.New().Reveal(),
		"code_challenge": pkce.New().Challenge(), "code_challenge_method": pkce.Method,
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return fetch.NewRequest(http.MethodGet, u.String(), nil)
}
