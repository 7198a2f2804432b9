// Asks a provider's UserInfo endpoint about the person who signed in (OpenID Connect Core §5.3).

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

// UserinfoRequest is one question.
type UserinfoRequest struct {
	Endpoint  string
	Authorize func(*http.Request) error // adds Authorization, and the proof under DPoP (S55); nil: the client's transport does
	Subject   string                    // sub of the verified ID token; the answer's must be the same (§5.3.2, S83)

	// For a signed answer (§5.3.2): the keys, the algorithms as in [jose.KeySet.Verify], and who must be named where iss and aud are
	// there. Keys nil: a signed answer is refused.
	Keys             *jose.KeySet
	Algorithms       []string
	Issuer, ClientID string
}

// errUserinfo is matched by the refusal of an answer. The message names the check.
var errUserinfo = wire.Invalid("the userinfo answer is refused")

// UserinfoError is the server's refusal (RFC 6750 §3). It holds no body.
type UserinfoError struct {
	Status            int
	Code, Description string // from the challenge, e.g. "invalid_token"; "": there was none
	RetryAfter        time.Duration
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

// FetchUserinfo returns the claims as they came, a JSON object without duplicate names. Aggregated and distributed claims (§5.6.2) are left as they are;
// nothing that they point to is fetched.
//
// Errors: ErrResponse; an [*Error]; a [fetch.Error], or [jose.ErrKeySet], from the network.
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
		if d, ok := oauth.PickChallenge(oauth.ParseChallenges(resp.Header), oauth.DPoPScheme); ok {
			e.Code, e.Description = d.Error, d.Description
		}
		return nil, e
	}
	return r.read(ctx, resp)
}

func (r UserinfoRequest) read(ctx context.Context, resp *fetch.Response) ([]byte, error) {
	body, signed := resp.Body, resp.MediaType() == "application/jwt"
	switch {
	case signed && r.Keys == nil:
		return nil, fmt.Errorf("%w: it is signed, and there are no keys to verify it", errUserinfo)
	case signed:
		var err error
		body, _, err = r.Keys.Verify(ctx, strings.TrimSpace(string(resp.Body)), r.Algorithms)
		if errors.Is(err, jose.ErrToken) {
			return nil, fmt.Errorf("%w: %w", errUserinfo, err)
		}
		if err != nil {
			return nil, err
		}
	case !resp.IsJSON():
		return nil, fmt.Errorf("%w: it is neither JSON nor a JWT; check the endpoint's URL", errUserinfo)
	}
	var claims map[string]any
	if err := wire.UnmarshalJSON(body, &claims); err != nil {
		return nil, fmt.Errorf("%w: it is %w", errUserinfo, err)
	}
	if err := r.check(claims, signed); err != nil {
		return nil, fmt.Errorf("%w: %w", errUserinfo, err)
	}
	return body, nil
}

func (r UserinfoRequest) check(claims map[string]any, signed bool) error {
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
