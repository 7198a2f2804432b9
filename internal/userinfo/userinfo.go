// Package userinfo asks a provider's UserInfo endpoint about the person who signed in (OpenID Connect Core §5.3).
package userinfo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/challenge"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jwks"
	"github.com/nativeoauth/nativeoauth/internal/strictjson"
)

// Request is one question.
type Request struct {
	Endpoint  string
	Authorize func(*http.Request) error // adds Authorization, and the proof under DPoP (S55); nil: the client's transport does
	Subject   string                    // sub of the verified ID token; the answer's must be the same (§5.3.2, S83)

	// For a signed answer (§5.3.2): the keys, the algorithms as in [jwks.Cache.Verify], and who must be named where iss and aud are
	// there. Keys nil: a signed answer is refused.
	Keys             *jwks.Cache
	Algorithms       []string
	Issuer, ClientID string
}

// ErrResponse is matched by the refusal of an answer. The message names the check.
var ErrResponse = errors.New("the userinfo answer is refused")

// Error is the server's refusal (RFC 6750 §3). It holds no body.
type Error struct {
	Status            int
	Code, Description string // from the challenge, e.g. "invalid_token"; "": there was none
	RetryAfter        time.Duration
}

func (e *Error) Error() string {
	s := "the userinfo endpoint refused"
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Description != "" {
		s += ": " + e.Description
	}
	return fmt.Sprintf("%s (HTTP %d)", s, e.Status)
}

// Fetch returns the claims as they came, a JSON object without duplicate names. Aggregated and distributed claims (§5.6.2) are left as they are;
// nothing that they point to is fetched.
//
// Errors: ErrResponse; an [*Error]; a [fetch.Error], or [jwks.ErrKeySet], from the network.
func Fetch(ctx context.Context, c *fetch.Client, r Request) ([]byte, error) {
	req, err := fetch.NewRequest(http.MethodGet, r.Endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("userinfo_endpoint: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/jwt")
	if r.Authorize != nil {
		if err := r.Authorize(req); err != nil {
			return nil, err
		}
	}
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		e := &Error{Status: resp.Status, RetryAfter: resp.RetryAfter(time.Now())}
		if d, ok := challenge.Pick(challenge.Parse(resp.Header), challenge.DPoP); ok {
			e.Code, e.Description = d.Error, d.Description
		}
		return nil, e
	}
	return r.read(ctx, resp)
}

func (r Request) read(ctx context.Context, resp *fetch.Response) ([]byte, error) {
	body, signed := resp.Body, resp.MediaType() == "application/jwt"
	switch {
	case signed && r.Keys == nil:
		return nil, fmt.Errorf("%w: it is signed, and there are no keys to verify it", ErrResponse)
	case signed:
		var err error
		body, _, err = r.Keys.Verify(ctx, strings.TrimSpace(string(resp.Body)), r.Algorithms)
		if errors.Is(err, jwks.ErrInvalid) {
			return nil, fmt.Errorf("%w: %w", ErrResponse, err)
		}
		if err != nil {
			return nil, err
		}
	case !resp.IsJSON():
		return nil, fmt.Errorf("%w: it is neither JSON nor a JWT; check the endpoint's URL", ErrResponse)
	}
	var claims map[string]any
	if err := strictjson.Unmarshal(body, &claims); err != nil {
		return nil, fmt.Errorf("%w: it is %w", ErrResponse, err)
	}
	if err := r.check(claims, signed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	return body, nil
}

func (r Request) check(claims map[string]any, signed bool) error {
	sub, _ := claims["sub"].(string)
	switch {
	case sub == "":
		return errors.New("sub is missing")
	case sub != r.Subject:
		return errors.New("sub is another person than the one who signed in")
	case !signed:
		return nil
	}
	if iss, ok := claims["iss"]; ok && iss != r.Issuer {
		return errors.New("iss is another issuer")
	}
	if aud, ok := claims["aud"]; ok && aud != r.ClientID {
		if list, _ := aud.([]any); !slices.Contains(list, any(r.ClientID)) {
			return errors.New("aud does not name this client")
		}
	}
	return nil
}
