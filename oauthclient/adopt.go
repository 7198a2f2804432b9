package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// satisfying returns the stored session if it satisfies the login's options. nil,
// nil: the user must be prompted. A login since started is as good as one that the
// caller would make now; zero: none is.
func (l *login) satisfying(ctx context.Context, started time.Time) (*Session, error) {
	err := loadAccount(ctx, l.account)
	if errors.Is(err, ErrLoginRequired) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := l.client.session(l.account)
	g := l.account.Grant()
	if g == nil || l.account.Ended() || l.account.NeedsLogin(idTokenExpired) || !l.opts.satisfiedBy(g, started) {
		return nil, nil
	}
	if l.account.Doubted() { // perhaps the provider has come to its senses
		if s.refreshAfter(ctx, g.Generation) != nil {
			return nil, nil
		}
		return s, nil
	}
	if !l.opts.rejected.IsZero() {
		if moved, err := l.client.providers.moved(ctx, g, &l.opts); moved || err != nil {
			return nil, err
		}
	}
	t := s.slot.Cached()
	if t != nil && !l.opts.rejected.IsZero() && t.Token.AccessToken == l.opts.rejected.Reveal() {
		if err := s.refreshAfter(ctx, t.Generation); errors.Is(err, ErrLoginRequired) {
			return nil, nil
		}
		return s, nil
	}
	if t == nil || !t.Valid(time.Now()) {
		if _, err := s.Token(ctx); errors.Is(err, ErrLoginRequired) {
			return nil, nil
		}
		// Another error is passing, and the session is what it was.
	}
	return s, nil
}

func idTokenExpired(g *session.Grant) bool {
	claims, err := oidc.ParseIDToken(g.IDToken.Reveal())
	return err != nil || !time.Now().Before(claims.Expiry.Add(-idTokenMargin))
}

// satisfiedBy reports whether g has the scopes, the key, the authentication context
// and the age that o asks for.
func (o *LoginOptions) satisfiedBy(g *session.Grant, started time.Time) bool {
	for _, s := range o.Scopes {
		if !slices.Contains(g.Scopes, s) {
			return false
		}
	}
	if o.DPoP && g.DPoPKey.IsZero() {
		return false
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
	switch {
	case o.MaxAge == 0:
		return true
	case o.MaxAge < 0: // auth_time is in whole seconds
		return !started.IsZero() && claims.AuthTime.Unix() >= started.Unix()
	}
	return !claims.AuthTime.IsZero() && time.Since(claims.AuthTime) <= o.MaxAge
}

// loginFailure is how a login that failed is told to the processes that waited for
// it. It holds no secret, as no error here does.
type loginFailure struct {
	Wanted  string `json:"asked"`          // what was asked for: another login may end otherwise
	Kind    string `json:"kind,omitempty"` // one of sharedFailures
	Message string `json:"message"`
	Error   *Error `json:"error,omitempty"`
	Retry   int64  `json:"retry_after,omitempty"` // seconds
}

type sharedFailure struct {
	kind string
	err  error
}

// sharedFailures are those that the next in line would meet too, so that whoever
// waited does not prompt the user again.
func sharedFailures() []sharedFailure {
	return []sharedFailure{
		{"access_denied", ErrAccessDenied},
		{"account_mismatch", ErrAccountMismatch},
		{"step_up", ErrStepUp},
		{"invalid_response", ErrInvalidResponse},
		{"unsupported", errors.ErrUnsupported},
	}
}

// digest identifies what a login asks for.
func (l *login) digest() string {
	cfg, o := &l.client.cfg, &l.opts
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %v %v %v %d %q %q %q", cfg.Scopes, o.Scopes, o.ACRValues, o.MaxAge, o.DPoP, o.ReplaceUser,
		o.Flow, o.Prompt, cfg.AuthParams.Encode(), o.AuthParams.Encode())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// encodeFailure returns nil for what concerns this process alone (its cancellation,
// its deadline, its network, its browser, its store), and for what may pass.
func encodeFailure(err error, wanted string) []byte {
	f := loginFailure{Wanted: wanted, Message: err.Error()}
	for _, s := range sharedFailures() {
		if errors.Is(err, s.err) {
			f.Kind = s.kind
			break
		}
	}
	var e *Error
	if errors.As(err, &e) {
		f.Error, f.Retry = e, int64(e.RetryAfter/time.Second)
	}
	passing := f.Error != nil && (f.Error.Status >= 500 || f.Error.Status == 429)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if f.Kind == "" && f.Error == nil || passing || ended {
		return nil
	}
	data, merr := json.Marshal(f)
	if merr != nil {
		return nil
	}
	return data
}

// decodeFailure returns the error of a login that asked for the same; nil: none.
func decodeFailure(data []byte, wanted string) error {
	var f loginFailure
	if wire.UnmarshalJSON(data, &f) != nil || f.Wanted != wanted {
		return nil
	}
	if f.Error != nil {
		f.Error.RetryAfter = time.Duration(f.Retry) * time.Second
		return fmt.Errorf("the login in another process: %w", f.Error)
	}
	for _, s := range sharedFailures() {
		if f.Kind == s.kind {
			return &elsewhere{wire.SafeText(f.Message, 1000), s.err}
		}
	}
	return nil
}

// elsewhere is another process's error: its words, and the sentinel that it matches.
type elsewhere struct {
	message string
	err     error
}

func (e *elsewhere) Error() string { return "the login in another process: " + e.message }

func (e *elsewhere) Unwrap() error { return e.err }
