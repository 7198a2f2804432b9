package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// providerAge is how long metadata are trusted before they are fetched again.
const providerAge = 24 * time.Hour

// providers finds the provider of an issuer, and keeps it. There is one, unless the
// issuer is learned from a resource that changes its mind.
type providers struct {
	cfg          *Config
	log          *slog.Logger
	nonces       oauth.Nonces
	resources    *fetch.Guard // for the metadata of Resources; nil: cfg.Transport alone
	ownTransport bool
	starting     context.Context // ends with Client.Close: what was not sent is not sent

	// These are for the provider cache. begin counts work in the background, and done
	// ends it; an error means that the client is closed.
	keeper *session.Keeper
	begin  func() error
	done   func()

	mu    sync.Mutex
	known map[string]*lookup // by issuer
}

// newProviders sets cfg.Transport if the program did not.
func newProviders(cfg *Config, log *slog.Logger, starting context.Context) *providers {
	ps := &providers{cfg: cfg, log: log, starting: starting, known: map[string]*lookup{}}
	if cfg.Transport == nil {
		cfg.Transport, ps.ownTransport = fetch.NewTransport(), true
	}
	if len(cfg.Resources) > 0 && !cfg.AllowPrivate {
		// The program named the resource; the servers that it names are checked.
		ps.resources = fetch.NewGuard(cfg.Transport, oauth.IssuerHost(cfg.Resources[0]))
	}
	return ps
}

// lookup is one issuer's metadata, fetched once for all that ask at the same time.
type lookup struct {
	turn    chan struct{} // holds one token
	current *provider
	renewal chan struct{} // see renew; nil: none is under way; guarded by providers.mu
}

// lookup returns the lookup of issuer. It is the same each time.
func (ps *providers) lookup(issuer string) *lookup {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	l := ps.known[issuer]
	if l == nil {
		l = &lookup{turn: make(chan struct{}, 1)}
		ps.known[issuer] = l
	}
	return l
}

// take waits for the turn to read or change current. end gives it back.
func (l *lookup) take(ctx context.Context) (end func(), err error) {
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// peek returns the provider if it is known; nil: it is not.
func (l *lookup) peek(ctx context.Context) *provider {
	end, err := l.take(ctx)
	if err != nil {
		return nil
	}
	defer end()
	return l.current
}

// replace sets next in the place of before, unless that has been replaced meanwhile.
func (l *lookup) replace(ctx context.Context, before, next *provider) error {
	end, err := l.take(ctx)
	if err != nil {
		return err
	}
	defer end()
	if l.current == before {
		l.current = next
	}
	return nil
}

// get returns the provider of issuer, discovering it if need be.
func (ps *providers) get(ctx context.Context, issuer string) (*provider, error) {
	return ps.find(ctx, issuer, nil)
}

// of returns the provider of g. It may be from g's provider cache, or from that of
// another session of the issuer if g was not used with newer metadata (S103). It is
// discovered if there is none.
func (ps *providers) of(ctx context.Context, g *session.Grant) (*provider, error) {
	return ps.find(ctx, g.Issuer, g)
}

// find is get, or of if g is not nil.
func (ps *providers) find(ctx context.Context, issuer string, g *session.Grant) (*provider, error) {
	l := ps.lookup(issuer)
	end, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if g != nil && (l.current == nil || l.current.cached && l.current.fetchedAt.Before(g.CacheSince)) {
		l.current = ps.restore(ctx, g)
	}
	p := l.current
	if p != nil && p.usable(g != nil) {
		return p, nil
	}
	if p != nil { // yesterday's will do: nobody waits long for today's
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	next, err := ps.discover(ctx, issuer, p)
	if err != nil && p != nil {
		ps.log.Warn("the provider's metadata cannot be renewed; going on with the earlier ones", "err", err)
		again := *p
		again.goesOn = time.Now().Add(5 * time.Minute)
		l.current = &again
		return l.current, nil
	}
	if err != nil {
		return nil, err
	}
	l.current = next
	return next, nil
}

// usable reports whether p is used without asking the provider again. cached says
// that metadata from a provider cache will do.
func (p *provider) usable(cached bool) bool {
	return p.cfg.Endpoints != nil || time.Now().Before(p.goesOn) ||
		recent(p.fetchedAt) && (cached || !p.cached)
}

// discover fetches and checks the metadata of issuer, unless the program wrote
// Config.Endpoints. before is what was known until now; nil: nothing.
func (ps *providers) discover(ctx context.Context, issuer string, before *provider) (*provider, error) {
	next := &provider{providers: ps, issuer: issuer, fetchedAt: time.Now()}
	if before != nil {
		next.fetch = before.fetch // with its open connections, and the home that its guard knows
	} else {
		next.fetch = &fetch.Client{Transport: ps.guard(issuer)}
	}
	if ps.cfg.Endpoints != nil {
		next.doc = ps.cfg.Endpoints.metadata()
	} else {
		doc, err := oauth.Discover(ctx, next.fetch, issuer, ps.discoverOptions(issuer))
		if errors.Is(err, ErrInvalidResponse) { // its message names the document
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("the provider's metadata: %w", err)
		}
		if doc.Legacy && before != nil && !before.doc.Legacy {
			return nil, fmt.Errorf("the provider's metadata are gone: %w", ErrNoMetadata)
		}
		next.doc, next.issuer = doc, doc.Issuer
		for _, what := range doc.Ignored {
			ps.log.Warn("a member of the provider's metadata is ignored", "issuer", issuer, "member", what)
		}
		if doc.Issuer != issuer {
			ps.log.Info("the resource spells its authorization server otherwise than that does itself",
				"resource", issuer, "issuer", doc.Issuer)
		}
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
func (ps *providers) guard(issuer string) http.RoundTripper {
	switch {
	case ps.cfg.Endpoints != nil, ps.cfg.AllowPrivate:
		return ps.cfg.Transport
	case ps.cfg.Deviations.MetadataURL != "":
		return fetch.NewGuard(ps.cfg.Transport, oauth.IssuerHost(ps.cfg.Deviations.MetadataURL))
	case ps.cfg.issuer() != "" || ps.local(issuer):
		return fetch.NewGuard(ps.cfg.Transport, oauth.IssuerHost(issuer))
	}
	return fetch.NewGuard(ps.cfg.Transport, "")
}

// local reports whether issuer is on this machine, as is the resource that named
// it. The program named that resource, for development.
func (ps *providers) local(issuer string) bool {
	return ps.cfg.issuer() == "" && wire.IsLoopback(oauth.IssuerHost(ps.cfg.Resources[0])) &&
		wire.IsLoopback(oauth.IssuerHost(issuer))
}

// legacy reports whether issuer is the origin of the resource: a server of MCP
// 2025-03-26 is its own authorization server.
func (ps *providers) legacy(issuer string) bool {
	if ps.cfg.issuer() != "" {
		return false
	}
	u, err := url.Parse(ps.cfg.Resources[0])
	return err == nil && oauth.SameIdentifier(issuer, wire.Origin(u))
}

// closeIdle closes the connections that are kept open to providers.
func (ps *providers) closeIdle() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, l := range ps.known {
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
	if ps.resources != nil {
		ps.resources.CloseIdleConnections()
	}
	if t, ok := ps.cfg.Transport.(*http.Transport); ok && ps.ownTransport {
		t.CloseIdleConnections()
	}
}
