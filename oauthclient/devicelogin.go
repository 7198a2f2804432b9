package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/pkce"
)

// device is a device authorization grant under way (RFC 8628): the person confirms a code in a browser on any machine. There is no
// redirect, so nothing proves that it is this person who was asked (§5.4): whoever shows the code says so.
type device struct {
	transaction *transaction
	auth        *oauth.DeviceAuthorization
	exchange    oauth.Request
}

func (c *Client) startDevice(ctx context.Context, at *attempt) (*device, error) {
	p := at.provider
	if p.doc.DeviceAuthorizationEndpoint == "" {
		return nil, unsupported("the provider has no device_authorization_endpoint")
	}
	t, err := c.newTransaction(at, "")
	if err != nil {
		return nil, err
	}
	t.nonce = wire.Secret{} // there is no authorization request to bind one to
	form := cloneValues(t.params)
	if len(at.scopes) > 0 {
		form.Set("scope", strings.Join(at.scopes, " "))
	}
	if len(t.resources) > 0 {
		form["resource"] = t.resources
	}
	exchange := url.Values{}
	if len(t.resources) > 0 {
		exchange["resource"] = t.resources
	}
	if slices.Contains(p.doc.CodeChallengeMethodsSupported, pkce.Method) {
		form.Set("code_challenge", t.verifier.Challenge())
		form.Set("code_challenge_method", pkce.Method)
		exchange.Set("code_verifier", t.verifier.Reveal())
	}
	auth, err := oauth.StartDevice(ctx, p.fetch, c.request(p, at.identity, p.doc.DeviceAuthorizationEndpoint, form, t.key))
	if err != nil {
		return nil, deviceError("device_authorization", err)
	}
	return &device{t, auth, c.request(p, at.identity, p.doc.TokenEndpoint, exchange, t.key)}, nil
}

// instruct adds to do what the person needs for the code.
func (d *device) instruct(do *Instructions) {
	do.UserCode, do.VerificationURI, do.VerificationURIComplete = d.auth.UserCode, d.auth.VerificationURI, d.auth.VerificationURIComplete
	if do.Expiry.IsZero() || d.auth.Expiry.Before(do.Expiry) {
		do.Expiry = d.auth.Expiry
	}
}

func (d *device) poll(ctx context.Context) (*oauth.TokenResponse, error) {
	resp, err := oauth.PollDevice(ctx, d.transaction.provider.fetch, d.exchange, d.auth)
	if err != nil {
		return nil, deviceError("token", err)
	}
	return resp, nil
}

func deviceError(endpoint string, err error) error {
	switch {
	case errors.Is(err, oauth.ErrCodeExpired):
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return fromEndpoint(endpoint, err)
}

// deviceLogin signs in with a device code alone.
func (c *Client) deviceLogin(ctx context.Context, at *attempt) (*Session, error) {
	if c.cfg.UI.Instruct == nil {
		return nil, fmt.Errorf("%w: the device flow needs UI.Instruct to show its code; hand Config.UI a TerminalUI", ErrNoBrowser)
	}
	d, err := c.startDevice(ctx, at)
	if err != nil {
		return nil, err
	}
	c.cfg.UI.progress(StepUser)
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var do Instructions
	d.instruct(&do)
	c.working.Go(func() {
		if _, err := c.cfg.UI.Instruct(asking, do); err != nil && asking.Err() == nil {
			cancel(err)
		}
	})
	resp, err := d.poll(asking)
	if err != nil {
		if cause := context.Cause(asking); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	cancel(nil)
	return c.confirmed(ctx, at, d, resp)
}

// confirmed turns the answer to a device code into a stored session.
func (c *Client) confirmed(ctx context.Context, at *attempt, d *device, resp *oauth.TokenResponse) (*Session, error) {
	c.cfg.UI.progress(StepExchange)
	g, err := c.accept(ctx, d.transaction, resp, at.account.name)
	if err != nil {
		return nil, err
	}
	return c.keep(ctx, at, g)
}
