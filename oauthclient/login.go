package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// LoginOptions say what one login asks for. The zero LoginOptions signs in to the
// default account.
type LoginOptions struct {
	// Account is the program's own name for the session. "": the default account.
	Account string
	// ReplaceUser lets another user take the account. Otherwise a login as another
	// user fails with [ErrAccountMismatch].
	ReplaceUser bool
	// Flow chooses how the user is reached. Zero: by what is there.
	Flow Flow
	// Scopes are asked for besides Config.Scopes and what the account was granted.
	// If they are not granted, the login fails with [ErrStepUp].
	Scopes []string
	// ACRValues are the authentication contexts of which one is wanted (RFC 9470).
	// If the ID token has none of them, the login fails with [ErrStepUp].
	ACRValues []string
	// MaxAge is how long ago the user may have signed in. 0: any time; negative:
	// sign in again now (max_age=0).
	MaxAge time.Duration
	// Prompt is OpenID Connect's prompt: "login", "consent", "select_account",
	// "none". LoginHint names the user to the provider. "": not sent, but Prompt is
	// "consent" if the account's session has no refresh token and offline_access is
	// asked for: many providers give one only then.
	Prompt, LoginHint string
	// AuthParams are more parameters of the authorization request, over
	// Config.AuthParams. They never set what the flow sets itself. nil: none.
	AuthParams url.Values
	// ResourceMetadata is the URL at which the resource describes itself, from a
	// challenge (RFC 9728). "": the well-known one.
	ResourceMetadata string
	// DPoP binds the session's tokens to a key, as Config.DPoP does (RFC 9449).
	// [ParseChallenge] sets it if the API accepts no bearer tokens.
	DPoP bool

	rejected wire.Secret // by ParseChallenge: a token that the resource does not accept
}

// Flow is a way to reach the user.
type Flow int

// The flows.
const (
	FlowAuto    Flow = iota // by what is there: a browser, a pasted URL, a device code
	FlowBrowser             // the system's browser, on this machine (RFC 8252)
	FlowPaste               // the user opens the URL anywhere, and pastes the one it ends at
	FlowDevice              // a code to type on another device (RFC 8628)
)

// loginWait bounds a login if ctx has no deadline.
const loginWait = 5 * time.Minute

// Login always prompts the user, and replaces the account's stored session. If ctx has
// no deadline, the user has five minutes. Nothing is stored unless every check has
// passed. nil opts: the zero LoginOptions. With [Config].Workload or
// [Config].IdentityProvider it is [errors.ErrUnsupported].
func (c *Client) Login(ctx context.Context, opts *LoginOptions) (*Session, error) {
	return c.login(ctx, opts, false)
}

// SessionOrLogin returns the stored session if it satisfies opts (Scopes, ACRValues,
// MaxAge, DPoP); otherwise it logs in. However many goroutines and processes call it at
// once, one of them prompts the user, and the others wait and adopt the result. A
// refresh that fails never opens a browser, unless the provider has ended the
// session. nil opts: the zero LoginOptions.
//
// With [Config].Workload or [Config].IdentityProvider it prompts nobody: it obtains a
// token, and returns the error if that fails. Of opts, it observes Account, Scopes,
// ResourceMetadata and DPoP. ACRValues and MaxAge are about a user's login, so it fails
// with [ErrStepUp] if they are set. With Config.IdentityProvider, use SessionOrLogin of
// the identity provider's Client for them.
func (c *Client) SessionOrLogin(ctx context.Context, opts *LoginOptions) (*Session, error) {
	return c.login(ctx, opts, true)
}

// login is Login, or with adopt SessionOrLogin.
func (c *Client) login(ctx context.Context, opts *LoginOptions, adopt bool) (*Session, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	l := &login{client: c, started: time.Now()}
	if opts != nil {
		l.opts = *opts
	}
	if err := l.opts.check(); err != nil {
		return nil, err
	}
	switch {
	case !c.cfg.keeps() && adopt:
		return c.workloadLogin(ctx, &l.opts)
	case !c.cfg.keeps():
		return nil, c.cfg.errNoUser("nobody can sign in; call SessionOrLogin")
	}
	var err error
	if l.account, err = c.account(l.opts.Account); err != nil {
		return nil, err
	}
	if adopt {
		if s, err := l.satisfying(ctx, time.Time{}); s != nil || err != nil {
			return s, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	closed := func() { cancel(fmt.Errorf("oauthclient: the client was closed: %w", os.ErrClosed)) }
	defer context.AfterFunc(c.prompting, closed)()
	s, err := l.alone(ctx, adopt)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, os.ErrClosed) {
		return nil, cause
	}
	return s, err
}

func (o *LoginOptions) check() error {
	for _, s := range o.Scopes {
		if err := checkScope(s); err != nil {
			return wire.Field("LoginOptions.Scopes", "%w", err)
		}
	}
	if err := checkAuthParams(o.AuthParams); err != nil {
		return wire.Field("LoginOptions.AuthParams", "%w", err)
	}
	return nil
}

// login is one login on its way. Its steps, in order, are in run.
type login struct {
	client  *Client
	account *session.Account
	opts    LoginOptions
	started time.Time

	// discover fills in these.
	provider  *provider
	identity  identity
	scopes    []string
	dpop      bool
	resources []string        // as the transaction names them
	before    *session.Grant  // the session that the account has; nil: none
	renewed   <-chan struct{} // see fresh; nil: the provider is not from a cache
}

// alone runs the login under the login lock, unless another process's login has just
// ended in what this one wants.
func (l *login) alone(ctx context.Context, adopt bool) (*Session, error) {
	c, key := l.client, l.account.Key
	held, unlock, err := c.keeper.LockLogin(ctx, key, func() { c.cfg.UI.progress(StepElsewhere) })
	if err != nil {
		return nil, fmt.Errorf("the lock under which one process at a time signs in: %w", err)
	}
	defer unlock()
	wanted := l.digest()
	if adopt {
		if s, err := l.satisfying(ctx, l.started); s != nil || err != nil {
			return s, err
		}
		if data := c.keeper.Failure(ctx, key, l.started); data != nil {
			if err := decodeFailure(data, wanted); err != nil {
				return nil, err
			}
		}
	}
	// The clock starts now: the wait for another process's login does not count.
	running := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		running, cancel = context.WithTimeout(ctx, loginWait)
		defer cancel()
	}
	s, err := l.run(running)
	l.doubtRegistration(context.WithoutCancel(held), err)
	if err != nil {
		if data := encodeFailure(err, wanted); data != nil {
			c.keeper.LeaveFailure(context.WithoutCancel(held), key, data)
		}
		return nil, err
	}
	return s, nil
}

// run is the whole login: discover, authorize, wait, exchange, verify, store. The
// login lock is held.
func (l *login) run(ctx context.Context) (*Session, error) {
	prompt, err := l.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer prompt.close()
	answer, err := prompt.wait(ctx)
	if err != nil {
		return nil, err
	}
	g, err := l.finish(ctx, answer)
	if err != nil {
		answer.tell("", err)
		return nil, err
	}
	answer.tell(g.Username, nil) // only now does the page say "signed in"
	return &Session{client: l.client, account: l.account, slot: l.account.SlotOf(g)}, nil
}

// prepare is a login up to the prompt. The metadata of an earlier process never
// refuse a login: what fails with them is done once more with those of today, unless
// these cannot be had.
func (l *login) prepare(ctx context.Context) (prompt, error) {
	prompt, err := l.prepareOnce(ctx)
	if err == nil || l.provider == nil || !l.provider.cached || l.fresh(ctx).cached || ctx.Err() != nil {
		return prompt, err
	}
	l.client.log.Info("the login begins anew with metadata that were just fetched", "err", err)
	return l.prepareOnce(ctx)
}

func (l *login) prepareOnce(ctx context.Context) (prompt, error) {
	if err := l.discover(ctx); err != nil {
		return nil, err
	}
	return l.authorize(ctx)
}

// discover finds out everything that is known before the user is prompted: the
// provider, the store, and the client's identity.
func (l *login) discover(ctx context.Context) error {
	c := l.client
	c.cfg.UI.progress(StepDiscover)
	if err := c.logoutEnded(ctx, l.account); err != nil {
		return err
	}
	t, err := c.providers.target(ctx, &l.opts)
	if err != nil {
		return err
	}
	if err := c.keeper.Probe(ctx); err != nil { // nobody signs in for nothing
		return err
	}
	seen, err := c.keeper.Read(ctx, l.account.Key)
	if err != nil {
		return failure(err)
	}
	l.before, l.dpop, l.resources = seen.Grant, t.dpop, t.resources
	if err := l.discoverCached(ctx, t.issuer); err != nil {
		if c.cfg.issuer() == "" && len(t.servers) > 1 {
			err = fmt.Errorf("%w; the resource also names %s: to sign in there, set Config.Issuer to it",
				err, wire.SafeText(t.servers[1], 200))
		}
		return err
	}
	if l.provider.doc.Legacy && !t.legacy {
		return invalid("the resource describes itself, and its authorization server does not: %w", ErrNoMetadata)
	}
	if seen.Leaving { // finished now, so that its revocation cannot end the new session
		if err := c.keeper.FinishLogout(ctx, l.account.Key); err != nil {
			return failure(err)
		}
	}
	if l.identity, err = l.provider.identify(ctx, c.store, t.dpop, seen.ForgottenClient); err != nil {
		return err
	}
	l.scopes = union(t.scopes, l.opts.Scopes)
	if l.before != nil && len(l.opts.Scopes) > 0 {
		l.scopes = union(l.scopes, l.before.Scopes)
	}
	if c.issuer == "" && slices.Contains(l.provider.doc.ScopesSupported, "offline_access") {
		l.scopes = union(l.scopes, []string{"offline_access"})
	}
	return nil
}

// prompt is the user being asked to sign in: with a browser, or with a device code.
type prompt interface {
	// wait returns what the user did.
	wait(ctx context.Context) (*answer, error)
	// close ends the prompt.
	close()
}

// answer is what a prompt brought: an authorization code, or with a device code the
// tokens themselves.
type answer struct {
	transaction *transaction
	code        string
	named       bool // the answer named its issuer (RFC 9207), which was the right one
	tokens      *oauth.TokenResponse
	// tell ends what the user sees: the user that signed in, or why that failed.
	tell func(username string, err error)
}

// authorize prompts the user, by the flow that was chosen or by what is there.
func (l *login) authorize(ctx context.Context) (prompt, error) {
	ways, err := l.ways()
	if err != nil {
		return nil, err
	}
	if ways.deviceAlone {
		return l.promptDevice(ctx)
	}
	return l.promptBrowser(ctx, ways)
}

// finish is the rest of a login after the user's answer: exchange, verify, store.
func (l *login) finish(ctx context.Context, a *answer) (*session.Grant, error) {
	l.client.cfg.UI.progress(StepExchange)
	t := *a.transaction
	t.provider = l.fresh(ctx)
	if a.tokens == nil && l.provider.cached && !a.named &&
		t.provider.doc.AuthorizationResponseIssParameterSupported {
		return nil, invalid("%w", loopback.ErrIssuer)
	}
	if a.tokens == nil { // a device code has brought them already
		tokens, err := t.provider.redeem(ctx, &t, a.code)
		if err != nil && t.provider.cached {
			l.client.keeper.DropProviderCache(ctx, l.account.Key)
		}
		if err != nil {
			return nil, err
		}
		a.tokens = tokens
	}
	g, err := l.verify(ctx, &t, a.tokens)
	if err != nil {
		return nil, err
	}
	return l.store(ctx, g)
}

// verify makes a grant of the token response, if that passes every check. Rejected
// tokens are revoked on a best-effort basis.
func (l *login) verify(ctx context.Context, t *transaction, resp *oauth.TokenResponse) (*session.Grant, error) {
	cfg, p := &l.client.cfg, t.provider
	p.logDeviations(p.issuer, resp)
	if off := resp.ClockOffset; off.Abs() > time.Minute {
		l.client.log.Warn("this machine's clock is not the provider's; the ID token is judged by that one, "+
			"if they differ by 10 minutes at most", "issuer", p.issuer, "ahead", -off.Round(time.Second))
	}
	var key wire.Secret
	if !t.key.IsZero() {
		var err error
		if key, err = t.key.Marshal(); err != nil {
			return nil, err
		}
	}
	g := &session.Grant{
		Realm: cfg.realm(), Party: cfg.party(), Account: l.account.Name,
		Issuer: p.issuer, ClientID: t.identity.id, ClientSecret: t.identity.secret,
		ClientAuth: t.identity.method,
		Scopes:     resp.GrantedScopes(t.scopes), Resources: t.resources, RefreshToken: resp.RefreshToken,
		SessionExpiry: session.SessionExpiry(resp, time.Now()),
		Tokens:        []session.Token{session.NewToken(resp, time.Now(), cfg.AssumeLifetime)},
		DPoPKey:       key, CacheSince: p.cacheSince(nil),
	}
	if err := l.identifyUser(ctx, t, resp, g); err != nil {
		l.discard(ctx, g)
		return nil, err
	}
	if g.RefreshToken.IsZero() && slices.Contains(t.scopes, "offline_access") {
		l.client.log.Warn("offline_access was asked for and no refresh token came; "+
			"the account's next login asks for consent, which may bring one", "issuer", g.Issuer)
	}
	return g, nil
}

// identifyUser learns the user, and how they signed in, from the verified ID token. An access
// token identifies nobody (S84).
func (l *login) identifyUser(ctx context.Context, t *transaction, resp *oauth.TokenResponse, g *session.Grant) error {
	if !t.openID {
		if len(t.acrValues) > 0 || t.hasMaxAge {
			return fmt.Errorf("%w: ACRValues and MaxAge can only be checked in an ID token; "+
				"add \"openid\" to the scopes", ErrStepUp)
		}
		return nil
	}
	if resp.IDToken.IsZero() {
		return invalid("openid was asked for and the token endpoint sent no id_token")
	}
	claims, err := t.provider.verifyAtLogin(ctx, t.identity.id, resp.IDToken.Reveal(), oidc.Expected{
		Nonce: t.nonce.Reveal(), AccessToken: resp.AccessToken, MaxAge: t.maxAge, HasMaxAge: t.hasMaxAge,
		Started: t.started, ACRValues: t.acrValues, ClockOffset: resp.ClockOffset,
	})
	if err != nil {
		return err
	}
	g.IDToken, g.Subject, g.Username = resp.IDToken, claims.Subject, username(claims)
	return nil
}

// store checks g against what the login wanted, stores it and publishes it.
func (l *login) store(ctx context.Context, g *session.Grant) (*session.Grant, error) {
	stored, err := l.save(ctx, g)
	if err != nil {
		var pending *tokenstore.Pending
		if !errors.As(err, &pending) { // otherwise Save sees to it: the store may keep it after all
			l.discard(ctx, g)
		}
		return nil, failure(err)
	}
	l.account.SignedIn(stored)
	l.client.providers.settled(stored)
	l.client.log.Info("a user signed in", "event", "login", "account", l.account.Name, "issuer", stored.Issuer)
	moved := l.before != nil && l.before.Subject != "" && g.Subject != "" && l.before.Issuer != g.Issuer
	if moved || anotherUser(l.before, g) { // nobody will use the earlier session again
		l.client.working.Go(func() { l.discard(context.WithoutCancel(ctx), l.before) })
	}
	return stored, nil
}

func (l *login) save(ctx context.Context, g *session.Grant) (*session.Grant, error) {
	for _, s := range l.opts.Scopes {
		if !slices.Contains(g.Scopes, s) {
			return nil, fmt.Errorf("%w: scope %q was not granted", ErrStepUp, s)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.client.cfg.UI.progress(StepStore)
	return l.client.keeper.Save(ctx, l.account.Key, g, func(prev *session.Grant) error {
		if anotherUser(prev, g) && !l.opts.ReplaceUser {
			return fmt.Errorf("%w: the account%s belongs to %s; sign in as that user, name another account, "+
				"or set ReplaceUser", ErrAccountMismatch, quoted(l.account.Name), describeUser(prev))
		}
		return nil
	}, func() { l.discard(context.WithoutCancel(ctx), g) })
}

// discard revokes the tokens of g, which are not kept, unless a stored session of
// this client may depend on them: several providers tie revocation to the user's
// grant to the client, not to one token. Only an explicit logout may end a session.
func (l *login) discard(ctx context.Context, g *session.Grant) {
	c := l.client
	rows, err := c.keeper.Rows(ctx, c.cfg.realm(), c.cfg.party())
	if err != nil {
		c.log.Info("unused tokens were not revoked: a stored session may depend on them", "err", err)
		return
	}
	for _, r := range rows {
		if r.Issuer == g.Issuer && (g.Subject == "" || r.Subject == "" || r.Subject == g.Subject) {
			c.log.Info("unused tokens were not revoked: a stored session may depend on them", "account", r.Account)
			return
		}
	}
	l.provider.discard(ctx, g)
}

// anotherUser reports two grants of different users, if both are known. An issuer that
// is learned from a resource may change: that is a new login, and no other user.
func anotherUser(prev, g *session.Grant) bool {
	return prev != nil && prev.Subject != "" && g.Subject != "" &&
		prev.Issuer == g.Issuer && prev.Subject != g.Subject
}

func describeUser(g *session.Grant) string {
	if g.Username != "" {
		return g.Username
	}
	if g.Subject != "" {
		return "user " + wire.SafeText(g.Subject, 100)
	}
	return "another user"
}

func quoted(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

func union(lists ...[]string) []string {
	var out []string
	for _, list := range lists {
		for _, s := range list {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}
