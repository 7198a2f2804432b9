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

// Session is a signed-in user. It never opens a browser, and has no goroutine while idle. It is safe for concurrent use.
type Session struct {
	account *account
	slot    *slot
	err     error // of For

	once sync.Once
	http *http.Client
}

func (a *account) session(resource string, scopes []string) *Session {
	return &Session{account: a, slot: a.slot(resource, scopes)}
}

// Format implements [fmt.Formatter]: every verb names the session and shows nothing of what it holds.
func (s *Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "oauthclient.Session(%s%s)", s.account.client.realm(), quoted(s.account.name))
}

// Account describes the session as last seen. No I/O.
func (s *Session) Account() Account {
	g := s.account.grant.Load()
	if g == nil {
		return Account{Name: s.account.name, Issuer: s.account.client.issuer, Store: s.account.client.where()}
	}
	return s.account.client.describe(g.Row())
}

// Token returns a valid access token: from memory, or refreshed. Near expiry one goroutine refreshes while every caller goes on with
// the token that is still valid. The token is shared: do not change it. There is no refresh token in it.
//
// [ErrLoginRequired]: only signing in again helps. Other errors are passing: the session stays.
func (s *Session) Token(ctx context.Context) (*oauth2.Token, error) {
	h, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return h.token, nil
}

// TokenSource returns the session as an [oauth2.TokenSource]. It captures no context: a refresh is bounded by its own deadline and by
// [Client.Close]. Under DPoP its Token is an error that names HTTPClient, for a token without a proof is refused.
func (s *Session) TokenSource() oauth2.TokenSource { return tokenSource{s} }

type tokenSource struct{ session *Session }

func (t tokenSource) Format(f fmt.State, verb rune) { t.session.Format(f, verb) }

func (t tokenSource) Token() (*oauth2.Token, error) {
	tok, err := t.session.Token(context.Background())
	if err == nil && tok.TokenType == "DPoP" {
		return nil, errors.New("this session's tokens are bound to a key (DPoP), and a token alone is refused: use Session.HTTPClient, which sends the proof too")
	}
	return tok, err
}

// Refresh gets new tokens now, whatever the age of the ones there are. Calls that overlap share one refresh.
func (s *Session) Refresh(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	var after uint64
	if h := s.slot.current.Load(); h != nil {
		after = h.generation
	} else if g := s.account.grant.Load(); g != nil {
		after = g.Generation
	}
	return s.refreshAfter(ctx, after)
}

// refreshAfter returns when there is a token of a generation above after.
func (s *Session) refreshAfter(ctx context.Context, after uint64) error {
	h, err := s.account.await(ctx, s.slot, after)
	if h == nil && err == nil {
		err = errors.New("the session could not be refreshed; try again")
	}
	return err
}

// For returns the same sign-in with tokens for one of Config.Resources ("": for none), or for fewer scopes (nil: all). What is
// impossible is Token's error.
func (s *Session) For(resource string, scopes ...string) *Session {
	a := s.account
	if resource != "" && !slices.Contains(a.client.cfg.Resources, resource) {
		return &Session{account: a, slot: &slot{}, err: wire.Field("Config.Resources", "%q is not one of the resources that the login names", resource)}
	}
	for _, sc := range scopes {
		if err := checkScope(sc); err != nil {
			return &Session{account: a, slot: &slot{}, err: fmt.Errorf("For: %w", err)}
		}
		if g := a.grant.Load(); g != nil && !slices.Contains(g.Scopes, sc) { // said at once; what counts is looked at again when it is sent
			return &Session{account: a, slot: &slot{}, err: fmt.Errorf("For: scope %q was not granted at the sign-in; ask for it with Login: %w", sc, ErrStepUp)}
		}
	}
	if g := a.grant.Load(); g != nil && slices.Equal(g.Resources, []string{resource}) {
		resource = "" // the sign-in's own tokens are for it, and no refresh is needed to get one
	}
	scopes = slices.Clone(scopes)
	slices.Sort(scopes)
	return a.session(resource, slices.Compact(scopes))
}

// IDToken returns the verified ID token while it is unexpired, refreshing if need be, and its expiry. It is for APIs that want one (Kubernetes); who the
// user is tells [Session.Claims]. [ErrLoginRequired] where it has expired and a refresh since then brought no other.
func (s *Session) IDToken(ctx context.Context) (raw string, expiry time.Time, err error) {
	if s.err != nil {
		return "", time.Time{}, s.err
	}
	for attempt := range 2 {
		g := s.account.grant.Load()
		if g == nil {
			return "", time.Time{}, s.account.client.failure(session.ErrAbsent)
		}
		if g.IDToken.IsZero() {
			return "", time.Time{}, unsupported("the session has no ID token: add \"openid\" to the scopes and sign in again")
		}
		claims, err := oidc.ParseIDToken(g.IDToken.Reveal())
		if err != nil {
			return "", time.Time{}, invalid("stored ID token: %w", err)
		}
		end := claims.Expiry.Add(-10 * time.Second)
		if !g.Pending() && time.Now().Before(end) {
			return g.IDToken.Reveal(), claims.Expiry, nil
		}
		if attempt > 0 || !g.Pending() && len(g.Tokens) > 0 && g.Tokens[0].Obtained.After(end) {
			break // the last refresh brought none, and the next would not either
		}
		whole := s.account.session("", nil) // a token for less may come without one
		if err := whole.refreshAfter(ctx, g.Generation); err != nil {
			return "", time.Time{}, err
		}
	}
	return "", time.Time{}, &loginRequired{why: "the ID token has expired, and the provider gives none at a refresh"}
}

// Claims decodes the latest verified ID token into v (a pointer to a struct or map), even if the token has expired since: it says who signed in.
// Names match exactly. No I/O.
func (s *Session) Claims(v any) error {
	claims, err := s.claims()
	if err != nil {
		return err
	}
	if err := wire.UnmarshalJSON(claims.Raw, v); err != nil {
		return invalid("claims: %w", err)
	}
	return nil
}

func (s *Session) claims() (*oidc.IDToken, error) {
	g := s.account.grant.Load()
	if g == nil {
		return nil, s.account.client.failure(session.ErrAbsent)
	}
	if g.IDToken.IsZero() {
		return nil, unsupported("the session has no ID token: add \"openid\" to the scopes and sign in again")
	}
	claims, err := oidc.ParseIDToken(g.IDToken.Reveal())
	if err != nil {
		return nil, invalid("stored ID token: %w", err)
	}
	return claims, nil
}
