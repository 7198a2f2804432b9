// Asks a provider about a token (RFC 7662).
//
// It is for finding faults only. A client decides nothing by the answer, and
// access tokens stay opaque to it (S54).

package oauth

import (
	"context"
	"errors"
	"net/http"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Introspect asks the endpoint of r about token and returns the JSON object of
// the answer. hint is "access_token" or "refresh_token"; "" gives none. A token
// that the provider does not know or honour is {"active":false} and no error
// (§2.2).
//
// Errors: those of [Post]; an [Error] if the provider refuses, as many do for a
// public client; wire.ErrInvalidResponse.
func Introspect(
	ctx context.Context, c *fetch.Client, r Request, token wire.Secret, hint string,
) ([]byte, error) {
	if token.IsZero() {
		return nil, errors.New("there is no token to ask about")
	}
	r = r.with(map[string]string{"token": token.Reveal(), "token_type_hint": hint})
	resp, err := Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, r.Refusal(resp)
	}
	if err := checkIntrospection(resp); err != nil {
		return nil, wire.Invalid("the introspection answer is not usable: %w", err)
	}
	return resp.Body, nil
}

// checkIntrospection checks the one required member, active (§2.2).
func checkIntrospection(resp *fetch.Response) error {
	var answer struct {
		Active *bool `json:"active"`
	}
	if err := decodeJSON(resp, &answer); err != nil {
		return err
	}
	if answer.Active == nil {
		return errors.New("it does not say whether the token is active")
	}
	return nil
}
