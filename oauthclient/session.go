package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Session is a signed-in user, or with [Config].Workload the program itself. It never opens a browser, and it has no goroutine
// while idle. It is safe for concurrent use. The zero Session is not usable: see
// [Client.Login] and [Client.Session].
type Session struct {
	client  *Client
	account *session.Account
	slot    *session.Slot
	err     error // of For: every token's error

	once  sync.Once
	http  *http.Client
	watch watch
}

func (c *Client) session(a *session.Account) *Session {
	return &Session{client: c, account: a, slot: a.Slot("", nil)}
}

// Format implements [fmt.Formatter]. Every verb names the session and shows nothing
// of what it holds.
func (s *Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "oauthclient.Session(%s%s)", s.client.cfg.realm(), quoted(s.account.Name))
}

// Account describes the session as last seen. It does no I/O. After a logout it has
// only Name, Issuer and Store.
func (s *Session) Account() Account {
	g, err := s.account.GrantOf(s.slot)
	if err != nil {
		return Account{
			Name: s.account.Name, Issuer: s.client.issuer, Store: s.client.storeName(), LoginRequired: true,
		}
	}
	a := s.client.describe(g.Row())
	a.LoginRequired = a.LoginRequired || s.account.Ended() || s.account.Doubted()
	if !s.client.cfg.keeps() { // what brought the tokens brings others
		a.LoginRequired, a.Refreshable, a.Store = false, true, ""
	}
	if idp := s.client.cfg.IdentityProvider; idp != nil {
		user := idp.Account()
		a.LoginRequired, a.Username = user.LoginRequired, user.Username
	}
	return a
}

// Token returns a valid access token, from memory or refreshed. Near expiry one
// goroutine refreshes while every other caller goes on with the token that is still
// valid. All callers share the token: do not change it. It has no refresh token.
//
// The token's Extra returns other members of the token response, such as
// instance_url, unless they are larger than 16 KiB together. A member that a refresh
// did not repeat keeps its value. Members that are secrets by their names
// ("…token", "…secret", "…assertion…") are left out.
//
// Token fails with [ErrLoginRequired] if only signing in again helps. Every other
// error is passing: the session stays, and a later call may succeed.
func (s *Session) Token(ctx context.Context) (*oauth2.Token, error) {
	t, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return t.Token, nil
}

// current returns the token to send now.
func (s *Session) current(ctx context.Context) (*session.CachedToken, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := s.checkIdentity(ctx); err != nil {
		return nil, err
	}
	if t := s.slot.Cached(); t != nil && t.Fresh() {
		return t, nil
	}
	t, err := s.account.Token(ctx, s.slot)
	return t, failure(err)
}

// TokenSource returns the session as an [oauth2.TokenSource]. It captures no
// context: a refresh is bounded by its own deadline and by [Client.Close]. Under
// DPoP its Token is an error that names HTTPClient, because an API refuses a token
// without a proof (RFC 9449).
//
// For Google's API clients, option.WithHTTPClient with [Session.HTTPClient] is the
// better choice: their WithTokenSource keeps a token by itself, and its error does
// not match [ErrLoginRequired].
func (s *Session) TokenSource() oauth2.TokenSource { return tokenSource{s} }

type tokenSource struct{ session *Session }

func (t tokenSource) Format(f fmt.State, verb rune) { t.session.Format(f, verb) }

func (t tokenSource) Token() (*oauth2.Token, error) {
	tok, err := t.session.Token(context.Background())
	if err == nil && tok.TokenType == "DPoP" {
		return nil, errors.New("this session's tokens are bound to a key (DPoP), and a token alone is refused: " +
			"use Session.HTTPClient, which sends the proof too")
	}
	return tok, err
}

// Refresh gets new tokens now, whatever the age of the present ones. Calls that
// overlap share one refresh. Its errors are those of Token.
func (s *Session) Refresh(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	var after uint64
	if t := s.slot.Cached(); t != nil {
		after = t.Generation
	} else if g := s.account.Grant(); g != nil {
		after = g.Generation
	}
	return s.refreshAfter(ctx, after)
}

// refreshAfter returns when there is a token of a generation above after.
func (s *Session) refreshAfter(ctx context.Context, after uint64) error {
	if ended := s.checkIdentity(ctx); ended != nil {
		return ended
	}
	err := s.account.Refresh(ctx, s.slot, after)
	said := failure(err)
	if errors.Is(err, session.ErrNoRefreshToken) && errors.Is(said, ErrLoginRequired) {
		s.account.NeedLogin() // though the access token may be good for a while
	}
	return said
}

// For returns the same login's session with tokens for one of Config.Resources (RFC
// 8707; "": for none), or for fewer scopes (none: all). A resource that is not in
// Config.Resources, or a scope that was not granted, is the error of every call of
// the result; for a scope it matches [ErrStepUp].
func (s *Session) For(resource string, scopes ...string) *Session {
	c, a := s.client, s.account
	impossible := func(err error) *Session {
		return &Session{client: c, account: a, slot: s.slot, err: fmt.Errorf("For: %w", err)}
	}
	if resource != "" && !slices.Contains(c.cfg.Resources, resource) {
		return impossible(wire.Field("Config.Resources", "%q is not one of the resources that the login names", resource))
	}
	for _, sc := range scopes {
		if err := checkScope(sc); err != nil {
			return impossible(err)
		}
		// This is said at once. What counts is checked again when it is sent.
		if g := a.Grant(); g != nil && c.cfg.keeps() && !slices.Contains(g.Scopes, sc) {
			return impossible(notGranted("scope", sc))
		}
	}
	if g := a.Grant(); g != nil && len(g.Resources) == 1 && asPublished(g, resource) == g.Resources[0] {
		resource = "" // the login's own tokens are for it, and no refresh is needed to get one
	}
	scopes = slices.Clone(scopes)
	slices.Sort(scopes)
	return s.like(resource, slices.Compact(scopes))
}

// like returns the session of the same user for resource and scopes.
func (s *Session) like(resource string, scopes []string) *Session {
	return &Session{client: s.client, account: s.account, slot: s.account.SlotLike(s.slot, resource, scopes)}
}

func notGranted(what, name string) error {
	return fmt.Errorf("%s %q was not granted at the sign-in; ask for it with Login: %w", what, name, ErrStepUp)
}

// idTokenMargin is how long an ID token must live to be handed out: what receives it
// needs time to check it.
const idTokenMargin = 10 * time.Second

// IDToken returns the verified ID token and its expiry. If it has expired, the
// session is refreshed. It is for APIs that want one, such as Kubernetes; use
// [Session.Claims] to identify the user. IDToken fails with [ErrLoginRequired] if the
// token has expired and a refresh since then brought no other, and with
// [errors.ErrUnsupported] if the login did not ask for openid.
func (s *Session) IDToken(ctx context.Context) (raw string, expiry time.Time, err error) {
	if s.err != nil {
		return "", time.Time{}, s.err
	}
	refreshed := false
	for range 3 { // a newer one may be adopted first, and be as old
		g, err := s.loaded(ctx)
		if err != nil {
			return "", time.Time{}, err
		}
		claims, err := s.claimsOf(g)
		if err != nil {
			return "", time.Time{}, err
		}
		// Expiry is by the provider's clock, and end by this machine's.
		end := claims.Expiry.Add(-idTokenMargin - s.client.providers.nonces.Clock.Ahead())
		if !g.Pending() && time.Now().Before(end) {
			return g.IDToken.Reveal(), claims.Expiry, nil
		}
		if idTokenIsLast(g, end) {
			if g.IDTokenRejected && (!refreshed || s.account.FirstRejection(g)) {
				return "", time.Time{}, invalid("the provider's new ID token failed a check; " +
					"check this machine's clock and try again in a minute")
			}
			break
		}
		whole := s.like("", nil) // a token for less may come without one
		after := g.Generation
		if g.Pending() { // another process checks its ID token now: wait for that one
			after--
		}
		if err := whole.refreshAfter(ctx, after); err != nil {
			if errors.Is(err, ErrLoginRequired) {
				s.account.NeedLogin()
			}
			return "", time.Time{}, err
		}
		refreshed = true
	}
	s.account.NeedLogin()
	return "", time.Time{}, &loginRequired{
		why: "the ID token has expired, and the provider gives none at a refresh", kind: ErrSessionExpired,
	}
}

// idTokenRetry is how often a refresh may bring another ID token in place of one
// that failed a check: this machine's clock may be right by then.
const idTokenRetry = time.Minute

// idTokenIsLast reports whether another refresh would bring no newer ID token: the
// last one came after the ID token's end, and brought none. Times are stored in
// milliseconds, so a refresh in the one of the end counts.
func idTokenIsLast(g *session.Grant, end time.Time) bool {
	switch obtained := g.Tokens[0].Obtained; {
	case g.Pending(), g.IDTokenFrom == g.Generation,
		obtained.UnixMilli() < end.UnixMilli():
		return false
	case g.IDTokenRejected:
		return time.Since(obtained) < idTokenRetry
	}
	return true
}

// loaded returns the stored grant, and reads the store if memory has none: another
// process may have signed in.
func (s *Session) loaded(ctx context.Context) (*session.Grant, error) {
	g, err := s.account.GrantOf(s.slot)
	if errors.Is(err, session.ErrAbsent) {
		if err = s.account.Reload(ctx); err == nil {
			g, err = s.account.GrantOf(s.slot)
		}
	}
	return g, failure(err)
}

// Claims decodes the latest verified ID token into v, a pointer to a struct or map.
// Names match exactly. It works even if the token has expired since, because it says
// which user signed in. It does no I/O. Without openid it fails with
// [errors.ErrUnsupported].
func (s *Session) Claims(v any) error {
	claims, err := s.claims()
	if err != nil {
		return err
	}
	return decode("claims", claims.Raw, v)
}

func (s *Session) claims() (*oidc.IDToken, error) {
	g, err := s.account.GrantOf(s.slot)
	if err != nil {
		return nil, failure(err)
	}
	return s.claimsOf(g)
}

func (s *Session) claimsOf(g *session.Grant) (*oidc.IDToken, error) {
	switch {
	case !s.client.cfg.keeps():
		return nil, s.client.cfg.errNoUser("the session has no ID token")
	case g.IDToken.IsZero():
		return nil, unsupported("the session has no ID token: add \"openid\" to the scopes and sign in again")
	}
	claims, err := oidc.ParseIDToken(g.IDToken.Reveal())
	if err != nil {
		return nil, invalid("stored ID token: %w", err)
	}
	return claims, nil
}

// username picks what to show of a user.
func username(claims *oidc.IDToken) string {
	var v struct {
		Preferred any `json:"preferred_username"`
		Email     any `json:"email"`
		Name      any `json:"name"`
	}
	if wire.UnmarshalJSON(claims.Raw, &v) != nil {
		return ""
	}
	for _, candidate := range []any{v.Preferred, v.Email, v.Name} {
		if s, ok := candidate.(string); ok && s != "" {
			return wire.SafeText(s, 100)
		}
	}
	return ""
}
