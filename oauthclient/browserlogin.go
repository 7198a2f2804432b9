package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// ways are the means by which a person is asked.
type ways struct {
	open   func(ctx context.Context, url string, failed func(error)) error // nil: no browser here; failed is called where it fails later
	paste  bool                                                            // the person may open the URL elsewhere and paste the one it ends at
	device bool                                                            // a device code is offered beside that, where the provider has it
}

// browserLogin is the authorization code flow with a loopback redirect (RFC 8252 §7.3): the listener is there before anything is shown, and
// the page says "signed in" only after everything was checked and stored.
func (c *Client) browserLogin(ctx context.Context, at *attempt, w ways) (*Session, error) {
	p := at.provider
	if p.doc.AuthorizationEndpoint == "" {
		return nil, unsupported("the provider has no authorization_endpoint")
	}
	if err := c.pkceSupport(p.doc); err != nil {
		return nil, err
	}
	srv, err := c.listen(ctx, c.cfg.Loopback)
	if err != nil {
		return nil, err
	}
	answered := false
	defer func() {
		if !answered {
			_ = srv.Close()
			return
		}
		c.part(srv)
	}()

	t, err := c.newTransaction(at, srv.RedirectURI())
	if err != nil {
		return nil, err
	}
	authURL, urlExpiry, err := c.authorizationURL(ctx, t)
	if err != nil {
		return nil, err
	}
	ticket, err := srv.Start(authURL, loopback.Expect{
		State: t.state.Reveal(), Issuer: p.issuer, RequireIssuer: p.doc.AuthorizationResponseIssParameterSupported,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: authorization_endpoint: %w", ErrInvalidResponse, err)
	}
	var dev *device
	if w.device && p.doc.DeviceAuthorizationEndpoint != "" {
		if dev, err = c.startDevice(ctx, at); err != nil {
			c.log.Warn("no device code is offered", "err", err)
		}
	}

	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Not with asking, which ends when the browser comes back: the verification then
	// waits for the same fetch instead of beginning another.
	c.working.Go(func() { c.warm(ctx, p) })
	c.cfg.UI.progress(StepPerson)
	do := Instructions{URL: authURL, URLExpiry: urlExpiry, Paste: w.paste}
	do.Expiry, _ = ctx.Deadline()
	if dev != nil {
		dev.instruct(&do)
	}
	failed := func(err error) {
		select {
		case <-srv.Visited(): // whatever the launcher thinks
		case <-asking.Done():
		default:
			c.log.Warn("the browser was not opened", "err", err)
			if c.cfg.UI.Instruct == nil {
				cancel(fmt.Errorf("%w: %w", ErrNoBrowser, err))
			}
		}
	}
	c.working.Go(func() { // a launcher may take its time, while the browser is long back
		if w.open != nil {
			c.working.Go(func() { c.attend(asking, srv, t, urlExpiry) })
			err := w.open(asking, ticket, failed)
			if do.Opened = err == nil; err != nil {
				failed(err)
			}
		}
		if c.cfg.UI.Instruct != nil && asking.Err() == nil {
			c.instruct(asking, cancel, do, srv)
		}
	})
	confirmed := make(chan *oauth.TokenResponse, 1)
	if dev != nil {
		c.working.Go(func() {
			resp, err := dev.poll(asking)
			switch {
			case err == nil:
				confirmed <- resp
				if cancel(errConfirmed); !errors.Is(context.Cause(asking), errConfirmed) {
					c.log.Info("the device code was confirmed after the browser's answer; its tokens are not used")
				}
			case errors.Is(err, ErrAccessDenied): // said no there: that is an answer too
				cancel(err)
			case asking.Err() == nil:
				c.log.Info("the device code is no longer of use", "err", err)
			}
		})
	}

	resp, err := srv.Wait(asking)
	if errors.Is(err, errConfirmed) {
		return c.confirmed(ctx, at, dev, <-confirmed)
	}
	if errors.Is(err, loopback.ErrIssuer) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidResponse, err)
	}
	if err != nil {
		return nil, err
	}
	answered = true
	cancel(nil)
	g, session, err := c.complete(ctx, at, t, resp)
	if err != nil {
		resp.Finish("", err)
		return nil, err
	}
	resp.Finish(g.Username, nil)
	return session, nil
}

// errConfirmed ends the wait for the browser when the device code was confirmed first.
var errConfirmed = errors.New("confirmed with the device code")

// complete turns a checked authorization response into a stored session.
func (c *Client) complete(ctx context.Context, at *attempt, t *transaction, resp *loopback.Response) (*session.Grant, *Session, error) {
	code, err := resp.Code()
	var refused *loopback.Error
	if errors.As(err, &refused) {
		return nil, nil, &Error{Endpoint: "authorization", Code: refused.Code, Description: refused.Description}
	}
	if err != nil {
		return nil, nil, err
	}
	c.cfg.UI.progress(StepExchange)
	g, err := c.exchange(ctx, t, code, at.account.name)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.keep(ctx, at, g)
	return g, s, err
}

// warm fetches what the exchange will need, so that it takes one round trip.
func (c *Client) warm(ctx context.Context, p *provider) {
	if p.keys == nil || !c.openID() {
		return
	}
	if err := p.keys.Prefetch(ctx); err != nil && ctx.Err() == nil {
		c.log.Info("the provider's keys could not be fetched ahead", "err", err)
	}
}

const (
	// absence is how long a browser that was opened may take to ask for its page before that is worth a word.
	absence = 10 * time.Second
	// minRenewal is how often a request is pushed at most, however soon the provider forgets it.
	minRenewal = 2 * time.Second
	// pushAgain is how soon that is tried again where it fails: the network is not there yet when a computer wakes up.
	pushAgain = 5 * time.Second
)

// attend waits for the browser to ask for its page, and keeps the ticket good until then: a request that was pushed is forgotten after a
// minute or so, and a browser that asks which profile to use, or a screen that is locked, takes longer.
func (c *Client) attend(ctx context.Context, srv *loopback.Server, t *transaction, expiry time.Time) {
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
		case <-srv.Visited():
			return
		case <-absent:
			c.log.Warn("no browser has asked for the sign-in page yet")
		case <-renew:
			var address string
			var err error
			if address, expiry, err = c.authorizationURL(ctx, t); err == nil {
				err = srv.Renew(address)
			}
			if failed = err != nil; failed {
				if ctx.Err() != nil {
					return
				}
				c.log.Info("the request was not pushed again", "err", err)
			}
		}
	}
}

// instruct tells the person what to do by hand, and hands what is pasted to the listener, which checks it as it checks a browser's answer.
func (c *Client) instruct(ctx context.Context, cancel context.CancelCauseFunc, do Instructions, srv *loopback.Server) {
	for {
		pasted, err := c.cfg.UI.Instruct(ctx, do)
		if ctx.Err() != nil || err == nil && pasted == "" {
			return
		}
		if err != nil {
			cancel(err)
			return
		}
		if do.Refused = srv.Paste(pasted); do.Refused == nil || errors.Is(do.Refused, loopback.ErrIssuer) {
			return
		}
	}
}

// listen waits first for those that part holds, where they may be on the port that is wanted.
func (c *Client) listen(ctx context.Context, cfg loopback.Config) (*loopback.Server, error) {
	if _, port, err := net.SplitHostPort(cfg.Addr); err == nil && port != "0" {
		c.mu.Lock()
		parting := slices.Clone(c.parting)
		c.mu.Unlock()
		for _, gone := range parting {
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	}
	return loopback.Listen(ctx, cfg)
}

// part closes srv while the program goes on: the browser still loads its page. Close waits for it.
func (c *Client) part(srv *loopback.Server) {
	gone := make(chan struct{})
	c.mu.Lock()
	c.parting = append(c.parting, gone)
	c.mu.Unlock()
	c.working.Go(func() {
		_ = srv.Close()
		close(gone)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.parting = slices.DeleteFunc(c.parting, func(g chan struct{}) bool { return g == gone })
	})
}
