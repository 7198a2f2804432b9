package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// failure is how a login that failed is told to the processes that waited for it. It holds no secret, as no error here does.
type failure struct {
	Asked   string `json:"asked"`          // what was asked for: who asks for something else has another outcome
	Kind    string `json:"kind,omitempty"` // one of outcomes
	Message string `json:"message"`
	Error   *Error `json:"error,omitempty"`
	Retry   int64  `json:"retry_after,omitempty"` // seconds
}

// outcomes are the failures that the next in line would meet too: whoever waited does not ask the person again.
func outcomes() []outcome {
	return []outcome{
		{"access_denied", ErrAccessDenied},
		{"account_mismatch", ErrAccountMismatch},
		{"step_up", ErrStepUp},
		{"invalid_response", ErrInvalidResponse},
		{"unsupported", errors.ErrUnsupported},
	}
}

type outcome struct {
	kind string
	err  error
}

// asked is a digest of what a login asks for.
func (c *Client) asked(o *LoginOptions) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %v %v %d %q %q %q", c.cfg.Scopes, o.Scopes, o.ACRValues, o.MaxAge, o.ReplaceUser, o.Flow, o.Prompt, c.cfg.AuthParams.Encode(), o.AuthParams.Encode())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// encodeFailure returns nil for what concerns this process alone (its cancellation, its deadline, its network, its browser, its store), or may pass.
func encodeFailure(err error, asked string) []byte {
	f := failure{Asked: asked, Message: err.Error()}
	for _, o := range outcomes() {
		if errors.Is(err, o.err) {
			f.Kind = o.kind
			break
		}
	}
	var e *Error
	if errors.As(err, &e) {
		f.Error, f.Retry = e, int64(e.RetryAfter/time.Second)
	}
	passing := f.Error != nil && (f.Error.Status >= 500 || f.Error.Status == 429)
	if f.Kind == "" && f.Error == nil || passing || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	data, merr := json.Marshal(f)
	if merr != nil {
		return nil
	}
	return data
}

// decodeFailure returns the error that was left by who asked for the same; nil: none.
func decodeFailure(data []byte, asked string) error {
	var f failure
	if wire.UnmarshalJSON(data, &f) != nil || f.Asked != asked {
		return nil
	}
	if f.Error != nil {
		f.Error.RetryAfter = time.Duration(f.Retry) * time.Second
		return fmt.Errorf("the login in another process: %w", f.Error)
	}
	for _, o := range outcomes() {
		if f.Kind == o.kind {
			return &elsewhere{wire.SafeText(f.Message, 1000), o.err}
		}
	}
	return nil
}

// elsewhere is another process's error: its words, and what they match.
type elsewhere struct {
	message string
	err     error
}

func (e *elsewhere) Error() string { return "the login in another process: " + e.message }

func (e *elsewhere) Unwrap() error { return e.err }
