package oauthclient

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// authRequest is the authorization request. It is made beside the opening of the
// browser if it is pushed.
type authRequest struct {
	made   chan struct{} // closed when url is set
	url    string
	expiry time.Time // of a pushed request; zero: none was pushed
}

// push pushes the authorization request, if the provider takes it so. The browser's
// ticket waits for it.
func (b *browserPrompt) push(prompting context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-b.request.made:
		return
	default:
	}
	t := b.transaction
	address, expiry, err := t.url(prompting)
	if lost(err) && prompting.Err() == nil { // the first copy, if it arrived, is never used
		address, expiry, err = t.url(prompting)
	}
	if err != nil { // the endpoint may have moved
		if p := b.login.fresh(prompting); !p.takesRequestsAs(t.provider) {
			t.provider = p
			address, expiry, err = t.url(prompting)
		}
	}
	if err == nil {
		if err = b.server.Renew(address); err != nil && prompting.Err() == nil {
			err = invalid("authorization_endpoint: %w", err)
		}
	}
	if err != nil {
		cancel(&notMade{err})
		return
	}
	b.request.url, b.request.expiry = address, expiry
	close(b.request.made)
}

// lost reports whether a connection was lost before the answer came. One that is slow
// is not, nor one that the server refuses.
func lost(err error) bool {
	var network *fetch.Error
	return errors.As(err, &network) && network.Sent && !errors.As(err, new(tls.AlertError)) &&
		!errors.Is(err, ErrInvalidResponse) && !errors.Is(err, context.DeadlineExceeded)
}

// takesRequestsAs reports whether a request that is pushed to p is the same as one to
// other.
func (p *provider) takesRequestsAs(other *provider) bool {
	a, b := p.doc, other.doc
	return a.PushedAuthorizationRequestEndpoint == b.PushedAuthorizationRequestEndpoint &&
		a.AuthorizationEndpoint == b.AuthorizationEndpoint && p.authenticatesAs(other)
}

// errMoved ends a login whose browser was sent to where the provider was yesterday.
var errMoved = errors.New("the provider has changed how it takes sign-ins since the last one, " +
	"and the browser was sent to its earlier page; sign in again")

// follow compares a request that was made with cached metadata with those of today. If
// the provider has moved, a ticket that nobody has used leads to the new place;
// otherwise the login ends, as it does if the provider cannot be reached: the user
// would wait for nothing.
func (b *browserPrompt) follow(prompting context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-b.request.made:
	case <-prompting.Done():
		return
	}
	used := b.transaction.provider
	if !used.cached {
		return
	}
	p, err := b.login.today(prompting)
	pushed := used.doc.PushedAuthorizationRequestEndpoint != ""
	switch {
	case prompting.Err() != nil:
	case err != nil:
		cancel(&notMade{err})
	case p.doc.AuthorizationEndpoint == used.doc.AuthorizationEndpoint &&
		(pushed || !p.doc.RequirePushedAuthorizationRequests):
	case b.ways.open == nil: // the user has the address already
		cancel(&notMade{errMoved})
	default:
		select {
		case b.moved <- p: // keepTicket goes on
		case <-b.server.Visited():
			cancel(&notMade{errMoved})
		case <-prompting.Done():
		}
	}
}

// today is fresh for a login that is in no hurry. If the metadata could not be had, it
// asks for them once more. It fails if the provider cannot be reached: nothing was
// sent.
func (l *login) today(ctx context.Context) (*provider, error) {
	p := l.fresh(ctx)
	if !p.cached {
		return p, nil
	}
	ps := l.client.providers
	next, err := ps.discover(ctx, p.issuer, p)
	if err == nil {
		return next, ps.lookup(p.issuer).replace(ctx, p, next)
	}
	var network *fetch.Error
	if errors.As(err, &network) && !network.Sent {
		return nil, err
	}
	return p, nil
}

const (
	// absence is how long a browser that was opened may take to ask for its page
	// before that is worth a log line.
	absence = 10 * time.Second
	// minRenewal is how often a request is pushed at most, however soon the provider
	// forgets it.
	minRenewal = 2 * time.Second
	// pushAgain is how soon a failed push is tried again: when a computer wakes up,
	// the network is not there yet.
	pushAgain = 5 * time.Second
)

// keepTicket keeps the ticket good until the browser asks for it. A provider forgets
// a pushed request after a minute or so, and a browser that asks which profile to
// use, or a locked screen, takes longer.
func (b *browserPrompt) keepTicket(ctx context.Context) {
	select {
	case <-b.request.made:
	case <-ctx.Done():
		return
	}
	log, expiry := b.login.client.log, b.request.expiry
	t := *b.transaction
	absent := time.After(absence)
	failed := false
	for {
		var renew <-chan time.Time
		switch {
		case failed:
			renew = time.After(pushAgain)
		case !expiry.IsZero():
			renew = time.After(max(time.Until(expiry)*3/4, minRenewal))
		}
		select {
		case <-ctx.Done():
			return
		case <-b.server.Visited():
			return
		case <-absent:
			log.Warn("no browser has asked for the sign-in page yet")
			continue
		case t.provider = <-b.moved:
			log.Info("the provider has moved its authorization endpoint")
		case <-renew:
		}
		var address string
		var err error
		if address, expiry, err = t.url(ctx); err == nil {
			err = b.server.Renew(address)
		}
		if failed = err != nil; failed {
			if ctx.Err() != nil {
				return
			}
			log.Info("the request was not made again", "err", err)
			continue
		}
		log.Debug("the ticket was renewed")
	}
}
