// Reads the claims of an ID token (OpenID Connect Core §2, RFC 7519 §4).
//
// A claim of the wrong type, a missing required claim and a date that overflows
// are refused here (S78), so that the checks work on values that mean what they
// say.

package oidc

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// IDToken has the claims that the checks need, and all of them in Raw. Treat it
// as read-only. A text that the token does not have is "", a date is zero.
type IDToken struct {
	Issuer, Subject            string
	Audience                   []string
	AuthorizedParty            string // azp
	Nonce                      string
	ACR                        string
	Expiry, IssuedAt, AuthTime time.Time
	Raw                        []byte // the payload, a JSON object without duplicate names

	notBefore         time.Time
	atHash            string
	tenant            string // tid if it is a string
	hasAZP, hasAtHash bool
}

// ParseIDToken reads a token that passed [VerifyIDToken] before it was stored.
// It verifies nothing. Its errors match [ErrIDToken].
func ParseIDToken(raw string) (*IDToken, error) {
	payload, err := jose.Payload(raw)
	if err != nil {
		return nil, refused(err)
	}
	c, err := read(payload)
	if err != nil {
		return nil, refused(err)
	}
	return c, nil
}

// read reads claims of the right types. iss, sub, aud, exp and iat are required
// (§2, S78).
func read(payload []byte) (*IDToken, error) {
	var w struct {
		Iss    *string         `json:"iss"`
		Sub    *string         `json:"sub"`
		Aud    json.RawMessage `json:"aud"`
		Azp    *string         `json:"azp"`
		Nonce  *string         `json:"nonce"`
		ACR    *string         `json:"acr"`
		AtHash *string         `json:"at_hash"`
		Exp    *float64        `json:"exp"` // a string is no NumericDate (RFC 7519 §2)
		Iat    *float64        `json:"iat"`
		Nbf    *float64        `json:"nbf"`
		Auth   *float64        `json:"auth_time"`
		Tid    any             `json:"tid"` // read for issuers of many tenants only
	}
	if err := wire.UnmarshalJSON(payload, &w); err != nil {
		return nil, fmt.Errorf("its claims are %w", err)
	}
	c := &IDToken{
		Issuer: str(w.Iss), Subject: str(w.Sub), AuthorizedParty: str(w.Azp),
		Nonce: str(w.Nonce), ACR: str(w.ACR), Raw: payload,
		atHash: str(w.AtHash), hasAZP: str(w.Azp) != "", hasAtHash: w.AtHash != nil,
	}
	c.tenant, _ = w.Tid.(string)
	if c.Issuer == "accounts.google.com" {
		// Google's own documentation allows this spelling. It can stand for no
		// other issuer, because an issuer has a scheme.
		c.Issuer = "https://accounts.google.com"
	}
	switch {
	case c.Issuer == "":
		return nil, errors.New("iss is missing")
	case c.Subject == "":
		return nil, errors.New("sub is missing")
	case w.Exp == nil:
		return nil, errors.New("exp is missing")
	case w.Iat == nil:
		return nil, errors.New("iat is missing")
	}
	var err error
	if c.Audience, err = jose.Audience(w.Aud); err != nil {
		return nil, err
	}
	for name, at := range map[string]struct {
		from *float64
		to   *time.Time
	}{
		"exp": {w.Exp, &c.Expiry}, "iat": {w.Iat, &c.IssuedAt},
		"nbf": {w.Nbf, &c.notBefore}, "auth_time": {w.Auth, &c.AuthTime},
	} {
		if at.from == nil {
			continue
		}
		var ok bool
		if *at.to, ok = date(*at.from); !ok {
			return nil, fmt.Errorf("%s is no date", name)
		}
	}
	return c, nil
}

// str returns the text of a claim, "" if the token has none.
func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// date reads seconds since 1970, up to the year 9999. Beyond that the
// arithmetic of package time overflows. The comparison is written so that NaN
// fails it.
func date(seconds float64) (time.Time, bool) {
	if !(seconds >= 0 && seconds < 253402300800) {
		return time.Time{}, false
	}
	whole, frac := math.Modf(seconds)
	return time.Unix(int64(whole), int64(frac*1e9)), true
}
