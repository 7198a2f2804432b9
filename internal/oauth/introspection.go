// Asks a provider what it knows of a token (RFC 7662). It is for finding faults: a client
// decides nothing by the answer, and access tokens stay opaque to it.

package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// errIntrospection is matched by the refusal of an answer that claims success. The message names the fault.
var errIntrospection = wire.Invalid("the introspection answer is not usable")

// Introspect asks the endpoint of r about token and returns the JSON object that it answers with. hint is "access_token" or
// "refresh_token"; "": none is given. A token that the provider does not know or honour is {"active":false}, and no error (§2.2).
// Errors: what [Post] returns, [Error] where the provider refuses (many do for a public client), [ErrResponse].
func Introspect(ctx context.Context, c *fetch.Client, r Request, token wire.Secret, hint string) ([]byte, error) {
	if token.IsZero() {
		return nil, errors.New("there is no token to ask about")
	}
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Set("token", token.Reveal())
	if hint != "" {
		r.Form.Set("token_type_hint", hint)
	}
	resp, err := Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, r.Refusal(resp)
	}
	if !resp.IsJSON() {
		return nil, fmt.Errorf("%w: it is not JSON", errIntrospection)
	}
	var answer struct {
		Active *bool `json:"active"`
	}
	if err := wire.UnmarshalJSON(resp.Body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errIntrospection, err)
	}
	if answer.Active == nil {
		return nil, fmt.Errorf("%w: it does not say whether the token is active", errIntrospection)
	}
	return resp.Body, nil
}
