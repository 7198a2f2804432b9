// Exchanges a token for another one (RFC 8693), and an ID token for an identity
// assertion (draft-ietf-oauth-identity-assertion-authz-grant, "ID-JAG").
//
// The answer says what it issued, under names that mean something else in other
// answers: an identity assertion is in access_token too. So an answer of another
// type than the one that was requested is refused (S130). An identity assertion
// opens a session at the server that it is for. So it must come from the issuer
// of the ID token and be for that server and no other (S131).

package oauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// grantExchange is the grant_type of a token exchange (RFC 8693 §2.1).
const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// Token types (RFC 8693 §3). The last is the draft's.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDJAG       = "urn:ietf:params:oauth:token-type:id-jag"
)

// Exchange is what is exchanged, and what the new token is for.
type Exchange struct {
	Subject     wire.Secret
	SubjectType string // one of the token types
	// Audience, Resources and Scopes say what the new token is for. "" and nil are
	// not sent.
	Audience  string
	Resources []string
	Scopes    []string
}

// ExchangeToken exchanges x.Subject for an access token at the token endpoint of
// r. r.Form holds further parameters.
//
// Errors: those of [RequestToken]. An answer with another type of token matches
// wire.ErrInvalidResponse.
func ExchangeToken(ctx context.Context, c *fetch.Client, r Request, x Exchange) (*TokenResponse, error) {
	r, err := x.request(r, TypeAccessToken)
	if err != nil {
		return nil, err
	}
	return requestToken(ctx, c, r, func(m members) error {
		// An access token may be called what it is, a JWT. A server that does not
		// say what it issued has issued what was requested.
		if m.has("issued_token_type") && m["issued_token_type"] != TypeAccessToken && m["issued_token_type"] != TypeJWT {
			return errors.New("issued_token_type is not an access token")
		}
		return nil
	})
}

// RequestIDJAG exchanges x.Subject, an ID token of issuer, for an identity
// assertion for the authorization server x.Audience. It is sent to that server
// once, with [RequestByAssertion], and not kept.
//
// Errors: those of [Post]; an [*Error] if the server refuses; else the answer
// failed a check, and the error matches wire.ErrInvalidResponse.
func RequestIDJAG(ctx context.Context, c *fetch.Client, r Request, x Exchange, issuer string) (wire.Secret, error) {
	r, err := x.request(r, typeIDJAG)
	if err != nil {
		return wire.Secret{}, err
	}
	m, _, err := answer(ctx, c, r)
	if err != nil {
		return wire.Secret{}, err
	}
	assertion, err := m.idJAG(issuer, x.Audience)
	if err != nil {
		return wire.Secret{}, wire.Invalid("the identity provider's assertion is not usable: %w", err)
	}
	return assertion, nil
}

// request returns r as a token exchange for x, with which requested is asked for.
func (x Exchange) request(r Request, requested string) (Request, error) {
	if err := checkSent(x.Subject, "the token to exchange"); err != nil {
		return r, err
	}
	return r.with(map[string]string{
		"grant_type": grantExchange, "requested_token_type": requested, "audience": x.Audience,
		"subject_token": x.Subject.Reveal(), "subject_token_type": x.SubjectType,
	}).Target(x.Resources, x.Scopes), nil
}

// idJAG returns the identity assertion of a successful answer. token_type says
// nothing about it, because it is never used as an access token.
func (m members) idJAG(issuer, audience string) (wire.Secret, error) {
	if m["issued_token_type"] != typeIDJAG {
		return wire.Secret{}, errors.New("issued_token_type is not an identity assertion (id-jag)")
	}
	assertion, err := m.token("access_token")
	if err != nil {
		return wire.Secret{}, err
	}
	payload, err := jose.PayloadOf(assertion.Reveal(), "oauth-id-jag+jwt")
	if err != nil {
		return wire.Secret{}, err
	}
	if err := checkIDJAG(payload, issuer, audience); err != nil {
		return wire.Secret{}, err
	}
	return assertion, nil
}

// checkIDJAG checks that an assertion is of issuer and for audience alone. The
// signature is the audience's business, which the client cannot check for it.
func checkIDJAG(payload []byte, issuer, audience string) error {
	var claims struct {
		Iss string          `json:"iss"`
		Aud json.RawMessage `json:"aud"`
	}
	if err := wire.UnmarshalJSON(payload, &claims); err != nil {
		return fmt.Errorf("its claims are %w", err)
	}
	aud, err := jose.Audience(claims.Aud)
	switch {
	case claims.Iss != issuer:
		return errors.New("its iss is not the issuer of the ID token")
	case err != nil, len(aud) != 1, !SameIdentifier(aud[0], audience):
		return errors.New("its aud is not the resource's authorization server alone")
	}
	return nil
}
