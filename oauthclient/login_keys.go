package oauthclient

import (
	"context"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jose"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
)

// keyPauses are the pauses before a login fetches the provider's keys again. A
// deployment that rotates keys is usually over within seconds, and the user waits.
var keyPauses = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// keysWait bounds all those fetches together, if the keys' server does not answer.
const keysWait = 30 * time.Second

// verifyAtLogin is verifyIDToken for the tokens of a login. Keys that cannot be had
// now say nothing about a token, but the tokens of a login are not stored yet: if
// they cannot be verified, they are lost, and the user has to sign in again. So the
// keys are fetched a few times more.
func (p *provider) verifyAtLogin(
	ctx context.Context, id, raw string, want oidc.Expected,
) (*oidc.IDToken, error) {
	ctx, cancel := context.WithTimeout(ctx, keysWait)
	defer cancel()
	claims, err := p.verifyIDToken(ctx, id, raw, want)
	for _, pause := range keyPauses {
		if !keysUnavailable(err) {
			break
		}
		p.log.Info("the provider's keys cannot be had; trying again", "err", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		if p.keys.Retry(ctx) == nil {
			claims, err = p.verifyIDToken(ctx, id, raw, want)
		}
	}
	return claims, err
}

// keysUnavailable reports that a token was not verified because the keys could not be
// had, for a reason that may pass soon. An answer that is no key set, or an address
// that is refused, is the same the next time.
func keysUnavailable(err error) bool {
	var network *fetch.Error
	return (errors.Is(err, jose.ErrKeySet) || errors.As(err, &network)) &&
		!errors.Is(err, ErrInvalidResponse) && !errors.Is(err, fetch.ErrAddress)
}
