package oauthclient

import (
	"context"
	"fmt"
)

// LogoutOptions say what else ends with a session.
type LogoutOptions struct {
	// EndSession ends the provider's own session too, in the browser (OpenID Connect RP-Initiated Logout).
	EndSession bool
}

// Logout deletes account's session, even one that does not load, and revokes its tokens where the provider can. There being none is nil. nil
// opts: the zero LogoutOptions.
//
// [ErrNotRevoked]: deleted here, but not confirmed by the provider; it matches [errors.ErrUnsupported] too where the provider has no revocation.
// Any other error: the session may still be here.
func (c *Client) Logout(ctx context.Context, account string, opts *LogoutOptions) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	a := c.account(account)
	_, notRevoked, err := c.keeper.Logout(ctx, a.key)
	if err != nil {
		return fmt.Errorf("the session%s was not deleted: %w", quoted(account), err)
	}
	a.publish(nil)
	if notRevoked != nil {
		return fmt.Errorf("%w: %w", ErrNotRevoked, notRevoked)
	}
	return nil
}
