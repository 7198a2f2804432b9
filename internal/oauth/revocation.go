// Tells a provider that a token is no longer wanted (RFC 7009).

package oauth

import (
	"context"
	"maps"
	"net/url"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Revoke asks the endpoint of r to revoke token. hint is "refresh_token" or "access_token"; "": none is given. Whoever revokes both
// begins with the refresh token: most servers end its access tokens with it (§2.1), and what fails later does less harm (S68).
//
// nil means that the server honours the token no longer, or never knew it (§2.2). Errors: [Error], with RetryAfter where the
// server is busy and Code "unsupported_token_type" where it revokes no such tokens; what [Post] returns.
// The zero token is revoked already.
func Revoke(ctx context.Context, c *fetch.Client, r Request, token wire.Secret, hint string) error {
	if token.IsZero() {
		return nil
	}
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Set("token", token.Reveal())
	if hint != "" {
		r.Form.Set("token_type_hint", hint)
	}
	resp, err := Post(ctx, c, r)
	if err != nil {
		return err
	}
	if resp.Status < 200 || resp.Status > 299 {
		return r.Refusal(resp)
	}
	return nil
}
