package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// LoginOptions say what one login asks for. The zero LoginOptions signs in to the default account.
type LoginOptions struct {
	// Account is the program's own name for the session. "": the default account.
	Account string
	// ReplaceUser lets another user take the account; else that is [ErrAccountMismatch].
	ReplaceUser bool
	// Flow chooses how the person is reached. Zero: by what is there.
	Flow Flow
	// Scopes are asked for besides Config.Scopes and what the account was granted. [ErrStepUp]: they were not granted.
	Scopes []string
	// ACRValues are the authentication contexts of which one is wanted (RFC 9470). It is checked afterwards: [ErrStepUp].
	ACRValues []string
	// MaxAge is how long ago the person may have signed in. 0: any time; negative: sign in again now (max_age=0).
	MaxAge time.Duration
	// Prompt is OpenID Connect's prompt: "login", "consent", "select_account", "none". LoginHint names the user to the provider.
	Prompt, LoginHint string
	// AuthParams are more parameters of the authorization request, over Config.AuthParams; never what the flow sets.
	AuthParams url.Values
	// ResourceMetadata is where the resource describes itself, from a challenge (RFC 9728). "": the well-known place.
	ResourceMetadata string

	refused wire.Secret // by ParseChallenge: a token that the resource does not take
}

// Flow is a way to reach the person.
type Flow int

// The flows.
const (
	FlowAuto    Flow = iota // by what is there: a browser, a paste, a device code
	FlowBrowser             // the system's browser, on this machine (RFC 8252)
	FlowPaste               // the person opens the URL anywhere, and pastes the one it ends at
	FlowDevice              // a code to type on another device (RFC 8628)
)

// loginWait bounds a login whose ctx has no deadline.
const loginWait = 5 * time.Minute

// Login asks the person to sign in, always, and stores the session over the account's earlier one. Without a deadline in ctx it waits five minutes.
// nil opts: the zero LoginOptions. Nothing is stored unless every check has passed.
func (c *Client) Login(ctx context.Context, opts *LoginOptions) (*Session, error) {
	return c.login(ctx, opts, false)
}

// SessionOrLogin returns the stored session if it satisfies opts (scopes, ACRValues, MaxAge), else it logs in. However many goroutines
// and processes call it at once, one asks the person; the others wait and adopt its outcome. A refresh that fails never opens a browser, unless
// the provider has ended the session.
func (c *Client) SessionOrLogin(ctx context.Context, opts *LoginOptions) (*Session, error) {
	return c.login(ctx, opts, true)
}

func (c *Client) login(ctx context.Context, opts *LoginOptions, adopt bool) (*Session, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.done()
	var o LoginOptions
	if opts != nil {
		o = *opts
	}
	for _, s := range o.Scopes {
		if err := checkScope(s); err != nil {
			return nil, wire.Field("LoginOptions.Scopes", "%w", err)
		}
	}
	if err := checkAuthParams(o.AuthParams); err != nil {
		return nil, wire.Field("LoginOptions.AuthParams", "%w", err)
	}
	started := time.Now()
	a := c.account(o.Account)
	if adopt {
		if s, err := a.satisfying(ctx, &o, time.Time{}); s != nil || err != nil {
			return s, err
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, loginWait)
		defer cancel()
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.asking, func() { cancel(fmt.Errorf("oauthclient: the client was closed: %w", os.ErrClosed)) })()
	s, err := c.loginOnce(ctx, a, &o, started, adopt)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, os.ErrClosed) {
		return nil, cause
	}
	return s, err
}

// loginOnce asks the person, unless somebody else has just done so.
func (c *Client) loginOnce(ctx context.Context, a *account, o *LoginOptions, started time.Time, adopt bool) (*Session, error) {
	held, unlock, err := c.keeper.Lead(ctx, a.key, func() { c.cfg.UI.progress(StepElsewhere) })
	if err != nil {
		return nil, fmt.Errorf("the lock under which one process at a time signs in: %w", err)
	}
	defer unlock()
	asked := c.asked(o)
	if adopt {
		if s, err := a.satisfying(ctx, o, started); s != nil || err != nil {
			return s, err
		}
		if failure := c.keeper.Failure(ctx, a.key, started); failure != nil {
			if err := decodeFailure(failure, asked); err != nil {
				return nil, err
			}
		}
	}
	s, err := c.lead(ctx, a, o)
	if err != nil {
		if data := encodeFailure(err, asked); data != nil {
			c.keeper.LeaveFailure(context.WithoutCancel(held), a.key, data)
		}
		return nil, err
	}
	return s, nil
}

// satisfying returns the stored session if it does for o; nil, nil: a login is needed. A sign-in since started (zero: never) is as good as one
// that the caller would ask for now.
func (a *account) satisfying(ctx context.Context, o *LoginOptions, started time.Time) (*Session, error) {
	err := a.load(ctx)
	if errors.Is(err, ErrLoginRequired) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := a.session("", nil)
	g := a.grant.Load()
	if g == nil || !a.suffices(g, o, started) {
		return nil, nil
	}
	h := s.slot.current.Load()
	if h != nil && !o.refused.IsZero() && h.token.AccessToken == o.refused.Reveal() {
		if err := s.refreshAfter(ctx, h.generation); errors.Is(err, ErrLoginRequired) {
			return nil, nil
		}
		return s, nil
	}
	if h == nil || !h.valid(time.Now()) {
		if _, err := s.Token(ctx); errors.Is(err, ErrLoginRequired) {
			return nil, nil
		}
		// Another error is passing, and the session is what it was.
	}
	return s, nil
}

func (a *account) suffices(g *session.Grant, o *LoginOptions, started time.Time) bool {
	for _, s := range o.Scopes {
		if !slices.Contains(g.Scopes, s) {
			return false
		}
	}
	if len(o.ACRValues) == 0 && o.MaxAge == 0 {
		return true
	}
	if g.IDToken.IsZero() {
		return false
	}
	claims, err := oidc.ParseIDToken(g.IDToken.Reveal())
	if err != nil || len(o.ACRValues) > 0 && !slices.Contains(o.ACRValues, claims.ACR) {
		return false
	}
	if o.MaxAge == 0 {
		return true
	}
	if o.MaxAge < 0 { // auth_time is in whole seconds
		return !started.IsZero() && claims.AuthTime.Unix() >= started.Unix()
	}
	return !claims.AuthTime.IsZero() && time.Since(claims.AuthTime) <= o.MaxAge
}

// lead asks the person. The login lock is held.
func (c *Client) lead(ctx context.Context, a *account, o *LoginOptions) (*Session, error) {
	c.cfg.UI.progress(StepDiscover)
	aim, err := c.target(ctx, o)
	if err != nil {
		return nil, err
	}
	p, err := c.provider(ctx, aim.issuer)
	if err != nil {
		return nil, err
	}
	if err := c.keeper.Probe(ctx); err != nil { // before anything is shown: nobody signs in for nothing
		return nil, err
	}
	seen, err := c.keeper.Look(ctx, a.key)
	if err != nil {
		return nil, c.failure(err)
	}
	id, err := c.identify(ctx, p, aim.dpop)
	if err != nil {
		return nil, err
	}
	scopes := union(aim.scopes, o.Scopes)
	if seen.Grant != nil && len(o.Scopes) > 0 {
		scopes = union(scopes, seen.Grant.Scopes)
	}
	if c.issuer == "" && slices.Contains(p.doc.ScopesSupported, "offline_access") {
		scopes = union(scopes, []string{"offline_access"})
	}
	return c.ask(ctx, &attempt{account: a, opts: o, provider: p, identity: id, scopes: scopes, dpop: aim.dpop, before: seen.Grant})
}

// attempt is one login on its way to the person.
type attempt struct {
	account  *account
	opts     *LoginOptions
	provider *provider
	identity identity
	scopes   []string
	dpop     bool
	before   *session.Grant // the session that the account has; nil: none
}

// discard revokes tokens of g, which are not kept, but not where that could end the session that the account has: several providers tie revocation to the
// user's grant to the client, not to one token.
func (at *attempt) discard(ctx context.Context, c *Client, g *session.Grant) {
	if at.before != nil && (g.Subject == "" || g.Subject == at.before.Subject) {
		return
	}
	c.discard(ctx, g)
}

// ask reaches the person by the flow that was chosen, or by what is there.
func (c *Client) ask(ctx context.Context, at *attempt) (*Session, error) {
	open, instruct := browser.Watch, c.cfg.UI.Instruct != nil
	can := browser.Can{Opener: c.cfg.UI.OpenURL != nil, Instruct: instruct, Device: at.provider.doc.DeviceAuthorizationEndpoint != ""}
	if can.Opener {
		open = func(ctx context.Context, url string, _ func(error)) error { return c.cfg.UI.OpenURL(ctx, url) }
	} else {
		can.NoBrowser = browser.Available()
	}
	var choice browser.Ways
	switch at.opts.Flow {
	case FlowBrowser:
		choice = browser.Ways{Browser: can.Opener || can.NoBrowser == nil}
	case FlowPaste:
		choice = browser.Ways{Paste: instruct, Why: "the paste flow was chosen"}
	case FlowDevice:
		choice = browser.Ways{Device: instruct, Why: "the device flow was chosen"}
	default:
		choice = browser.Look(browser.View{}).Choose(can)
		c.log.Info("the ways to sign in", "browser", choice.Browser, "paste", choice.Paste, "device", choice.Device, "why", choice.Why)
	}
	switch {
	case choice.None() && can.NoBrowser != nil && instruct: // the chosen flow left nothing else
		return nil, fmt.Errorf("%w: %w", ErrNoBrowser, can.NoBrowser)
	case choice.None() && can.NoBrowser != nil:
		return nil, fmt.Errorf("%w: %w; hand Config.UI a TerminalUI to sign in with a browser on another machine", ErrNoBrowser, can.NoBrowser)
	case choice.None():
		return nil, fmt.Errorf("%w: %s, and UI.Instruct is nil; hand Config.UI a TerminalUI, or choose FlowBrowser", ErrNoBrowser, choice.Why)
	case !choice.Browser && !choice.Paste, choice.Device && at.provider.doc.AuthorizationEndpoint == "":
		return c.deviceLogin(ctx, at)
	case !choice.Browser:
		open = nil
	}
	return c.browserLogin(ctx, at, ways{open: open, paste: instruct, device: choice.Device})
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

// keep checks a new grant against what the login wanted, stores it and publishes it.
func (c *Client) keep(ctx context.Context, at *attempt, g *session.Grant) (*Session, error) {
	a, o := at.account, at.opts
	stored, err := func() (*session.Grant, error) {
		for _, s := range o.Scopes {
			if !slices.Contains(g.Scopes, s) {
				return nil, fmt.Errorf("%w: scope %q was not granted", ErrStepUp, s)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.cfg.UI.progress(StepStore)
		return c.keeper.Save(ctx, a.key, g, func(prev *session.Grant) error {
			if another(prev, g) && !o.ReplaceUser {
				return fmt.Errorf("%w: the account%s belongs to %s; sign in as that user, name another account, or set ReplaceUser",
					ErrAccountMismatch, quoted(a.name), who(prev))
			}
			return nil
		})
	}()
	if err != nil {
		var pending *tokenstore.Pending
		if !errors.As(err, &pending) { // then Save sees to it: the store may keep it after all
			at.discard(ctx, c, g)
		}
		return nil, c.failure(err)
	}
	a.stored(stored)
	if prev := at.before; another(prev, g) { // nobody will use that one again
		c.working.Go(func() { c.discard(ctx, prev) })
	}
	return a.session("", nil), nil
}

// another reports two grants of different users, where both are known.
func another(prev, g *session.Grant) bool {
	return prev != nil && prev.Subject != "" && g.Subject != "" && (prev.Issuer != g.Issuer || prev.Subject != g.Subject)
}

func quoted(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

func who(g *session.Grant) string {
	if g.Username != "" {
		return g.Username
	}
	if g.Subject != "" {
		return "user " + wire.SafeText(g.Subject, 100)
	}
	return "another user"
}
