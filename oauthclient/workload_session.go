package oauthclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// errNoUser is the error of calls that are about a user that signs in here.
func (c *Config) errNoUser(what string) error {
	if c.IdentityProvider != nil {
		return unsupported("%s: the user signs in at Config.IdentityProvider, with its own Client", what)
	}
	return unsupported("%s: Config.Workload is set, so that there is no user", what)
}

// workloadSession is Client.Session without a user. Nothing is read or sent.
func (c *Client) workloadSession(account string) (*Session, error) {
	a, err := c.account(account)
	if err != nil {
		return nil, err
	}
	started := a.Start(&session.Grant{
		Realm: c.cfg.realm(), Party: c.cfg.party(), Account: account, Issuer: c.issuer, ClientID: c.cfg.ClientID,
		Scopes: withoutUserScopes(c.cfg.Scopes), Resources: c.cfg.Resources, Tokens: []session.Token{{}},
	})
	if started {
		c.log.Info("tokens are obtained without asking anybody",
			"event", "workload", "grant", c.cfg.grant(), "account", account)
	}
	return c.session(a), nil
}

// grant names what brings tokens without a login, for the log.
func (c *Config) grant() string {
	if c.IdentityProvider != nil {
		return "IdentityProvider"
	}
	return cmp.Or(c.Workload.given().field, "client credentials")
}

// workloadLogin is Client.SessionOrLogin without a user. It obtains a token, so that
// a program that the provider does not let in learns it here.
func (c *Client) workloadLogin(ctx context.Context, o *LoginOptions) (*Session, error) {
	if len(o.ACRValues) > 0 || o.MaxAge != 0 {
		why := "it takes a user, and Config.Workload is set"
		if c.cfg.IdentityProvider != nil {
			why = "the user signs in at Config.IdentityProvider; ask for it there, with SessionOrLogin of its own Client"
		}
		return nil, fmt.Errorf("%w: %s", ErrStepUp, why)
	}
	s, err := c.workloadSession(o.Account)
	if err != nil {
		return nil, err
	}
	wish := *o
	wish.Scopes = withoutUserScopes(o.Scopes)
	t := s.slot.Cached()
	rejected := t != nil && !o.rejected.IsZero() && t.Token.AccessToken == o.rejected.Reveal()
	if t == nil || rejected || !wish.satisfiedBy(s.account.Grant(), time.Time{}) {
		err = c.retarget(ctx, s, &wish, t)
	} else {
		_, err = s.Token(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// retarget finds out what s is for by now, with what o wants besides, and obtains a
// token in place of had; nil: there is none. If that fails, s is what it was.
func (c *Client) retarget(ctx context.Context, s *Session, o *LoginOptions, had *session.CachedToken) error {
	t, err := c.providers.target(ctx, o)
	if err != nil {
		return err
	}
	t.scopes = union(withoutUserScopes(t.scopes), o.Scopes)
	before := c.setTarget(s.account.Name, func(now *target) *target {
		if now != nil {
			t.scopes = union(t.scopes, now.scopes)
		}
		return &t
	})
	if had == nil { // perhaps somebody has obtained one meanwhile
		if _, err = s.Token(ctx); err == nil && o.satisfiedBy(s.account.Grant(), time.Time{}) {
			return nil
		}
	}
	for range 2 { // the first may join a request that was made for less
		if err != nil {
			break
		}
		if err = s.Refresh(ctx); err == nil && o.satisfiedBy(s.account.Grant(), time.Time{}) {
			return nil
		}
	}
	c.setTarget(s.account.Name, func(now *target) *target {
		if now != &t { // another call wants something else by now
			return now
		}
		return before
	})
	if err == nil {
		err = fmt.Errorf("%w: the provider did not grant every one of the scopes %q", ErrStepUp, o.Scopes)
	}
	return err
}

// setTarget changes what the tokens of account are for, and returns what they were
// for; nil: that has not been found out.
func (c *Client) setTarget(account string, change func(now *target) *target) *target {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.targets[account]
	if c.targets == nil {
		c.targets = map[string]*target{}
	}
	c.targets[account] = change(before)
	return before
}

// targetOf returns what the tokens of account are for.
func (c *Client) targetOf(ctx context.Context, account string) (*target, error) {
	if t := c.setTarget(account, func(now *target) *target { return now }); t != nil {
		return t, nil
	}
	t, err := c.providers.target(ctx, &LoginOptions{})
	if err != nil {
		return nil, err
	}
	t.scopes = withoutUserScopes(t.scopes)
	use := &t
	c.setTarget(account, func(now *target) *target {
		if now != nil {
			use = now
		}
		return use
	})
	return use, nil
}

// withoutUserScopes leaves out the scopes that are about a user's session, so that a
// program may be configured alike with and without a user.
func withoutUserScopes(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return s == "openid" || s == "offline_access"
	})
}

// obtain gets tokens for s without a user, and returns g with them. It is
// session.Accounts.Obtain.
func (c *Client) obtain(life context.Context, g *session.Grant, s *session.Slot) (*session.Grant, error) {
	ctx, cancel := context.WithTimeout(life, refreshTimeout)
	defer cancel()
	defer context.AfterFunc(c.prompting, cancel)() // nothing is lost by it
	r, err := c.newWorkloadRequest(ctx, g, s)
	if err == nil {
		var resp *oauth.TokenResponse
		if resp, err = r.send(ctx); err == nil {
			return r.grant(s, resp), nil
		}
	}
	failed := session.Classify(err, g.ClientID, false)
	var own *workloadError
	var identity *identityError
	switch {
	case c.prompting.Err() != nil:
		failed.Err = fmt.Errorf("oauthclient: the client was closed: %w", os.ErrClosed)
	case errors.As(err, &identity):
		return nil, identityFailure(failed, identity)
	case errors.As(err, &own):
		failed.Err = own
	case r != nil:
		failed.Err = c.providers.failed("token", err)
	}
	return nil, failed
}

// workloadRequest is a token request without a user.
type workloadRequest struct {
	provider *provider
	identity identity
	key      oauth.DPoPKey // zero: bearer tokens
	base     session.Grant // what the tokens are added to
	asked    []string      // the scopes of the session's own token

	resources, scopes []string // of this request
}

// newWorkloadRequest finds out everything that is known before something is sent.
func (c *Client) newWorkloadRequest(
	ctx context.Context, g *session.Grant, s *session.Slot,
) (*workloadRequest, error) {
	t, err := c.targetOf(ctx, g.Account)
	if err != nil {
		return nil, err
	}
	p, err := c.providers.get(ctx, t.issuer)
	if err != nil {
		return nil, err
	}
	auth, ok := c.cfg.authAt(p.issuer)
	if !ok {
		return nil, invalid("the resource names the authorization server %s, "+
			"and Config.Deviations.AcceptIssuer does not accept it", p.issuer)
	}
	r := &workloadRequest{
		provider: p, identity: c.cfg.configured(c.cfg.ClientID, auth, ok), base: *g, asked: t.scopes,
		resources: t.resources, scopes: t.scopes,
	}
	if g.Issuer != p.issuer { // its tokens are another server's
		r.base.Tokens, r.base.DPoPKey = []session.Token{{}}, wire.Secret{}
	}
	r.base.Issuer, r.base.Resources = p.issuer, t.resources
	if s.Resource != "" {
		r.resources = []string{asPublished(&r.base, s.Resource)}
	}
	if len(s.Scopes) > 0 {
		r.scopes = s.Scopes
	}
	if err := r.bind(t.dpop); err != nil {
		return nil, err
	}
	return r, nil
}

// bind finds or makes the key that the tokens are bound to.
func (r *workloadRequest) bind(dpop bool) (err error) {
	if !dpop || !r.base.DPoPKey.IsZero() {
		r.key, err = r.base.ProofKey()
		return err
	}
	if r.key, err = r.provider.newProofKey(); err != nil {
		return err
	}
	r.base.DPoPKey, err = r.key.Marshal()
	r.base.Tokens = []session.Token{{}} // those from before are bearer tokens
	return err
}

// send sends the request.
func (r *workloadRequest) send(ctx context.Context) (*oauth.TokenResponse, error) {
	if r.provider.cfg.IdentityProvider != nil {
		return r.sendIdentity(ctx)
	}
	p, w := r.provider, r.provider.cfg.Workload
	req := p.tokenRequest(r.identity, url.Values{}, r.key)
	if w.GrantAssertion == nil && w.SubjectToken == nil {
		req.Form.Set("grant_type", "client_credentials")
		req, err := p.authenticated(ctx, r.identity, req.Target(r.resources, r.scopes))
		if err != nil {
			return nil, err
		}
		return oauth.RequestToken(ctx, p.fetch, req)
	}
	token, err := w.token(ctx, p.issuer)
	if err != nil {
		return nil, err
	}
	name := "assertion"
	if w.SubjectToken != nil {
		name = "subject_token"
	}
	req.Again = func(ctx context.Context) (url.Values, error) {
		token, err := w.token(ctx, p.issuer)
		return url.Values{name: {token.Reveal()}}, err
	}
	if w.GrantAssertion != nil {
		return oauth.RequestByAssertion(ctx, p.fetch, req, token, r.resources, r.scopes)
	}
	return oauth.ExchangeToken(ctx, p.fetch, req, oauth.Exchange{
		Subject: token, SubjectType: cmp.Or(w.SubjectTokenType, oauth.TypeJWT),
		Resources: r.resources, Scopes: r.scopes,
	})
}

// grant returns the grant with the tokens of resp. A refresh token is not kept: what
// the program has brings the next token, too (RFC 6749 §4.4.3). An ID token is about
// no user.
func (r *workloadRequest) grant(s *session.Slot, resp *oauth.TokenResponse) *session.Grant {
	p := r.provider
	p.logDeviations(p.issuer, resp)
	if s.Main() {
		r.base.Scopes = r.asked
	}
	next := r.base.Refreshed(s, resp, session.NewToken(resp, time.Now(), p.cfg.AssumeLifetime))
	next.RefreshToken, next.SessionExpiry = wire.Secret{}, time.Time{}
	return next
}

// authenticated adds the client's authentication to req, if the platform issues it.
func (p *provider) authenticated(ctx context.Context, id identity, req oauth.Request) (oauth.Request, error) {
	if !id.asked {
		return req, nil
	}
	assert := func(ctx context.Context) (url.Values, error) {
		token, err := p.cfg.Workload.token(ctx, p.issuer)
		return oauth.ClientAssertion(token.Reveal()), err
	}
	form, err := assert(ctx)
	if err != nil {
		return req, err
	}
	for name, values := range req.Form {
		form[name] = values
	}
	req.Form, req.Again = form, assert
	return req, nil
}

// workloadLogout is Client.Logout without a user: the tokens in memory are revoked,
// and a Session that goes on obtains others.
func (c *Client) workloadLogout(ctx context.Context, account string, opts *LogoutOptions) error {
	s, err := c.workloadSession(account)
	if err != nil {
		return err
	}
	var end, revoked error
	if opts != nil && opts.EndSession {
		end = c.cfg.errNoUser("the provider's session is not ended")
	}
	if g := s.account.Forget(); g.Generation > 0 { // otherwise there was no token yet
		revoked = c.providers.revoke(ctx, g)
		c.log.Info("the tokens were revoked", "event", "logout", "account", account, "revoked", revoked == nil)
	}
	if revoked != nil {
		revoked = fmt.Errorf("%w: %w", ErrNotRevoked, revoked)
	}
	return errors.Join(revoked, end)
}
