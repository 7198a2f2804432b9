package oauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// A program of the command line lives for a second, and would fetch the metadata and
// the keys in each run. So a process leaves them for the next one, beside the
// session (internal/session/providercache.go authenticates them). They are checked
// again as if they had just come.

// providerCache is what a process leaves. Times are Unix milliseconds.
type providerCache struct {
	Version  int    `json:"v"`
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	// Found is how the program finds the metadata: see providers.found.
	Found      string            `json:"found"`
	Metadata   []byte            `json:"metadata,omitempty"` // as they came; nil: Config.Endpoints
	MetadataAt int64             `json:"metadata_at,omitempty"`
	JWKSURI    string            `json:"jwks_uri,omitempty"`
	Keys       []byte            `json:"keys,omitempty"` // as they came; nil: none were fetched
	KeysAt     int64             `json:"keys_at,omitempty"`
	Nonces     map[string]string `json:"dpop_nonces,omitempty"` // by origin (RFC 9449 §8)
}

const (
	cacheFormat = 1
	// cacheRenewal is the age at which cached metadata are fetched anew, beside the
	// refresh that uses them. They are used for providerAge at most, as those in
	// memory are.
	cacheRenewal = time.Hour
	// cacheAhead is how far in the future a time may be: clocks are corrected.
	cacheAhead = time.Minute
	// besideWait bounds work that is done beside a refresh or a login, and
	// besideClose how long Client.Close waits for it. It mostly ends with the refresh.
	besideWait  = 5 * time.Second
	besideClose = 250 * time.Millisecond
)

// found describes how the program finds the metadata of issuer. A program that finds
// them in another way does not use the cache.
func (ps *providers) found(issuer string) string {
	if ps.cfg.Endpoints != nil {
		return "Config.Endpoints"
	}
	return fmt.Sprintf("%+v", ps.discoverOptions(issuer))
}

// readCache returns the provider cache of g; nil: there is none that this program may
// use.
func (ps *providers) readCache(ctx context.Context, g *session.Grant) *providerCache {
	data := ps.keeper.ProviderCache(ctx, g)
	var k providerCache
	switch {
	case data == nil || wire.UnmarshalJSON(data, &k) != nil || k.Version != cacheFormat:
		return nil
	case k.Issuer != g.Issuer || k.ClientID != g.ClientID || k.Found != ps.found(g.Issuer):
		return nil
	case ps.cfg.Endpoints != nil:
		return &k
	case !recent(time.UnixMilli(k.MetadataAt)) || k.MetadataAt < g.CacheSince.UnixMilli():
		return nil
	}
	return &k
}

// recent reports whether what was fetched at a time is still used. If that is in the
// future, a clock was set back, and nobody knows how old it is.
func recent(at time.Time) bool {
	age := time.Since(at)
	return age > -cacheAhead && age < providerAge
}

// restore returns the provider of g from its cache; nil: it has to be discovered.
func (ps *providers) restore(ctx context.Context, g *session.Grant) *provider {
	k := ps.readCache(ctx, g)
	if k == nil {
		return nil
	}
	p := &provider{providers: ps, issuer: g.Issuer, fetchedAt: time.UnixMilli(k.MetadataAt), cached: true}
	if ps.cfg.Endpoints != nil {
		p.doc, p.fetchedAt, p.cached = ps.cfg.Endpoints.metadata(), time.Now(), false
	} else {
		doc, err := ps.discoverOptions(g.Issuer).Read(k.Metadata, g.Issuer)
		if err == nil && doc.Issuer != g.Issuer {
			err = errors.New("they are another issuer's")
		}
		if err != nil {
			ps.log.Warn("the cached metadata are not used", "issuer", g.Issuer, "err", err)
			return nil
		}
		p.doc = doc
	}
	// The guard is new. It has to learn again that the issuer has a private address:
	// this machine may be in another network now.
	p.fetch = &fetch.Client{Transport: ps.guard(g.Issuer)}
	switch {
	case p.doc.JWKSURI == "":
	case k.JWKSURI == p.doc.JWKSURI && recent(time.UnixMilli(k.KeysAt)):
		p.keys = jose.RestoreKeySet(p.fetch, p.doc.JWKSURI, k.Keys, time.UnixMilli(k.KeysAt))
	default:
		p.keys = jose.NewKeySet(p.fetch, p.doc.JWKSURI)
	}
	ps.nonces.Adopt(k.Nonces)
	return p
}

// keep writes the provider cache of g. Newer metadata of another process stay.
func (ps *providers) keep(ctx context.Context, g *session.Grant) {
	p := ps.lookup(g.Issuer).peek(ctx)
	if p == nil || p.doc.Legacy {
		return
	}
	k := providerCache{
		Version: cacheFormat, Issuer: g.Issuer, ClientID: g.ClientID, Found: ps.found(g.Issuer),
		JWKSURI: p.doc.JWKSURI, Nonces: ps.nonces.Latest(),
	}
	if ps.cfg.Endpoints == nil {
		k.Metadata, k.MetadataAt = p.doc.Raw, p.fetchedAt.UnixMilli()
	}
	if p.keys != nil {
		if document, at := p.keys.Document(); document != nil {
			k.Keys, k.KeysAt = document, at.UnixMilli()
		}
	}
	if now := ps.readCache(ctx, g); now != nil {
		if now.MetadataAt > k.MetadataAt {
			return
		}
		if now.JWKSURI == k.JWKSURI && now.KeysAt > k.KeysAt && recent(time.UnixMilli(now.KeysAt)) {
			k.Keys, k.KeysAt = now.Keys, now.KeysAt
		}
		if now.MetadataAt == k.MetadataAt && now.JWKSURI == k.JWKSURI && now.KeysAt == k.KeysAt &&
			maps.Equal(now.Nonces, k.Nonces) {
			return
		}
	}
	if data, err := json.Marshal(k); err == nil {
		ps.keeper.SetProviderCache(ctx, g, data)
	}
}

// cacheSince returns Grant.CacheSince for the successor of g, which p gave the tokens
// of. g is nil at a login.
func (p *provider) cacheSince(g *session.Grant) time.Time {
	if p.cfg.Endpoints != nil {
		return time.Time{}
	}
	if g != nil && g.CacheSince.After(p.fetchedAt) && recent(g.CacheSince) {
		return g.CacheSince
	}
	return p.fetchedAt.Truncate(time.Millisecond) // as it is stored
}

// settled keeps what a refresh or login has taught. It is session.Accounts.Settled.
func (ps *providers) settled(g *session.Grant) {
	ps.beside(func(ctx context.Context) {
		// Client.Close waits for this: it is a write of a small file.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), besideWait)
		defer cancel()
		ps.keep(ctx, g)
	})
}

// beside does work in the background. It returns false, and does not, if the client is
// closed.
func (ps *providers) beside(work func(ctx context.Context)) bool {
	if ps.begin() != nil {
		return false
	}
	go func() {
		defer ps.done()
		ctx, cancel := context.WithTimeout(context.Background(), besideWait)
		defer cancel()
		defer context.AfterFunc(ps.starting, func() { time.AfterFunc(besideClose, cancel) })()
		work(ctx)
	}()
	return true
}

// renewBeside fetches anew what is old of p, while a refresh of g is under way: the
// metadata for the next one, and the keys for the ID token of this one.
func (ps *providers) renewBeside(p *provider, g *session.Grant) {
	if p.keys != nil && !g.IDToken.IsZero() && p.keys.Stale() {
		ps.beside(p.fetchKeys)
	}
	if p.cached && time.Since(p.fetchedAt) >= cacheRenewal {
		ps.renew(p, g)
	}
}

// renew fetches the metadata of p anew, in the background. g is the session whose
// cache they came from. The result is closed at the end.
func (ps *providers) renew(p *provider, g *session.Grant) <-chan struct{} {
	l := ps.lookup(g.Issuer)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if l.renewal != nil {
		return l.renewal
	}
	done := make(chan struct{})
	l.renewal = done
	began := ps.beside(func(ctx context.Context) {
		defer func() {
			ps.mu.Lock()
			defer ps.mu.Unlock()
			l.renewal = nil
			close(done)
		}()
		next, err := ps.discover(ctx, g.Issuer, p)
		if err == nil {
			err = l.replace(ctx, p, next)
		}
		if err != nil {
			ps.log.Info("the provider's metadata were not renewed", "issuer", g.Issuer, "err", err)
			return
		}
		ps.keep(ctx, g)
	})
	if !began {
		l.renewal = nil
		close(done)
	}
	return done
}

// discoverCached finds the provider of a login. If the account has a session of it,
// the metadata may be cached, so that nothing is asked before the user is. They are
// fetched anew meanwhile: see fresh.
func (l *login) discoverCached(ctx context.Context, issuer string) (err error) {
	ps := l.client.providers
	l.renewed = nil
	if l.before == nil || l.before.Issuer != issuer {
		l.provider, err = ps.get(ctx, issuer)
		return err
	}
	if l.provider, err = ps.of(ctx, l.before); err == nil && l.provider.cached {
		l.renewed = ps.renew(l.provider, l.before)
	}
	return err
}

// fresh returns the provider to which a code is sent. A login that began with cached
// metadata waits until they have been fetched anew, for besideWait at most.
func (l *login) fresh(ctx context.Context) *provider {
	if l.renewed == nil {
		return l.provider
	}
	select {
	case <-l.renewed:
	case <-ctx.Done():
	}
	if p := l.client.providers.lookup(l.provider.issuer).peek(ctx); p != nil {
		return p
	}
	return l.provider
}

// afresh decides about a refresh that failed at p, whose metadata are cached. It
// returns the provider to send the refresh to once more; nil: it is not sent again.
// ctx ends when nothing is to be sent any more.
// The metadata are fetched for that, and only if the provider has moved its token
// endpoint, or nothing was sent, is there a reason to send again.
func (ps *providers) afresh(
	ctx context.Context, p *provider, g *session.Grant, failed *session.SendError,
) *provider {
	switch failed.Failure {
	case session.Paused, session.LockLost:
		return nil
	case session.Unknown: // internal/session sends it again, with newer metadata if they are there
		ps.renew(p, g)
		return nil
	case session.NotSent: // the network, or a guard that does not know the issuer yet
	default:
		ps.keeper.DropProviderCache(context.WithoutCancel(ctx), session.Key(g.Realm, g.Party, g.Account))
	}
	next, err := ps.get(ctx, g.Issuer)
	if err != nil || next.cached || failed.Failure != session.NotSent && next.sameTokenEndpoint(p) {
		return nil
	}
	ps.log.Info("the refresh is sent with metadata that were just fetched", "issuer", g.Issuer)
	return next
}

// sameTokenEndpoint reports whether a refresh at p is the same request as at other.
func (p *provider) sameTokenEndpoint(other *provider) bool {
	return p.doc.TokenEndpoint == other.doc.TokenEndpoint && p.authenticatesAs(other)
}

// authenticatesAs reports whether clients authenticate at p as they do at other.
func (p *provider) authenticatesAs(other *provider) bool {
	a, b := p.doc, other.doc
	return slices.Equal(a.TokenEndpointAuthMethodsSupported, b.TokenEndpointAuthMethodsSupported) &&
		slices.Equal(a.TokenEndpointAuthSigningAlgValuesSupported, b.TokenEndpointAuthSigningAlgValuesSupported)
}

// discoverOptions say how the program finds the metadata of issuer.
func (ps *providers) discoverOptions(issuer string) oauth.DiscoverOptions {
	return oauth.DiscoverOptions{
		OpenID: ps.cfg.openID(), Learned: ps.cfg.issuer() == "", Stated: ps.cfg.TenantIssuer,
		Place: ps.cfg.Deviations.MetadataURL, Legacy: ps.legacy(issuer),
		Private: ps.cfg.AllowPrivate || ps.local(issuer),
	}
}
