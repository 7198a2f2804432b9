package oauthclient

import (
	"context"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// target is what a login is for.
type target struct {
	issuer string
	// resources are Config.Resources. The first one is spelled as it names itself.
	resources []string
	scopes    []string // as the program asks, or as the resource names them
	dpop      bool
}

// target finds out which issuer a new login goes to, and what the resource wants of
// it (RFC 9728).
func (ps *providers) target(ctx context.Context, o *LoginOptions) (target, error) {
	t := target{issuer: ps.cfg.issuer(), scopes: ps.cfg.Scopes, dpop: ps.cfg.DPoP, resources: ps.cfg.Resources}
	if len(ps.cfg.Resources) == 0 {
		return t, nil
	}
	doc, err := ps.resource(ctx, o.ResourceMetadata)
	if err != nil {
		if t.issuer != "" { // the program knows the issuer without it
			ps.log.Info("the resource does not describe itself", "err", err)
			return t, ctx.Err()
		}
		return t, err
	}
	if own := doc.Resource; own != t.resources[0] && oauth.SameIdentifier(own, t.resources[0]) {
		ps.log.Info("the resource names itself otherwise than the program does", "resource", own)
		t.resources = append([]string{own}, t.resources[1:]...)
	}
	t.dpop = t.dpop || doc.DPoPBoundAccessTokensRequired
	if t.issuer == "" {
		if len(doc.AuthorizationServers) == 0 {
			return t, invalid("the resource names no authorization_servers")
		}
		t.issuer = doc.AuthorizationServers[0]
	}
	ours := func(issuer string) bool { return oauth.SameIdentifier(issuer, t.issuer) }
	if t.scopes == nil && len(o.Scopes) == 0 && slices.ContainsFunc(doc.AuthorizationServers, ours) {
		t.scopes = doc.ScopesSupported
	}
	return t, nil
}

// resource fetches what the first of Config.Resources says about itself.
func (ps *providers) resource(ctx context.Context, metadataURL string) (*oauth.ResourceMetadata, error) {
	client := &fetch.Client{Transport: ps.cfg.Transport}
	if ps.resources != nil {
		client.Transport = ps.resources
	}
	learned := ps.cfg.issuer() == ""
	if !learned {
		client.Timeout = 3 * time.Second // the login can do without
	}
	return oauth.DiscoverResource(ctx, client, ps.cfg.Resources[0], oauth.ResourceOptions{
		MetadataURL: metadataURL, Root: learned, AllowPrivate: ps.cfg.AllowPrivate,
	})
}
