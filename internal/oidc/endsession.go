// Builds the URL at which a browser ends the provider's own session, and checks the
// answer that comes back (OpenID Connect RP-Initiated Logout 1.0).

package oidc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrEndSessionState is matched where the browser came back without the state that was sent, or with another: it is not known whose answer that
// is. The session here is gone all the same.
var ErrEndSessionState = errors.New("the browser came back from the sign-out without the right state")

// EndSessionRequest is what the provider is told (§2). Empty fields are not sent.
type EndSessionRequest struct {
	Endpoint   string // end_session_endpoint: https, or http on a loopback address where the issuer is there
	ClientID   string
	LogoutHint string // who signs out: the username or sub
	// RedirectURI is a registered post_logout_redirect_uri; "": the browser stays with the provider, and no state is sent.
	RedirectURI string
	UILocales   string
	// IDTokenHint is for a provider that asks for it. It puts the person's claims into a URL, and so into histories and logs
	// (S69): sent only where it is set.
	IDTokenHint wire.Secret
}

// EndSession is a sign-out that the browser is sent to. It prints nothing of itself.
type EndSession struct{ url, state wire.Secret }

// NewEndSession checks r and gives it a fresh state. Errors match wire.ErrUnsafeURL: nothing may be opened.
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
		"client_id": r.ClientID, "logout_hint": r.LogoutHint, "post_logout_redirect_uri": r.RedirectURI, "state": state,
		"ui_locales": r.UILocales, "id_token_hint": r.IDTokenHint.Reveal(),
	} {
		q.Del(name) // an endpoint's own query adds to ours and replaces none of it
		if value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return &EndSession{url: wire.NewSecret(u.String()), state: wire.NewSecret(state)}, nil
}

// URL is what to open. It holds the state.
func (p *EndSession) URL() string { return p.url.Reveal() }

// State is what the answer must carry; "" where none can come, for want of a RedirectURI.
func (p *EndSession) State() string { return p.state.Reveal() }

// Check tells whether query, of the request at RedirectURI, is the provider's answer (S69): it holds the state once, and nothing
// is malformed. Else the error matches [ErrState].
func (p *EndSession) Check(rawQuery string) error {
	q, err := url.ParseQuery(rawQuery)
	if err != nil || p.state.IsZero() || len(q["state"]) != 1 || !p.state.Equal(wire.NewSecret(q["state"][0])) {
		return ErrEndSessionState
	}
	return nil
}
