// Tells a provider that a token is no longer wanted (RFC 7009).
//
// A session that is signed out here must not live on at the provider with a
// copy of its tokens (S68).

package oauth

import (
	"context"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Revoke asks the endpoint of r to revoke token. hint is "refresh_token" or
// "access_token"; "" gives none. Revoke a refresh token before its access
// tokens: most servers end those with it (§2.1), and a later failure does less
// harm (S68).
//
// nil means that the server no longer honours the token, or never knew it
// (§2.2); the body of such an answer is ignored. The zero token is revoked
// already. Errors: an [Error], with RetryAfter if the server is busy, and with
// Code "unsupported_token_type" if it revokes no such tokens; those of [Post].
func Revoke(ctx context.Context, c *fetch.Client, r Request, token wire.Secret, hint string) error {
	if token.IsZero() {
		return nil
	}
	r = r.with(map[string]string{"token": token.Reveal(), "token_type_hint": hint})
	resp, err := Post(ctx, c, r)
	if err != nil {
		return err
	}
	if resp.Status < 200 || resp.Status > 299 {
		return r.Refusal(resp)
	}
	return nil
}
