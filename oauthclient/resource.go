package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/resourcemeta"
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

func (c *Client) resource(ctx context.Context, metadataURL string) (*resourcemeta.Document, error) {
	u, err := url.Parse(c.cfg.Resources[0])
	if err != nil {
		return nil, err
	}
	// The program named the resource; what the resource names is checked against private addresses.
	way := c.cfg.Transport
	if !c.cfg.AllowPrivate {
		way = fetch.NewGuard(way, u.Hostname())
	}
	doc, err := resourcemeta.Discover(ctx, &fetch.Client{Transport: way}, c.cfg.Resources[0], resourcemeta.Options{
		MetadataURL: metadataURL, Root: c.issuer == "", AllowPrivate: c.cfg.AllowPrivate,
	})
	if errors.Is(err, resourcemeta.ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidResponse, err)
	}
	return doc, err
}
