// Requests a token with a JWT as the grant (RFC 7523 §2.1): one that a platform or
// an identity provider issued, and not the client. assertion.go makes the client's
// own, which authenticate it.

package oauth

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// grantJWTBearer is the grant_type of RFC 7523 §2.1.
const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// RequestByAssertion requests an access token at the token endpoint of r, with
// assertion as the grant. resources and scopes say what it is for; nil ones are not
// sent. r.Form holds further parameters.
//
// Errors: those of [RequestToken]. If the assertion is empty or no token at all,
// nothing is sent.
func RequestByAssertion(
	ctx context.Context, c *fetch.Client, r Request, assertion wire.Secret, resources, scopes []string,
) (*TokenResponse, error) {
	if err := checkSent(assertion, "the assertion"); err != nil {
		return nil, err
	}
	r = r.with(map[string]string{
		"grant_type": grantJWTBearer, "assertion": assertion.Reveal(),
	}).Target(resources, scopes)
	return RequestToken(ctx, c, r)
}

// checkSent reports a text that no server could take for a token: a file that is
// empty, a page, a token with a line break after it.
func checkSent(token wire.Secret, name string) error {
	switch text := token.Reveal(); {
	case text == "":
		return fmt.Errorf("%s is empty", name)
	case !isVSCHAR(text):
		return fmt.Errorf("%s holds characters that a token cannot have", name)
	}
	return nil
}

// Target returns r with what the token is for. nil ones are left out.
func (r Request) Target(resources, scopes []string) Request {
	r.Form = maps.Clone(r.Form)
	if len(resources) > 0 {
		r.Form["resource"] = resources
	}
	if len(scopes) > 0 {
		r.Form.Set("scope", strings.Join(scopes, " "))
	}
	return r
}
