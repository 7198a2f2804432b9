package oauthclient

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// target is what a login is for.
type target struct {
	issuer string
	// resources are Config.Resources. The first one is spelled as it names itself.
	resources []string
	scopes    []string // as the program asks, or as the resource names them
	dpop      bool
	// legacy says that the resource is its own issuer, because it describes
	// neither itself nor another (MCP 2025-03-26).
	legacy  bool
	servers []string // the authorization servers that the resource names
}

// target finds out which issuer a new login goes to, and what the resource wants of
// it (RFC 9728).
func (ps *providers) target(ctx context.Context, o *LoginOptions) (target, error) {
	t := target{issuer: ps.cfg.issuer(), scopes: ps.cfg.Scopes, dpop: ps.cfg.DPoP || o.DPoP, resources: ps.cfg.Resources}
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
	t.legacy, t.servers = doc.Legacy, doc.AuthorizationServers
	// Its own name is what the provider knows: another slash after the origin, or
	// the origin alone if the document is there.
	if own := doc.Resource; own != t.resources[0] {
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
		MetadataURL: metadataURL, Root: learned, Legacy: learned, AllowPrivate: ps.cfg.AllowPrivate,
	})
}

// asPublished returns resource as the login of g named it to the provider.
func asPublished(g *session.Grant, resource string) string {
	for _, r := range g.Resources {
		if oauth.SameIdentifier(r, resource) {
			return r
		}
	}
	u, err := url.Parse(resource)
	if err == nil && len(g.Resources) > 0 && oauth.SameIdentifier(g.Resources[0], wire.Origin(u)) {
		return g.Resources[0]
	}
	return resource
}

// moved reports whether the resource has gone over to other authorization servers
// than the one that g is from. That one may refresh g for ever, and the resource
// accept none of its tokens.
func (ps *providers) moved(ctx context.Context, g *session.Grant, o *LoginOptions) (bool, error) {
	if ps.cfg.issuer() != "" {
		return false, nil
	}
	t, err := ps.target(ctx, o)
	if err != nil {
		ps.log.Info("the resource refused a token, and cannot say now who issues its tokens", "err", err)
		return false, ctx.Err()
	}
	if t.legacy { // it says nothing
		return false, nil
	}
	return !slices.ContainsFunc(t.servers, func(s string) bool { return oauth.SameIdentifier(s, g.Issuer) }), nil
}
