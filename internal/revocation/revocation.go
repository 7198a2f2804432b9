// Package revocation tells a provider that a token is no longer wanted (RFC 7009).
package revocation

import (
	"context"
	"errors"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/secret"
	"github.com/nativeoauth/nativeoauth/internal/tokenendpoint"
)

// Revoke asks for token to be revoked. hint is "refresh_token" or "access_token". nil: it is revoked, or was unknown
// to the server.
func Revoke(ctx context.Context, c *fetch.Client, r tokenendpoint.Request, token secret.String, hint string) error {
	return errors.ErrUnsupported
}
