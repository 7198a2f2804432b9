// Package userinfo asks a provider's UserInfo endpoint about the person who signed in (OpenID Connect Core §5.3).
package userinfo

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/jwks"
)

// Request is one question.
type Request struct {
	Endpoint         string
	Authorize        func(*http.Request) error // sets Authorization (and DPoP); nil: the client's transport does
	Subject          string                    // of the verified ID token; the answer's must be the same
	Issuer, ClientID string                    // checked in a signed answer
	Keys             *jwks.Cache               // nil: a signed answer is refused
	Algorithms       []string                  // see [jwks.Cache.Verify]
}

// ErrResponse is matched by the refusal of an answer. The message names the check.
var ErrResponse = errors.New("the userinfo answer is refused")

// Error is the server's refusal.
type Error struct {
	Status            int
	Code, Description string // from the WWW-Authenticate challenge (RFC 6750 §3)
	RetryAfter        time.Duration
}

func (e *Error) Error() string { return e.Code }

// Fetch returns the claims as JSON.
func Fetch(ctx context.Context, c *fetch.Client, r Request) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
