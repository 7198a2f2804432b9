package oidc

import (
	"errors"
	"slices"
)

// ErrIdentity means that a token does not identify the user: it is not the issuer's,
// not for this client, or about another user than before. It comes with ErrIDToken.
// Every other refusal says nothing about the user.
var ErrIdentity = errors.New("the token does not identify the user")

// misidentified is an error that matches ErrIdentity and keeps its words.
type misidentified struct{ error }

func (e misidentified) Unwrap() error { return e.error }

func (e misidentified) Is(target error) bool { return target == ErrIdentity }

// identify checks that c is the issuer's, for this client, and about the user of the
// login (OpenID Connect Core §3.1.3.7 and §12.2). It comes before every other check,
// so that a token with two faults is refused for the graver one.
func (want Expected) identify(c *IDToken) error {
	switch {
	case want.Issuer == "" || want.ClientID == "":
		return errors.New("nothing to check it against")
	case want.TenantIssuer != "" && !isUUID(c.tenant):
		return misidentified{errors.New("tid is no tenant's ID")}
	case want.TenantIssuer != "" && c.Issuer != fillIn(want.TenantIssuer, c.tenant),
		want.TenantIssuer == "" && c.Issuer != want.Issuer:
		return misidentified{errors.New("iss is another issuer")}
	case !slices.Contains(c.Audience, want.ClientID):
		return misidentified{errors.New("aud does not name this client")}
	case want.Refreshed == nil:
		return nil
	case c.Issuer != want.Refreshed.Issuer:
		return misidentified{errors.New("iss is not that of the login")}
	case c.Subject != want.Refreshed.Subject:
		return misidentified{errors.New("sub is not that of the login: this is another user")}
	}
	return nil
}
