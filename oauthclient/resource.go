package oauthclient

import (
	"context"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// target is what a sign-in is for.
type target struct {
	issuer string
	scopes []string // as the program asks, or as the resource names them
	dpop   bool
}

// target finds out which issuer a new sign-in goes to, and what the resource wants of it (RFC 9728).
func (c *Client) target(ctx context.Context, o *LoginOptions) (target, error) {
	t := target{issuer: c.issuer, scopes: c.cfg.Scopes, dpop: c.cfg.DPoP}
	if len(c.cfg.Resources) == 0 {
		return t, nil
	}
	doc, err := c.resource(ctx, o.ResourceMetadata)
	if err != nil {
		if c.issuer != "" { // the program knows where to go without it
			c.log.Info("the resource does not describe itself", "err", err)
			return t, ctx.Err()
		}
		return t, err
	}
	t.dpop = t.dpop || doc.DPoPBoundAccessTokensRequired
	if c.issuer == "" {
		if len(doc.AuthorizationServers) == 0 {
			return t, invalid("the resource names no authorization_servers")
		}
		t.issuer = doc.AuthorizationServers[0]
	}
	if t.scopes == nil && len(o.Scopes) == 0 && slices.Contains(doc.AuthorizationServers, t.issuer) {
		t.scopes = doc.ScopesSupported
	}
	return t, nil
}

func (c *Client) resource(ctx context.Context, metadataURL string) (*oauth.ResourceMetadata, error) {
	way := c.cfg.Transport
	if c.resources != nil {
		way = c.resources
	}
	timeout := time.Duration(0)
	if c.issuer != "" {
		timeout = 3 * time.Second // the login can do without
	}
	doc, err := oauth.DiscoverResource(ctx, &fetch.Client{Transport: way, Timeout: timeout}, c.cfg.Resources[0], oauth.ResourceOptions{
		MetadataURL: metadataURL, Root: c.issuer == "", AllowPrivate: c.cfg.AllowPrivate,
	})
	return doc, err
}
