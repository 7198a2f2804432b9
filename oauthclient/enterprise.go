package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Enterprise-managed authorization: the user signs in once, at the company's identity
// provider. What they may do at another authorization server is the company's
// decision, so that nobody is prompted there. The ID token is exchanged for an
// identity assertion at the identity provider (RFC 8693), and the assertion for an
// access token at the other server (RFC 7523 §2.1). Tokens are had again like those of
// a workload, so they are not stored.

// checkIdentityProvider checks c.IdentityProvider against the rest of c.
func (c *Config) checkIdentityProvider() error {
	problem := ""
	switch idp := c.IdentityProvider; {
	case c.Workload != nil:
		problem = "it is a user's session, and Config.Workload is for a program without one; set one of them"
	case idp.client == nil:
		problem = "it is the zero Session; set one that a Client of the identity provider returned"
	case !idp.client.cfg.keeps():
		problem = "it is no session of a user that signed in"
	case c.ClientID == "":
		return wire.Field("Config.ClientID", "it is missing; "+
			"give the client ID that the resource's authorization server registered")
	}
	if problem != "" {
		return wire.Field("Config.IdentityProvider", "%s", problem)
	}
	return nil
}

// identityError is what went wrong at the identity provider. If it matches
// ErrLoginRequired, the user must sign in there.
type identityError struct {
	issuer string
	err    error
}

func (e *identityError) Error() string {
	return fmt.Sprintf("at the identity provider %s: %v", e.issuer, e.err)
}

func (e *identityError) Unwrap() error { return e.err }

// atIdentityProvider returns err as s's client shows it; nil stays nil.
func (s *Session) atIdentityProvider(err error) error {
	if err == nil {
		return nil
	}
	return &identityError{s.client.cfg.realm(), err}
}

// checkIdentity reports that the session at the identity provider has ended, or is
// another user's by now: no token of the earlier user goes out any more. It does no
// I/O if that session is good, but now and then in the background.
func (s *Session) checkIdentity(ctx context.Context) error {
	idp := s.client.cfg.IdentityProvider
	if idp == nil {
		return nil
	}
	idp.account.Recheck(idp.slot)
	if idp.endedBy() == nil {
		return nil
	}
	_, err := idp.current(ctx) // perhaps the user has signed in again
	return idp.atIdentityProvider(err)
}

// sendIdentity requests a token with an identity assertion. Each request has an
// assertion of its own.
func (r *workloadRequest) sendIdentity(ctx context.Context) (*oauth.TokenResponse, error) {
	p := r.provider
	req := p.tokenRequest(r.identity, url.Values{}, r.key)
	assertion, err := r.identityAssertion(ctx)
	if err != nil {
		return nil, err
	}
	req.Again = func(ctx context.Context) (url.Values, error) {
		assertion, err := r.identityAssertion(ctx)
		return url.Values{"assertion": {assertion.Reveal()}}, err
	}
	return oauth.RequestByAssertion(ctx, p.fetch, req, assertion, r.resources, r.scopes)
}

// identityAssertion gets an assertion for r from the identity provider.
func (r *workloadRequest) identityAssertion(ctx context.Context) (wire.Secret, error) {
	idp := r.provider.cfg.IdentityProvider
	if err := idp.client.begin(); err != nil {
		return wire.Secret{}, idp.atIdentityProvider(err)
	}
	defer idp.client.done()
	assertion, err := idp.identityAssertion(ctx, oauth.Exchange{
		SubjectType: oauth.TypeIDToken, Audience: r.provider.issuer, Resources: r.resources, Scopes: r.scopes,
	})
	return assertion, idp.atIdentityProvider(err)
}

// renewAfter is how old the session's tokens are, if a refused ID token is a reason to
// refresh the session: the refusal may be about a newer one, too.
const renewAfter = time.Minute

// identityAssertion exchanges the ID token for x. If the provider refuses that, its
// policy may be the reason, or the session has ended there. A refresh finds out: what
// ends a session is its refresh token, and never an assertion.
func (s *Session) identityAssertion(ctx context.Context, x oauth.Exchange) (wire.Secret, error) {
	assertion, err := s.exchangeIDToken(ctx, x)
	var refused *oauth.Error
	if !errors.As(err, &refused) || !oauth.Ended(refused.Code) {
		return assertion, err
	}
	g := s.account.Grant()
	if g == nil || g.RefreshToken.IsZero() || time.Since(g.Tokens[0].Obtained) < renewAfter {
		return assertion, err
	}
	switch renewed := s.like("", nil).refreshAfter(ctx, g.Generation); {
	case errors.Is(renewed, ErrLoginRequired):
		return wire.Secret{}, renewed
	case renewed != nil:
		return wire.Secret{}, err
	}
	return s.exchangeIDToken(ctx, x)
}

// exchangeIDToken exchanges the ID token at its issuer, which alone gets it. It is
// refreshed first if it has expired.
func (s *Session) exchangeIDToken(ctx context.Context, x oauth.Exchange) (wire.Secret, error) {
	raw, _, err := s.IDToken(ctx)
	if err != nil {
		return wire.Secret{}, err
	}
	g, err := s.account.GrantOf(s.slot)
	if err != nil {
		return wire.Secret{}, failure(err)
	}
	claims, err := s.claimsOf(g)
	if err != nil {
		return wire.Secret{}, err
	}
	key, err := g.ProofKey()
	if err != nil {
		return wire.Secret{}, failure(err)
	}
	p, err := s.client.providers.get(ctx, g.Issuer)
	if err != nil {
		return wire.Secret{}, err
	}
	if oauth.SameIdentifier(x.Audience, p.issuer) {
		return wire.Secret{}, invalid("the resource's authorization server is the identity provider itself; " +
			"sign in there for the resource, without Config.IdentityProvider")
	}
	x.Subject = wire.NewSecret(raw)
	req := p.tokenRequest(p.cfg.identityOf(g), url.Values{}, key)
	return oauth.RequestIDJAG(ctx, p.fetch, req, x, claims.Issuer)
}

// identityFailure is the error of a request that failed at the identity provider. A
// *session.SendError means that the next one waits: the provider refused this one.
func identityFailure(failed *session.SendError, at *identityError) error {
	if errors.Is(at, ErrLoginRequired) || errors.Is(at, ErrAccountMismatch) {
		return at // the user decides when, and nothing was sent in vain
	}
	err := fromEndpoint("token", at.err)
	var e *Error
	if errors.As(err, &e) {
		e.workload = true
	}
	failed.Err = &identityError{at.issuer, err}
	return failed
}
