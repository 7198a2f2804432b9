package oauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/strictjson"
)

// failure is how a login that failed is told to the processes that waited for it. It holds no secret, as no error here does.
type failure struct {
	Kind    string `json:"kind,omitempty"` // one of outcomes
	Message string `json:"message"`
	Error   *Error `json:"error,omitempty"`
	Retry   int64  `json:"retry_after,omitempty"` // seconds
}

// outcomes are the failures that the next in line would meet too: whoever waited does not ask the person again.
var outcomes = []struct {
	kind string
	err  error
}{
	{"access_denied", ErrAccessDenied},
	{"no_browser", ErrNoBrowser},
	{"account_mismatch", ErrAccountMismatch},
	{"step_up", ErrStepUp},
	{"invalid_response", ErrInvalidResponse},
	{"unsupported", errors.ErrUnsupported},
	{"timeout", context.DeadlineExceeded},
}

// encodeFailure returns nil for what concerns this process alone: its cancellation, its network, its store.
func encodeFailure(err error) []byte {
	f := failure{Message: err.Error()}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			f.Kind = o.kind
			break
		}
	}
	var e *Error
	if errors.As(err, &e) {
		f.Error, f.Retry = e, int64(e.RetryAfter/time.Second)
	}
	if f.Kind == "" && f.Error == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	data, merr := json.Marshal(f)
	if merr != nil {
		return nil
	}
	return data
}

// decodeFailure returns the error that was left; nil: it cannot be read.
func decodeFailure(data []byte) error {
	var f failure
	if strictjson.Unmarshal(data, &f) != nil {
		return nil
	}
	if f.Error != nil {
		f.Error.RetryAfter = time.Duration(f.Retry) * time.Second
		return fmt.Errorf("the login in another process: %w", f.Error)
	}
	for _, o := range outcomes {
		if f.Kind == o.kind {
			return &elsewhere{f.Message, o.err}
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
