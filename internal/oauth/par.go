// Pushes an authorization request to the provider, so that the browser carries only a reference to it
// (RFC 9126).

package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// errPAR is matched by the refusal of an answer that is no success as RFC 9126 §2.2 wants it. The message names the fault.
var errPAR = wire.Invalid("the answer to the pushed authorization request is not usable")

// ErrRequestExpired is matched where a pushed request was not used in time; pushing again helps.
var ErrRequestExpired = errors.New("the pushed authorization request has expired; sign in again")

const (
	maxURI             = 2048 // bytes; real ones are about 70
	maxRequestLifetime = time.Hour
)

// PushedRequest is a request that the provider keeps. Its URI is good for one use by this client (§2.2).
type PushedRequest struct {
	RequestURI string
	Expiry     time.Time // at most an hour away, whatever the provider says
}

// Push sends the authorization request in r.Form to the endpoint of r. Errors: what [Post] returns,
// [Error] where the provider refuses, [ErrResponse].
func Push(ctx context.Context, c *fetch.Client, r Request) (PushedRequest, error) {
	if r.Form.Has("request_uri") { // §2.1
		return PushedRequest{}, errors.New("a pushed authorization request cannot hold a request_uri itself")
	}
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Set("client_id", r.ClientID) // a parameter of the request itself, also where the client authenticates in a header
	sent := time.Now().Round(0)         // before the provider begins to count; the wall clock goes on while the machine sleeps
	resp, err := Post(ctx, c, r)
	if err != nil {
		return PushedRequest{}, err
	}
	switch {
	case resp.Status == http.StatusCreated:
	case resp.Status >= 200 && resp.Status < 300:
		return PushedRequest{}, fmt.Errorf("%w: its status is %d, not 201", errPAR, resp.Status)
	default:
		return PushedRequest{}, r.Refusal(resp)
	}
	var answer struct {
		RequestURI string  `json:"request_uri"`
		ExpiresIn  float64 `json:"expires_in"`
	}
	if !resp.IsJSON() {
		return PushedRequest{}, fmt.Errorf("%w: it is not JSON", errPAR)
	}
	if err := wire.UnmarshalJSON(resp.Body, &answer); err != nil {
		return PushedRequest{}, fmt.Errorf("%w: %w", errPAR, err)
	}
	if !isRequestURI(answer.RequestURI) {
		return PushedRequest{}, fmt.Errorf("%w: its request_uri is no absolute URI", errPAR)
	}
	if answer.ExpiresIn < 1 {
		return PushedRequest{}, fmt.Errorf("%w: its expires_in is not a positive number of seconds", errPAR)
	}
	seconds := min(answer.ExpiresIn, maxRequestLifetime.Seconds())
	return PushedRequest{RequestURI: answer.RequestURI, Expiry: sent.Add(time.Duration(seconds) * time.Second)}, nil
}

// isRequestURI accepts a URN (§2.2 suggests urn:ietf:params:oauth:request_uri:…) or another absolute URI of visible ASCII.
func isRequestURI(s string) bool {
	if s == "" || len(s) > maxURI {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Opaque != "" || u.Host != "") && u.Fragment == ""
}

// URL is the authorization request that is left for the browser: client_id and request_uri, and nothing that was pushed (§4). A
// query that the endpoint itself has is kept (RFC 6749 §3.1). Errors: [ErrExpired], wire.ErrUnsafeURL.
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
