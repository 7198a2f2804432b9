package oauthclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/grant"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// browserLogin is the authorization code flow with a loopback redirect (RFC 8252 §7.3): the listener is there before anything is shown, and
// the page says "signed in" only after everything was checked and stored.
func (c *Client) browserLogin(ctx context.Context, a *account, o *LoginOptions, p *provider, clientID string, scopes []string) (*Session, error) {
	if p.doc.AuthorizationEndpoint == "" {
		return nil, unsupported("the provider has no authorization_endpoint")
	}
	if err := c.pkceSupport(p.doc); err != nil {
		return nil, err
	}
	open := c.cfg.UI.OpenURL
	if open == nil {
		open = browser.Open
		if err := browser.Available(); err != nil {
			if c.cfg.UI.Instruct == nil {
				return nil, fmt.Errorf("%w: %w; hand Config.UI a TerminalUI to sign in with a browser on another machine", ErrNoBrowser, err)
			}
			open = nil
		}
	}
	srv, err := loopback.Listen(ctx, c.cfg.Loopback)
	if err != nil {
		return nil, err
	}
	var finished bool
	defer func() {
		if !finished {
			_ = srv.Close()
			return
		}
		// The browser still loads its page; the program goes on meanwhile, and Close waits for it.
		c.working.Add(1)
		go func() {
			defer c.working.Done()
			_ = srv.Close()
		}()
	}()

	t, err := c.newTransaction(p, clientID, srv.RedirectURI(), o, scopes)
	if err != nil {
		return nil, err
	}
	authURL, err := c.authorizationURL(ctx, t)
	if err != nil {
		return nil, err
	}
	ticket, err := srv.Start(authURL, loopback.Expect{
		State: t.state.Reveal(), Issuer: p.issuer, RequireIssuer: p.doc.AuthorizationResponseIssParameterSupported,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: authorization_endpoint: %w", ErrInvalidResponse, err)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.working.Go(func() { c.warm(ctx, p) }) // while the person is busy
	c.cfg.UI.progress(StepPerson)
	opened := false
	if open != nil {
		if err := open(ctx, ticket); err != nil {
			c.log.Warn("the browser was not opened", "err", err)
			if c.cfg.UI.Instruct == nil {
				return nil, fmt.Errorf("%w: %w", ErrNoBrowser, err)
			}
		} else {
			opened = true
		}
	}
	if c.cfg.UI.Instruct != nil {
		do := Instructions{URL: authURL, Opened: opened, Paste: true}
		if deadline, ok := ctx.Deadline(); ok {
			do.Expiry = deadline
		}
		c.working.Go(func() { c.instruct(ctx, cancel, do, srv) })
	}

	resp, err := srv.Wait(ctx)
	if err != nil {
		if errors.Is(err, loopback.ErrIssuer) {
			return nil, fmt.Errorf("%w: %w", ErrInvalidResponse, err)
		}
		return nil, err
	}
	g, session, err := c.complete(ctx, a, o, t, resp)
	finished = true
	if err != nil {
		resp.Finish("", err)
		return nil, err
	}
	resp.Finish(g.Username, nil)
	return session, nil
}

// complete turns a checked authorization response into a stored session.
func (c *Client) complete(ctx context.Context, a *account, o *LoginOptions, t *transaction, resp *loopback.Response) (*grant.Grant, *Session, error) {
	code, err := resp.Code()
	var refused *loopback.Error
	if errors.As(err, &refused) {
		return nil, nil, &Error{Endpoint: "authorization", Code: refused.Code, Description: refused.Description}
	}
	if err != nil {
		return nil, nil, err
	}
	c.cfg.UI.progress(StepExchange)
	g, err := c.exchange(ctx, t, code, a.name)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.keep(ctx, a, o, g)
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
