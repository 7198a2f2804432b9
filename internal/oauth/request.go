// Sends requests to a token endpoint and reads its answers (RFC 6749 §5). The same rules of transport
// serve the endpoints that take a form from an authenticated client: revocation, introspection, pushed
// authorization requests, device authorization.

package oauth

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Request is one form for one endpoint.
type Request struct {
	Endpoint, ClientID string
	Issuer             string // the audience of a client assertion
	Auth               ClientAuth
	// AuthMethods and AuthAlgs are the metadata's lists for this endpoint; nil: it says nothing (see [ClientAuth.Apply]).
	AuthMethods, AuthAlgs []string
	Form                  url.Values // all but the client's authentication; not changed

	// Prove adds the DPoP proof; nil: the tokens are bearer tokens. It is called again for the one retry with a nonce (RFC 9449 §8).
	Prove func(ctx context.Context, h http.Header) error
	// Nonce is shown the headers of every answer, and reports whether they brought a nonce worth a retry; nil: never.
	Nonce func(http.Header) (retry bool)
}

// Post sends r exactly once (S48), and once more only where the server refuses it for want of a DPoP nonce (S86). Whatever answer
// arrives is returned, be it a redirect or an error, for the caller to read.
//
// Errors: [fetch.Error] from the network; an error that matches [errors.ErrUnsupported] where the server does not take the
// client's authentication; else the request could not be made. Only a fetch.Error can mean that something was sent.
func Post(ctx context.Context, c *fetch.Client, r Request) (*fetch.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := r.post(ctx, c)
		if err != nil {
			return nil, err
		}
		fresh := r.Nonce != nil && r.Nonce(resp.Header)
		refused := resp.Status == http.StatusBadRequest || resp.Status == http.StatusUnauthorized
		if attempt == 2 || r.Prove == nil || !fresh || !refused || r.Refusal(resp).Code != "use_dpop_nonce" {
			return resp, nil
		}
	}
}

func (r Request) post(ctx context.Context, c *fetch.Client) (*fetch.Response, error) {
	form, header := maps.Clone(r.Form), http.Header{}
	if form == nil {
		form = url.Values{}
	}
	if err := r.Auth.Apply(r.ClientID, r.Issuer, r.Endpoint, r.AuthMethods, r.AuthAlgs, form, header); err != nil {
		return nil, err
	}
	req, err := fetch.NewRequest(http.MethodPost, r.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json") // GitHub answers with a form otherwise
	if r.Prove != nil {
		if err := r.Prove(ctx, req.Header); err != nil {
			return nil, fmt.Errorf("no DPoP proof: %w", err)
		}
	}
	return c.Do(ctx, req)
}

// RequestToken sends r to a token endpoint and returns the tokens.
//
// Errors: what [Post] returns; an [*Error] where the server refuses; a [*ResponseError] where the answer claims success and fails a check.
// After a ResponseError, and after a fetch.Error with Sent, a code or refresh token may be spent.
func RequestToken(ctx context.Context, c *fetch.Client, r Request) (*TokenResponse, error) {
	resp, err := Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, r.Refusal(resp)
	}
	m, err := parseResponse(resp)
	if err != nil {
		return nil, &ResponseError{cause: err}
	}
	if m.has("error") { // GitHub and others refuse with a 200 (S50)
		return nil, r.Refusal(resp)
	}
	want := "Bearer"
	if r.Prove != nil {
		want = "DPoP"
	}
	t, err := m.response(want)
	if err != nil {
		rotated, _ := m.token("refresh_token")
		return nil, &ResponseError{RefreshToken: rotated, cause: err}
	}
	return t, nil
}

// errTokenResponse is matched by every [*ResponseError].
var errTokenResponse = wire.Invalid("the token endpoint's answer is not usable")

// ResponseError refuses an answer that claims success. The message names the field at fault, never its value.
type ResponseError struct {
	// RefreshToken is the answer's own, if that could be read: a server that rotates has ended the one that was sent, so this one is to be
	// kept even though nothing else of the answer is (S59).
	RefreshToken wire.Secret
	cause        error
}

func (e *ResponseError) Error() string { return errTokenResponse.Error() + ": " + e.cause.Error() }

// Unwrap makes it match ErrResponse.
func (e *ResponseError) Unwrap() []error { return []error{errTokenResponse, e.cause} }
