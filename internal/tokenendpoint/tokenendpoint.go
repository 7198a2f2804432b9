// Package tokenendpoint sends requests to a token endpoint and reads its answers (RFC 6749 §5). The same rules of transport
// serve the endpoints that take a form from an authenticated client: revocation, introspection, pushed
// authorization requests, device authorization.
package tokenendpoint

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/clientauth"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/secret"
)

// Request is one form for one endpoint.
type Request struct {
	Endpoint, ClientID, Issuer string
	Auth                       clientauth.Method
	AuthMethods, AuthAlgs      []string   // the metadata's lists for this endpoint; nil: it says nothing
	Form                       url.Values // without the client's authentication; not changed

	// Prove sets the DPoP header; nil: none. It is called again for the one retry with a nonce (RFC 9449 §8).
	Prove func(ctx context.Context, h http.Header) error
	// Nonce sees the headers of every answer, and reports whether they brought a nonce that is worth a retry; nil: no retry.
	Nonce func(http.Header) (retry bool)
}

// Response is a successful answer that passed every check.
type Response struct {
	AccessToken, RefreshToken, IDToken secret.String
	TokenType                          string // "Bearer" or "DPoP"
	ExpiresIn                          time.Duration
	HasExpiry                          bool // ExpiresIn was sent
	Scope                              string
	HasScope                           bool // Scope was sent, be it empty
	Extra                              map[string]any
}

// Error is the server's refusal.
type Error struct {
	Status            int
	Code, Description string // "" where the body was no OAuth error
	RetryAfter        time.Duration
}

func (e *Error) Error() string { return e.Code }

// ErrResponse is matched by the refusal of an answer that claims success. The message names the field at fault.
var ErrResponse = errors.New("the token endpoint's answer is not usable")

// Post sends r once, or twice where the server asks for a DPoP nonce. The caller reads the answer.
func Post(ctx context.Context, c *fetch.Client, r Request) (*fetch.Response, error) {
	return nil, errors.ErrUnsupported
}

// Send sends r to a token endpoint and returns its tokens.
func Send(ctx context.Context, c *fetch.Client, r Request) (*Response, error) {
	return nil, errors.ErrUnsupported
}

// Refusal reads the error in an answer to r.
func (r Request) Refusal(resp *fetch.Response) *Error { return &Error{Status: resp.Status} }
