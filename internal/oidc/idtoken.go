// Verifies ID tokens (OpenID Connect Core §3.1.3.7 and §12.2, RFC 8725).
//
// Package jose checks signatures and keys; here are the claims. They stop a
// token of another provider (S70) or for another client (S71), an old one
// (S78), one that was injected from another login (S79) or belongs to another
// access token (S80), and a refresh that changes the user (S82). Only a token
// that passes every check identifies the user (S84).

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
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// skew is how far a clock may be off, here or there (S78).
const skew = time.Minute

// ErrIDToken is matched by every refusal, together with
// wire.ErrInvalidResponse. The message names the check and holds nothing of the
// token.
var ErrIDToken = errors.New("the ID token is refused")

func refused(why error) error { return wire.Invalid("%w: %w", ErrIDToken, why) }

// ErrStepUp is matched by a good token with an acr or auth_time that falls
// short of what was requested (S36). It does not match wire.ErrInvalidResponse.
var ErrStepUp = errors.New("the sign-in is weaker or older than was asked for")

// Expected is what an ID token must say.
type Expected struct {
	Issuer   string // exactly (S70)
	ClientID string // must be an audience
	// TenantIssuer replaces Issuer for a provider with many tenants (Entra).
	// iss must be exactly this with its "{tenantid}" filled in from the token's
	// own tid, a UUID. A key that names an issuer signs for that issuer only.
	// "" means that there is one issuer.
	TenantIssuer string
	// Nonce is the one that was sent. If it is "", none was sent, and a token
	// that has one is of another login (S79).
	Nonce string
	// AllowMissingNonce accepts a token without nonce, though one was sent. One
	// with another nonce is refused all the same.
	AllowMissingNonce bool
	// TrustedAudiences may stand beside ClientID. Any other audience refuses
	// the token (S71).
	TrustedAudiences []string
	// AcceptAudiences is asked about the audiences that are left. nil accepts
	// none.
	AcceptAudiences func(others []string) bool
	// Algorithms are those that the provider's metadata list. nil means all of
	// [jose.Algorithms].
	Algorithms []string
	// AccessToken came with the ID token. If it is zero, at_hash is not checked
	// (S80).
	AccessToken wire.Secret
	// MaxAge was requested if HasMaxAge is set: the user must have signed in no
	// longer than that before Started.
	MaxAge    time.Duration
	HasMaxAge bool
	Started   time.Time // when the user was prompted; zero means Now
	ACRValues []string  // one of them is required; nil means any
	// Refreshed has the claims of the session that this token refreshes (§12.2,
	// S82), and Nonce is ignored then. nil means a login.
	Refreshed *IDToken
	Now       time.Time // zero means the clock
	// ClockOffset is how far the provider's clock is ahead of this machine's, as the
	// token response says. Up to [MaxClockOffset] the times are judged by the
	// provider's clock. 0: it does not say.
	ClockOffset time.Duration
}

// MaxClockOffset is how far this machine's clock may be off: that of a virtual machine
// or a laptop that has slept often is by minutes.
const MaxClockOffset = oauth.MaxClockOffset

// byProvider returns t, a time of this machine, by the provider's clock.
func (want Expected) byProvider(t time.Time) time.Time {
	if want.ClockOffset.Abs() > MaxClockOffset {
		return t
	}
	return t.Add(want.ClockOffset)
}

// clockAdvice says what is wrong if a time cannot be.
func (want Expected) clockAdvice() string {
	off := want.ClockOffset.Round(time.Second)
	switch {
	case off > MaxClockOffset:
		return fmt.Sprintf("this machine's clock is %s behind the provider's; set it", off)
	case -off > MaxClockOffset:
		return fmt.Sprintf("this machine's clock is %s ahead of the provider's; set it", -off)
	case off != 0:
		return "it does not fit the provider's own clock; report it to the provider"
	}
	return "check this machine's clock"
}

// VerifyIDToken checks raw and returns its claims.
//
// Errors: [ErrIDToken]; [ErrStepUp]; a [fetch.Error] or [jose.ErrKeySet] if the
// provider's keys could not be had, which says nothing about the token.
func VerifyIDToken(
	ctx context.Context, raw string, keys *jose.KeySet, want Expected,
) (*IDToken, error) {
	payload, alg, err := keys.VerifyBy(ctx, raw, want.Algorithms, want.mayAnswer)
	if errors.Is(err, jose.ErrToken) {
		return nil, refused(misidentified{err})
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
		return nil, refused(err)
	}
	return c, nil
}

// check runs the checks that follow identify, in the order of §3.1.3.7.
func (want Expected) check(c *IDToken, alg string) error {
	if want.Now.IsZero() {
		want.Now = time.Now()
	}
	if want.Started.IsZero() {
		want.Started = want.Now
	}
	if err := want.checkParties(c); err != nil {
		return err
	}
	if err := want.checkTimes(c); err != nil {
		return err
	}
	if c.hasAtHash && !want.AccessToken.IsZero() && !hashes(c.atHash, alg, want.AccessToken.Reveal()) {
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
	return want.checkStrength(c)
}

// checkParties checks that nobody else is an audience, and azp (S71).
func (want Expected) checkParties(c *IDToken) error {
	others := slices.DeleteFunc(slices.Clone(c.Audience), func(aud string) bool {
		return aud == want.ClientID || slices.Contains(want.TrustedAudiences, aud)
	})
	switch {
	case len(others) > 0 && (want.AcceptAudiences == nil || !want.AcceptAudiences(others)):
		return errors.New("aud names others besides this client; list them as trusted if that is meant")
	case c.hasAZP && c.AuthorizedParty != want.ClientID:
		return errors.New("azp is another client")
	}
	return nil
}

// checkTimes checks the dates (S78).
func (want Expected) checkTimes(c *IDToken) error {
	now := want.byProvider(want.Now)
	wrong := ""
	switch {
	case !now.Before(c.Expiry.Add(skew)):
		wrong = "exp has passed"
	case c.IssuedAt.After(now.Add(skew)):
		wrong = "iat lies in the future"
	case c.notBefore.After(now.Add(skew)):
		wrong = "nbf lies in the future"
	case c.AuthTime.After(now.Add(skew)):
		wrong = "auth_time lies in the future"
	default:
		return nil
	}
	return fmt.Errorf("%s; %s", wrong, want.clockAdvice())
}

// checkStrength checks that the provider did as the request said (S36). A
// provider may ignore acr_values and max_age, so the claims decide.
func (want Expected) checkStrength(c *IDToken) error {
	oldest := want.byProvider(want.Started).Add(-skew).Add(-max(want.MaxAge, 0))
	switch {
	case want.HasMaxAge && c.AuthTime.IsZero():
		return fmt.Errorf("%w: auth_time is missing, though max_age was sent", ErrStepUp)
	case want.HasMaxAge && c.AuthTime.Before(oldest):
		return fmt.Errorf("%w: auth_time is too long ago", ErrStepUp)
	case len(want.ACRValues) > 0 && !slices.Contains(want.ACRValues, c.ACR):
		return fmt.Errorf("%w: acr is none of those that were asked for", ErrStepUp)
	}
	return nil
}

// checkNonce checks that the token answers this login's request (S79). Else a
// token that was stolen elsewhere could be injected here.
func (want Expected) checkNonce(c *IDToken) error {
	switch {
	case want.Refreshed != nil: // §12.2: it may be missing, else it is the login's
		if c.Nonce != "" && c.Nonce != want.Refreshed.Nonce {
			return errors.New("nonce is not that of the login")
		}
	case c.Nonce == "" && want.AllowMissingNonce:
	case want.Nonce != "" && c.Nonce == "":
		return errors.New("nonce is missing; if the provider never sends it (LinkedIn), " +
			"see Config.Deviations.AllowMissingNonce")
	case subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(want.Nonce)) != 1:
		return errors.New("nonce is of another login")
	}
	return nil
}

// continues checks that next is about the same sign-in as c (§12.2, S82). That it is
// about the same user, identify has checked.
func (c *IDToken) continues(next *IDToken) error {
	missing := func(aud string) bool { return !slices.Contains(next.Audience, aud) }
	switch {
	case slices.ContainsFunc(c.Audience, missing):
		return errors.New("aud lacks what it had at the login")
	case next.AuthorizedParty != c.AuthorizedParty:
		return errors.New("azp is not that of the login")
	case !next.AuthTime.IsZero() && !c.AuthTime.IsZero() && !next.AuthTime.Equal(c.AuthTime):
		return errors.New("auth_time is not that of the login")
	}
	return nil
}

// hashes reports whether atHash is the left half of token's hash (§3.1.3.6,
// S80). The hash is the one of alg.
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
