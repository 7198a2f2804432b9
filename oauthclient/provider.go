package oauthclient

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// provider is what is known of an authorization server: its metadata, its keys, and the guarded way to it.
type provider struct {
	issuer  string
	doc     *oauth.Metadata
	keys    *jose.KeySet // nil: the metadata name none
	fetch   *fetch.Client
	fetched time.Time
}

// providerAge is how long metadata are trusted without another look.
const providerAge = 24 * time.Hour

// providers are kept by issuer. There is one, unless the issuer is learned from a resource that changes its mind.
type providers struct {
	mu    sync.Mutex
	known map[string]*lookup
}

// lookup is one issuer's metadata, fetched once for all who ask at the same time.
type lookup struct {
	turn    chan struct{} // holds one token
	current *provider
}

// provider returns what is known of issuer, discovering it if need be.
func (c *Client) provider(ctx context.Context, issuer string) (*provider, error) {
	c.providers.mu.Lock()
	l := c.providers.known[issuer]
	if l == nil {
		l = &lookup{turn: make(chan struct{}, 1)}
		c.providers.known[issuer] = l
	}
	c.providers.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p := l.current
	if p != nil && (c.cfg.Endpoints != nil || time.Since(p.fetched) < providerAge) {
		return p, nil
	}
	if p != nil { // earlier ones will do: nobody waits long for newer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	next, err := c.discover(ctx, issuer, p)
	if err != nil && p != nil {
		c.log.Warn("the provider's metadata cannot be renewed; going on with the earlier ones", "err", err)
		again := *p
		again.fetched = time.Now().Add(5*time.Minute - providerAge)
		l.current = &again
		return l.current, nil
	}
	if err != nil {
		return nil, err
	}
	l.current = next
	return next, nil
}

// discover fetches and checks the metadata of issuer, unless the program wrote
// Config.Endpoints. before is what was known until now; nil: nothing.
func (c *Client) discover(ctx context.Context, issuer string, before *provider) (*provider, error) {
	next := &provider{issuer: issuer, fetched: time.Now()}
	if before != nil {
		next.fetch = before.fetch // with its open connections, and the home that its guard knows
	} else {
		next.fetch = &fetch.Client{Transport: c.guard(issuer)}
	}
	if c.cfg.Endpoints != nil {
		next.doc = c.cfg.Endpoints.metadata()
	} else {
		doc, err := oauth.Discover(ctx, next.fetch, issuer, oauth.DiscoverOptions{
			OpenID: c.openID(), Learned: c.issuer == "", Stated: c.cfg.TenantIssuer, Private: c.cfg.AllowPrivate,
		})
		if err != nil {
			return nil, fmt.Errorf("the provider's metadata: %w", err)
		}
		next.doc = doc
	}
	switch {
	case before != nil && before.doc.JWKSURI == next.doc.JWKSURI:
		next.keys = before.keys // with its limit on refetches
	case next.doc.JWKSURI != "":
		next.keys = jose.NewKeySet(next.fetch, next.doc.JWKSURI)
	}
	return next, nil
}

// guard returns the transport for requests to the provider. It keeps a provider
// from naming servers inside this machine's network (S43).
//
// Only the program itself can lift the guard, with Config.Endpoints or
// AllowPrivate. Metadata that were fetched have another type, and so cannot.
func (c *Client) guard(issuer string) http.RoundTripper {
	switch {
	case c.cfg.Endpoints != nil:
		return c.cfg.Transport
	case c.issuer != "":
		return fetch.NewGuard(c.cfg.Transport, oauth.IssuerHost(issuer))
	case c.cfg.AllowPrivate:
		return c.cfg.Transport
	}
	return fetch.NewGuard(c.cfg.Transport, "")
}

// closeIdle closes the connections that are kept open to providers.
func (c *Client) closeIdle() {
	c.providers.mu.Lock()
	defer c.providers.mu.Unlock()
	for _, l := range c.providers.known {
		select {
		case l.turn <- struct{}{}:
			if l.current != nil {
				if t, ok := l.current.fetch.Transport.(interface{ CloseIdleConnections() }); ok {
					t.CloseIdleConnections()
				}
			}
			<-l.turn
		default: // in use: its own end closes it
		}
	}
	if c.resources != nil {
		c.resources.CloseIdleConnections()
	}
	if t, ok := c.cfg.Transport.(*http.Transport); ok && c.ownTransport {
		t.CloseIdleConnections()
	}
}
