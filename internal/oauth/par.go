// Pushes an authorization request to the provider, so that the browser carries
// only a reference to it (RFC 9126).
//
// Nothing of the request then shows in the browser's history, and nobody
// between the program and the provider can change a parameter of it (S35).

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrRequestExpired is matched if a pushed request was not used in time.
// Pushing it again helps.
var ErrRequestExpired = errors.New("the pushed authorization request has expired; sign in again")

const (
	maxURI             = 2048 // bytes; real ones are about 70
	maxRequestLifetime = time.Hour
)

// PushedRequest is a request that the provider keeps. Its URI is good for one
// use by this client (§2.2).
type PushedRequest struct {
	RequestURI string
	Expiry     time.Time // at most an hour away, whatever the provider says
}

// Push sends the authorization request in r.Form to the endpoint of r. Errors:
// those of [Post]; an [Error] if the provider refuses; wire.ErrInvalidResponse.
func Push(ctx context.Context, c *fetch.Client, r Request) (PushedRequest, error) {
	if r.Form.Has("request_uri") { // §2.1
		return PushedRequest{}, errors.New("a pushed authorization request cannot hold a request_uri itself")
	}
	// client_id is a parameter of the request itself, also if the client
	// authenticates in a header.
	r = r.with(map[string]string{"client_id": r.ClientID})
	// The time before sending: the provider has not begun to count. Round drops
	// the monotonic clock, because the request also expires while the machine
	// sleeps.
	sent := time.Now().Round(0)
	resp, err := Post(ctx, c, r)
	if err != nil {
		return PushedRequest{}, err
	}
	if resp.Status < 200 || resp.Status > 299 {
		return PushedRequest{}, r.Refusal(resp)
	}
	p, err := parsePushed(resp, sent)
	if err != nil {
		return PushedRequest{}, wire.Invalid(
			"the answer to the pushed authorization request is not usable: %w", err)
	}
	return p, nil
}

// parsePushed checks a success (§2.2). expires_in counts from sent.
func parsePushed(resp *fetch.Response, sent time.Time) (PushedRequest, error) {
	if resp.Status != http.StatusCreated { // a page that answers 200 to everything is none
		return PushedRequest{}, fmt.Errorf("its status is %d, not 201", resp.Status)
	}
	var answer struct {
		RequestURI string  `json:"request_uri"`
		ExpiresIn  float64 `json:"expires_in"`
	}
	if err := decodeJSON(resp, &answer); err != nil {
		return PushedRequest{}, err
	}
	if !isRequestURI(answer.RequestURI) {
		return PushedRequest{}, errors.New("its request_uri is no absolute URI")
	}
	if answer.ExpiresIn < 1 {
		return PushedRequest{}, errors.New("its expires_in is not a positive number of seconds")
	}
	seconds := min(answer.ExpiresIn, maxRequestLifetime.Seconds())
	expiry := sent.Add(time.Duration(seconds) * time.Second)
	return PushedRequest{RequestURI: answer.RequestURI, Expiry: expiry}, nil
}

// isRequestURI accepts a URN (§2.2 suggests
// urn:ietf:params:oauth:request_uri:…) or another absolute URI of visible
// ASCII.
func isRequestURI(s string) bool {
	if s == "" || len(s) > maxURI || !isVSCHAR(s) || strings.Contains(s, " ") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Opaque != "" || u.Host != "") && u.Fragment == ""
}

// URL returns the authorization request that is left for the browser: client_id
// and request_uri, and nothing that was pushed (§4). A query that the endpoint
// itself has is kept (RFC 6749 §3.1). Errors: [ErrRequestExpired];
// wire.ErrUnsafeURL.
func (p PushedRequest) URL(authorizationEndpoint, clientID string) (string, error) {
	if !time.Now().Before(p.Expiry) {
		return "", ErrRequestExpired
	}
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(authorizationEndpoint)
	if err != nil {
		return "", fmt.Errorf("authorization endpoint: %w", err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("authorization endpoint: %w: its query is malformed", wire.ErrUnsafeURL)
	}
	q.Set("client_id", clientID)
	q.Set("request_uri", p.RequestURI)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
