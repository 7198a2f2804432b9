package session

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// SendFailure says what a failed attempt to send the refresh token means for that
// token.
type SendFailure int

// The failures. The zero SendFailure is the careful one.
const (
	Unknown  SendFailure = iota // it may have been used: reset, timeout or 5xx after sending
	NotSent                     // nothing left this machine
	LockLost                    // nothing was sent, because the lock was lost before
	Paused                      // 429 or 503: the provider asked for a pause
	Refused                     // the provider refused the request, not the refresh token
	Doubtful                    // it refused, and may have meant the refresh token
	Dead                        // the provider refused the refresh token for good
)

// SendError is what Attempt.Send returns on failure.
type SendError struct {
	Failure SendFailure
	After   time.Duration // with Paused
	Status  int           // with Paused and Unknown: the HTTP status; 0: there was no answer
	// ClientID, with Doubtful, is the client that the provider does not know; "": it
	// said something else.
	ClientID string
	Err      error
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

// NarrowError means that the tokens that were asked for cannot be had, while the
// session itself goes on.
type NarrowError struct{ Err error }

func (e *NarrowError) Error() string {
	return "the session goes on, but the provider does not give this token: " + e.Err.Error()
}

func (e *NarrowError) Unwrap() error { return e.Err }

// PauseError means that everyone waits before the next refresh: the provider asked
// for it (Retry-After), or it could not answer. It was said here or in another
// process, and it is not over.
type PauseError struct {
	Status int // the HTTP status that is the reason
	After  time.Duration
}

func (e *PauseError) Error() string {
	return "the provider cannot renew the session now; try again in " +
		e.After.Round(time.Second).String()
}

// minPause is the shortest pause after a 429 or 503.
const minPause = 2 * time.Second

// Classify returns the *SendError for err, with which a refresh failed. A
// registered client is one that the SDK registered itself (RFC 7591); its ID is
// clientID.
func Classify(err error, clientID string, registered bool) *SendError {
	out := &SendError{Failure: Unknown, Err: err}
	var te *oauth.Error
	var fe *fetch.Error
	switch {
	case errors.As(err, &te):
		out.Status = te.Status
		out.Failure = refusal(te, registered)
		switch {
		case out.Failure == Paused:
			out.After = max(te.RetryAfter, minPause)
		case out.Failure == Doubtful && te.Code == "invalid_client":
			out.ClientID = clientID
		}
	case errors.As(err, &fe) && !fe.Sent,
		fe == nil && errors.Is(err, errors.ErrUnsupported): // no way to authenticate: see oauth.Post
		out.Failure = NotSent
	}
	return out
}

// refusal says what a server's refusal means for the refresh token. Few providers
// keep to invalid_grant: Dex says invalid_request, others invalid_token,
// access_denied, a word of their own, or nothing at all.
func refusal(e *oauth.Error, registered bool) SendFailure {
	switch {
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable:
		return Paused
	case e.Status >= 500: // whatever it says: an outage signs nobody out
		return Unknown
	case oauth.Ended(e.Code):
		return Dead
	case e.Foreign: // a firewall or a captive portal signs nobody out
		return Refused
	}
	switch e.Code {
	case "invalid_client":
		if !registered { // a configured client is the developer's business
			return Refused
		}
	case "invalid_scope", "invalid_target", "unauthorized_client", "unsupported_grant_type",
		"invalid_dpop_proof", "use_dpop_nonce", "temporarily_unavailable", "server_error":
		return Refused // it is about the request, the client, or the moment
	}
	switch e.Status {
	case http.StatusOK, http.StatusCreated, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return Doubtful
	}
	return Refused
}

const (
	// firstBackOff is the pause after the first answer that a provider could not
	// give. It doubles up to openBackOff while an operation is open: the retries
	// must stay well inside the 30 seconds of grace that providers give.
	firstBackOff = time.Second
	openBackOff  = 6 * time.Second
	// graceOver is when an open operation is no longer urgent, and longBackOff
	// bounds the pause from then on.
	graceOver   = 30 * time.Second
	longBackOff = 2 * time.Minute
)

// backOff shares an answer such as 502 with every process: they wait a while.
func (j *Journal) backOff(err error, now time.Time) {
	var se *SendError
	if !errors.As(err, &se) || se.Status < 500 {
		return
	}
	longest := openBackOff
	if now.Sub(time.UnixMilli(j.Open.Since)) > graceOver {
		longest = longBackOff
	}
	pause := jitter(min(firstBackOff<<min(j.Failures, 10), longest))
	j.NotBefore, j.Status = now.Add(pause).UnixMilli(), se.Status
	j.Failures++
}

// jitter takes up to a fifth off d, so that processes do not come all at once.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d/5)+1))
}

// forbids returns why g's refresh token is not sent now; nil: it may be.
func (j *Journal) forbids(g *Grant, now time.Time) error {
	if g.RefreshToken.IsZero() {
		return ErrNoRefreshToken
	}
	if d := j.doubt(g); d != nil {
		switch rest := d.rest(now); {
		case rest > 0 && d.confirmed():
			return ErrDoubted
		case rest > 0:
			return &PauseError{After: rest}
		}
	}
	if after := j.pause(now); after > 0 {
		return &PauseError{Status: j.Status, After: after}
	}
	return nil
}
