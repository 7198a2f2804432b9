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

// devicePrompt is a device authorization grant (RFC 8628): the user confirms a code
// in a browser on any machine. There is no redirect, so nothing proves that the user
// confirming it is the user that was asked (§5.4): the page with the code says so.
type devicePrompt struct {
	login       *login
	transaction *transaction
	auth        *oauth.DeviceAuthorization
	exchange    oauth.Request
}

// promptDevice offers a device code alone.
func (l *login) promptDevice(ctx context.Context) (prompt, error) {
	if l.client.cfg.UI.Instruct == nil {
		return nil, fmt.Errorf("%w: the device flow needs UI.Instruct to show its code; hand Config.UI a TerminalUI",
			ErrNoBrowser)
	}
	l.provider = l.fresh(ctx) // what it refuses is final: see prepare
	d, err := l.startDevice(ctx)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// startDevice asks the provider for a code.
func (l *login) startDevice(ctx context.Context) (*devicePrompt, error) {
	p := l.fresh(ctx) // the code is asked for at the token endpoint, too
	if p.doc.DeviceAuthorizationEndpoint == "" {
		return nil, unsupported("the provider has no device_authorization_endpoint")
	}
	t, err := l.newTransaction("")
	if err != nil {
		return nil, err
	}
	t.provider = p
	t.nonce = wire.Secret{} // there is no authorization request to bind one to
	form, exchange := cloneValues(t.params), url.Values{}
	if len(l.scopes) > 0 {
		form.Set("scope", strings.Join(l.scopes, " "))
	}
	if len(t.resources) > 0 {
		form["resource"], exchange["resource"] = t.resources, t.resources
	}
	if slices.Contains(p.doc.CodeChallengeMethodsSupported, pkce.Method) {
		form.Set("code_challenge", t.verifier.Challenge())
		form.Set("code_challenge_method", pkce.Method)
		exchange.Set("code_verifier", t.verifier.Reveal())
	}
	req := p.request(l.identity, p.doc.DeviceAuthorizationEndpoint, form, t.key)
	auth, err := oauth.StartDevice(ctx, p.fetch, req)
	if err != nil {
		return nil, deviceError("device_authorization", err)
	}
	return &devicePrompt{l, t, auth, p.tokenRequest(l.identity, exchange, t.key)}, nil
}

// instruct adds to do what the user needs for the code.
func (d *devicePrompt) instruct(do *Instructions) {
	do.UserCode, do.VerificationURI = d.auth.UserCode, d.auth.VerificationURI
	do.VerificationURIComplete = d.auth.VerificationURIComplete
	if do.Expiry.IsZero() || d.auth.Expiry.Before(do.Expiry) {
		do.Expiry = d.auth.Expiry
	}
}

// poll waits until the user has confirmed or refused the code.
func (d *devicePrompt) poll(ctx context.Context) (*oauth.TokenResponse, error) {
	resp, err := oauth.PollDevice(ctx, d.transaction.provider.fetch, d.exchange, d.auth)
	if err != nil {
		return nil, deviceError("token", err)
	}
	return resp, nil
}

// answer is what a confirmed code brought. There is no page to tell the end.
func (d *devicePrompt) answer(resp *oauth.TokenResponse) *answer {
	return &answer{transaction: d.transaction, tokens: resp, tell: func(string, error) {}}
}

// wait shows the code and polls.
func (d *devicePrompt) wait(ctx context.Context) (*answer, error) {
	c := d.login.client
	c.cfg.UI.progress(StepUser)
	prompting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var do Instructions
	d.instruct(&do)
	c.working.Go(func() {
		if _, err := c.cfg.UI.Instruct(prompting, do); err != nil && prompting.Err() == nil {
			cancel(err)
		}
	})
	resp, err := d.poll(prompting)
	if err != nil {
		if cause := context.Cause(prompting); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return d.answer(resp), nil
}

func (d *devicePrompt) close() {}

func deviceError(endpoint string, err error) error {
	if errors.Is(err, oauth.ErrCodeExpired) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return fromEndpoint(endpoint, err)
}
