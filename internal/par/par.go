// Package par pushes an authorization request to the provider, so that the browser carries only a reference to it
// (RFC 9126).
package par

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/safeurl"
	"github.com/nativeoauth/nativeoauth/internal/strictjson"
	"github.com/nativeoauth/nativeoauth/internal/tokenendpoint"
)

// ErrResponse is matched by the refusal of an answer that is no success as RFC 9126 §2.2 wants it. The message names the fault.
var ErrResponse = errors.New("the answer to the pushed authorization request is not usable")

// ErrExpired is matched where a pushed request was not used in time; pushing again helps.
var ErrExpired = errors.New("the pushed authorization request has expired; sign in again")

const (
	maxURI      = 2048 // bytes; real ones are about 70
	maxLifetime = time.Hour
)

// Pushed is a request that the provider keeps. Its URI is good for one use by this client (§2.2).
type Pushed struct {
	RequestURI string
	Expiry     time.Time // at most an hour away, whatever the provider says
}

// Push sends the authorization request in r.Form to the endpoint of r. Errors: what [tokenendpoint.Post] returns,
// [tokenendpoint.Error] where the provider refuses, [ErrResponse].
func Push(ctx context.Context, c *fetch.Client, r tokenendpoint.Request) (Pushed, error) {
	if r.Form.Has("request_uri") { // §2.1
		return Pushed{}, errors.New("a pushed authorization request cannot hold a request_uri itself")
	}
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Set("client_id", r.ClientID) // a parameter of the request itself, also where the client authenticates in a header
	sent := time.Now().Round(0)         // before the provider begins to count; the wall clock goes on while the machine sleeps
	resp, err := tokenendpoint.Post(ctx, c, r)
	if err != nil {
		return Pushed{}, err
	}
	switch {
	case resp.Status == http.StatusCreated:
	case resp.Status >= 200 && resp.Status < 300:
		return Pushed{}, fmt.Errorf("%w: its status is %d, not 201", ErrResponse, resp.Status)
	default:
		return Pushed{}, r.Refusal(resp)
	}
	var answer struct {
		RequestURI string  `json:"request_uri"`
		ExpiresIn  float64 `json:"expires_in"`
	}
	if !resp.IsJSON() {
		return Pushed{}, fmt.Errorf("%w: it is not JSON", ErrResponse)
	}
	if err := strictjson.Unmarshal(resp.Body, &answer); err != nil {
		return Pushed{}, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	if !isRequestURI(answer.RequestURI) {
		return Pushed{}, fmt.Errorf("%w: its request_uri is no absolute URI", ErrResponse)
	}
	if answer.ExpiresIn < 1 {
		return Pushed{}, fmt.Errorf("%w: its expires_in is not a positive number of seconds", ErrResponse)
	}
	seconds := min(answer.ExpiresIn, maxLifetime.Seconds())
	return Pushed{RequestURI: answer.RequestURI, Expiry: sent.Add(time.Duration(seconds) * time.Second)}, nil
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
// query that the endpoint itself has is kept (RFC 6749 §3.1). Errors: [ErrExpired], safeurl.ErrUnsafe.
func (p Pushed) URL(authorizationEndpoint, clientID string) (string, error) {
	if !time.Now().Before(p.Expiry) {
		return "", ErrExpired
	}
	u, err := safeurl.Policy{LoopbackHTTP: true}.Parse(authorizationEndpoint)
	if err != nil {
		return "", fmt.Errorf("authorization endpoint: %w", err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("authorization endpoint: %w: its query is malformed", safeurl.ErrUnsafe)
	}
	q.Set("client_id", clientID)
	q.Set("request_uri", p.RequestURI)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
