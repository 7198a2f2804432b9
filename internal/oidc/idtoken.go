// Verifies ID tokens (OpenID Connect Core §3.1.3.7 and §12.2, RFC 8725).
//
// Signatures and keys are internal/jwks; here are the claims. Only a token that passes every check gives an identity (S79, S84).

package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// skew is how far a clock may be off, here or there (S78).
const skew = time.Minute

// ErrIDToken is matched by every refusal. The message names the check, and holds nothing of the token.
var ErrIDToken = wire.Invalid("the ID token is refused")

// ErrStepUp is matched by a good token whose acr or auth_time falls short of what was asked (S36).
var ErrStepUp = errors.New("the sign-in is weaker or older than was asked for")

// Expected is what an ID token must say.
type Expected struct {
	Issuer   string // exactly (S70)
	ClientID string // must be an audience
	// TenantIssuer, of a provider for many tenants (Entra), takes the place of Issuer: iss is exactly this with its "{tenantid}" filled in from the
	// token's own tid, a UUID. A key that says whose tokens it signs signs no others. "": there is one issuer.
	TenantIssuer string
	// Nonce is the one that was sent; "": none was, and a token that has one is of another login (S79).
	Nonce string
	// TrustedAudiences may stand beside ClientID; any other refuses the token (S71).
	TrustedAudiences []string
	// Algorithms are those that the provider's metadata lists; nil: every one of [jose.Algorithms].
	Algorithms []string
	// AccessToken that came with the ID token; zero: at_hash is not checked (S80).
	AccessToken wire.Secret
	// MaxAge, where HasMaxAge, was asked for: the person signed in no longer than that before Started.
	MaxAge    time.Duration
	HasMaxAge bool
	Started   time.Time // when the person was asked; zero: Now
	ACRValues []string  // one of them is needed; nil: any
	// Refreshed are the claims of the session that this token refreshes (§12.2, S82); nil: a login. Nonce is not looked at then.
	Refreshed *IDToken
	Now       time.Time // zero: the clock
}

// VerifyIDToken checks raw and returns its claims.
//
// Errors: ErrInvalid; where the provider's keys could not be had, which says nothing about the token, a [fetch.Error] or
// [jose.ErrKeySet].
func VerifyIDToken(ctx context.Context, raw string, keys *jose.KeySet, want Expected) (*IDToken, error) {
	payload, alg, err := keys.VerifyBy(ctx, raw, want.Algorithms, want.mayAnswer)
	if errors.Is(err, jose.ErrToken) {
		return nil, fmt.Errorf("%w: %w", ErrIDToken, misidentified{err})
	}
	if err != nil {
		return nil, err
	}
	c, err := read(payload)
	if err == nil {
		err = want.identify(c)
	}
	if err == nil {
		err = want.check(c, alg)
	}
	switch {
	case errors.Is(err, ErrStepUp):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrIDToken, err)
	}
	return c, nil
}

func (want Expected) check(c *IDToken, alg string) error {
	now := want.Now
	if now.IsZero() {
		now = time.Now()
	}
	started := want.Started
	if started.IsZero() {
		started = now
	}
	foreign := func(aud string) bool { return aud != want.ClientID && !slices.Contains(want.TrustedAudiences, aud) }
	switch {
	case slices.ContainsFunc(c.Audience, foreign):
		return errors.New("aud names others besides this client; list them as trusted if that is meant")
	case c.hasAZP && c.AuthorizedParty != want.ClientID:
		return errors.New("azp is another client")
	case !now.Before(c.Expiry.Add(skew)):
		return errors.New("exp has passed; check this machine's clock")
	case c.IssuedAt.After(now.Add(skew)):
		return errors.New("iat lies in the future; check this machine's clock")
	case c.notBefore.After(now.Add(skew)):
		return errors.New("nbf lies in the future; check this machine's clock")
	case c.AuthTime.After(now.Add(skew)):
		return errors.New("auth_time lies in the future; check this machine's clock")
	case c.hasAtHash && !want.AccessToken.IsZero() && !hashes(c.atHash, alg, want.AccessToken.Reveal()):
		return errors.New("at_hash is not of this access token")
	}
	if err := want.checkNonce(c); err != nil {
		return err
	}
	if want.Refreshed != nil {
		if err := want.Refreshed.continues(c); err != nil {
			return err
		}
	}
	switch {
	case want.HasMaxAge && c.AuthTime.IsZero():
		return fmt.Errorf("%w: auth_time is missing, though max_age was sent", ErrStepUp)
	case want.HasMaxAge && c.AuthTime.Before(started.Add(-skew).Add(-max(want.MaxAge, 0))):
		return fmt.Errorf("%w: auth_time is too long ago", ErrStepUp)
	case len(want.ACRValues) > 0 && !slices.Contains(want.ACRValues, c.ACR):
		return fmt.Errorf("%w: acr is none of those that were asked for", ErrStepUp)
	}
	return nil
}

func (want Expected) checkNonce(c *IDToken) error {
	switch {
	case want.Refreshed != nil: // §12.2: need not be there, but if it is, it is the first one
		if c.Nonce != "" && c.Nonce != want.Refreshed.Nonce {
			return errors.New("nonce is not that of the login")
		}
	case want.Nonce != "" && c.Nonce == "":
		return errors.New("nonce is missing")
	case subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(want.Nonce)) != 1:
		return errors.New("nonce is of another login")
	}
	return nil
}

// continues checks that next is about the same sign-in as c (§12.2, S82).
func (c *IDToken) continues(next *IDToken) error {
	switch {
	case slices.ContainsFunc(c.Audience, func(aud string) bool { return !slices.Contains(next.Audience, aud) }):
		return errors.New("aud lacks what it had at the login")
	case next.AuthorizedParty != c.AuthorizedParty:
		return errors.New("azp is not that of the login")
	case !next.AuthTime.IsZero() && !c.AuthTime.IsZero() && !next.AuthTime.Equal(c.AuthTime):
		return errors.New("auth_time is not that of the login")
	}
	return nil
}

// hashes reports whether atHash is the left half of the hash of token that belongs to alg (§3.1.3.6).
func hashes(atHash, alg, token string) bool {
	var sum []byte
	switch {
	case alg == "EdDSA" || strings.HasSuffix(alg, "512"): // Ed25519 hashes with SHA-512
		h := sha512.Sum512([]byte(token))
		sum = h[:]
	case strings.HasSuffix(alg, "384"):
		h := sha512.Sum384([]byte(token))
		sum = h[:]
	default:
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	}
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	return subtle.ConstantTimeCompare([]byte(atHash), []byte(want)) == 1
}
