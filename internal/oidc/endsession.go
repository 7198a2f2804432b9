// Builds the URL at which a browser ends the provider's own session, and checks
// the answer that comes back (OpenID Connect RP-Initiated Logout 1.0).
//
// The endpoint must be safe to open, its query can change nothing of the
// request, and the state keeps a stray page from ending the wait for the answer
// (S69).

package oidc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrEndSessionState is matched if the browser came back without the state that
// was sent, or with another one. The answer may then be somebody else's. The
// session here is gone nevertheless.
var ErrEndSessionState = errors.New("the browser came back from the sign-out without the right state")

// EndSessionRequest is what the provider is told (§2). Empty fields are not
// sent.
type EndSessionRequest struct {
	// Endpoint is the end_session_endpoint: https, or http on a loopback
	// address if the issuer is on one.
	Endpoint   string
	ClientID   string
	LogoutHint string // the username or sub of the user that signs out
	// RedirectURI is a registered post_logout_redirect_uri. If it is "", the
	// browser stays with the provider, and no state is sent.
	RedirectURI string
	UILocales   string
	// IDTokenHint is for a provider that requires it. It puts the user's claims
	// into a URL, and so into histories and logs (S69). Zero sends none.
	IDTokenHint wire.Secret
}

// EndSession is a sign-out that the browser is sent to. Printing it shows
// nothing.
type EndSession struct{ url, state wire.Secret }

// NewEndSession checks r and gives it a fresh state. Errors match
// wire.ErrUnsafeURL; nothing may be opened then.
func NewEndSession(r EndSessionRequest) (*EndSession, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(r.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("end_session_endpoint: %w", err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("end_session_endpoint: %w: its query is malformed", wire.ErrUnsafeURL)
	}
	state := ""
	if r.RedirectURI != "" {
		state = rand.Text() // 130 bits
	}
	for name, value := range map[string]string{
		"client_id": r.ClientID, "logout_hint": r.LogoutHint, "post_logout_redirect_uri": r.RedirectURI,
		"state": state, "ui_locales": r.UILocales, "id_token_hint": r.IDTokenHint.Reveal(),
	} {
		q.Del(name) // an endpoint's own query must not replace a parameter of the request
		if value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return &EndSession{url: wire.NewSecret(u.String()), state: wire.NewSecret(state)}, nil
}

// URL returns what to open. It holds the state.
func (p *EndSession) URL() string { return p.url.Reveal() }

// State returns what the answer must carry. It is "" if there is no
// RedirectURI, because no answer comes then.
func (p *EndSession) State() string { return p.state.Reveal() }

// Check reports whether rawQuery, of the request at RedirectURI, is the
// provider's answer (S69): it must be well-formed and hold the state once. Else
// the error matches [ErrEndSessionState].
func (p *EndSession) Check(rawQuery string) error {
	q, err := url.ParseQuery(rawQuery)
	if err != nil || p.state.IsZero() || len(q["state"]) != 1 {
		return ErrEndSessionState
	}
	if !p.state.Equal(wire.NewSecret(q["state"][0])) {
		return ErrEndSessionState
	}
	return nil
}
