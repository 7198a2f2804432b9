package session

import (
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// SendFailure says what a failed attempt to send the refresh token means for that
// token.
type SendFailure int

// The failures. The zero SendFailure is the careful one.
const (
	Unknown SendFailure = iota // it may have been used: reset, timeout or 5xx after sending
	NotSent                    // nothing left this machine
	Paused                     // 429 or 503: the provider asked for a pause
	Refused                    // the provider refused the request, not the refresh token
	Dead                       // the provider refused the refresh token for good
)

// SendError is what Attempt.Send returns on failure.
type SendError struct {
	Failure SendFailure
	After   time.Duration // with Paused
	Status  int           // with Paused: the HTTP status
	Err     error
}

func (e *SendError) Error() string { return e.Err.Error() }

func (e *SendError) Unwrap() error { return e.Err }

func failureOf(err error) SendFailure {
	var se *SendError
	if errors.As(err, &se) {
		return se.Failure
	}
	return Unknown
}

// PauseError means that the provider asked for a pause (Retry-After), here or in
// another process, and it is not over.
type PauseError struct {
	Status int
	After  time.Duration
}

func (e *PauseError) Error() string {
	return "the provider asked to wait before the next refresh; try again in " +
		e.After.Round(time.Second).String()
}

// minPause is the shortest pause after a 429 or 503.
const minPause = 2 * time.Second

// Classify returns the *SendError for err, which the token endpoint's answer to a
// refresh was or the way to it brought.
func Classify(err error) *SendError {
	out := &SendError{Failure: Unknown, Err: err}
	var te *oauth.Error
	var fe *fetch.Error
	switch {
	case errors.As(err, &te):
		switch {
		case oauth.Ended(te.Code):
			out.Failure = Dead
		case te.Status == 429 || te.Status == 503:
			out.Failure, out.Status, out.After = Paused, te.Status, max(te.RetryAfter, minPause)
		case te.Status < 500:
			out.Failure = Refused
		}
	case errors.As(err, &fe) && !fe.Sent:
		out.Failure = NotSent
	}
	return out
}
