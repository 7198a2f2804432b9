package oauthclient

import (
	"context"
	"slices"
	"time"
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

// takesRequestsAs reports whether a request that is pushed to p is the same as one to
// other.
func (p *provider) takesRequestsAs(other *provider) bool {
	a, b := p.doc, other.doc
	return a.PushedAuthorizationRequestEndpoint == b.PushedAuthorizationRequestEndpoint &&
		a.AuthorizationEndpoint == b.AuthorizationEndpoint &&
		slices.Equal(a.TokenEndpointAuthMethodsSupported, b.TokenEndpointAuthMethodsSupported) &&
		slices.Equal(a.TokenEndpointAuthSigningAlgValuesSupported, b.TokenEndpointAuthSigningAlgValuesSupported)
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
		case <-renew:
			var address string
			var err error
			if address, expiry, err = b.transaction.url(ctx); err == nil {
				err = b.server.Renew(address)
			}
			if failed = err != nil; failed {
				if ctx.Err() != nil {
					return
				}
				log.Info("the request was not pushed again", "err", err)
			}
		}
	}
}
