// Gets the user's claims from a provider's UserInfo endpoint (OpenID Connect
// Core §5.3).
//
// The access token says nothing about its user. So the answer's sub must be the
// verified ID token's, or a substituted token would bring another user's claims
// (S83).

package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// UserinfoRequest is one request for a user's claims.
type UserinfoRequest struct {
	Endpoint string
	// Authorize adds Authorization, and the proof under DPoP (S55). nil means
	// that the client's transport does.
	Authorize func(*http.Request) error
	// Subject is the sub of the verified ID token. The answer's must be the
	// same (§5.3.2, S83).
	Subject string

	// For a signed answer (§5.3.2): the keys, the algorithms as in
	// [jose.KeySet.Verify], and what iss and aud must be if they are there. If
	// Keys is nil, a signed answer is refused.
	Keys             *jose.KeySet
	Algorithms       []string
	Issuer, ClientID string
}

// UserinfoError is what the server itself reported (RFC 6750 §3). It holds no
// body.
type UserinfoError struct {
	Status            int
	Code, Description string        // from the challenge, e.g. "invalid_token"; "" if there was none
	RetryAfter        time.Duration // 0: the server did not say
}

func (e *UserinfoError) Error() string {
	s := "the userinfo endpoint refused"
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Description != "" {
		s += ": " + e.Description
	}
	return fmt.Sprintf("%s (HTTP %d)", s, e.Status)
}

// FetchUserinfo returns the claims as they came, a JSON object without
// duplicate names. Aggregated and distributed claims (§5.6.2) are left as they
// are; nothing that they point to is fetched.
//
// Errors: wire.ErrInvalidResponse if the answer is refused; a [*UserinfoError];
// a [fetch.Error] or [jose.ErrKeySet] from the network.
func FetchUserinfo(ctx context.Context, c *fetch.Client, r UserinfoRequest) ([]byte, error) {
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
		e := &UserinfoError{Status: resp.Status, RetryAfter: resp.RetryAfter(time.Now())}
		challenges := oauth.ParseChallenges(resp.Header)
		if d, ok := oauth.PickChallenge(challenges, oauth.DPoPScheme); ok {
			e.Code, e.Description = d.Error, d.Description
		}
		return nil, e
	}
	body, signed, err := r.payload(ctx, resp)
	if err != nil {
		return nil, err
	}
	if err := r.read(body, signed); err != nil {
		return nil, refusedUserinfo(err)
	}
	return body, nil
}

func refusedUserinfo(why error) error {
	return wire.Invalid("the userinfo answer is refused: %w", why)
}

// payload returns the JSON of an answer, verified if it is signed.
func (r UserinfoRequest) payload(
	ctx context.Context, resp *fetch.Response,
) (body []byte, signed bool, err error) {
	switch {
	case resp.MediaType() != "application/jwt" && !resp.IsJSON():
		err := errors.New("it is neither JSON nor a JWT; check the endpoint's URL")
		return nil, false, refusedUserinfo(err)
	case resp.IsJSON():
		return resp.Body, false, nil
	case r.Keys == nil:
		err := errors.New("it is signed, and there are no keys to verify it")
		return nil, true, refusedUserinfo(err)
	}
	body, _, err = r.Keys.Verify(ctx, strings.TrimSpace(string(resp.Body)), r.Algorithms)
	if errors.Is(err, jose.ErrToken) {
		err = refusedUserinfo(err)
	}
	return body, true, err
}

// read decodes the claims and checks them.
func (r UserinfoRequest) read(body []byte, signed bool) error {
	var claims map[string]any
	if err := wire.UnmarshalJSON(body, &claims); err != nil {
		return fmt.Errorf("it is %w", err)
	}
	return r.check(claims, signed)
}

// check compares sub, and in a signed answer iss, aud and exp, which may be
// missing (§5.3.2). A signature makes an answer that was once genuine look
// genuine for ever, so exp limits how long it can be replayed (RFC 7519 §4.1.4).
func (r UserinfoRequest) check(claims map[string]any, signed bool) error {
	sub, _ := claims["sub"].(string)
	switch {
	case sub == "":
		return errors.New("sub is missing")
	case sub != r.Subject:
		return errors.New("sub is another user than the one that signed in")
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
	if exp, ok := claims["exp"]; ok {
		seconds, _ := exp.(float64)
		end, valid := date(seconds)
		switch {
		case !valid || seconds == 0:
			return errors.New("exp is no date")
		case !time.Now().Before(end.Add(skew)):
			return errors.New("exp has passed; check this machine's clock")
		}
	}
	return nil
}
