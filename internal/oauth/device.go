// Signs in on another device (RFC 8628): the person types a short code there, while the program
// here asks the token endpoint again and again whether that is done.
//
// Whoever shows the code says beside it that it is only for a person who started this sign-in themselves: the flow's one weakness is
// a code that somebody else sends round (§5.4, S89).

package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// errDevice is matched by the refusal of a device authorization response. The message names the field.
var errDevice = wire.Invalid("the device authorization response is not usable")

// ErrCodeExpired is matched where the code was not confirmed in time.
var ErrCodeExpired = errors.New("the code has expired before it was confirmed; sign in again for a new one")

const (
	defaultInterval = 5 * time.Second // §3.2, §3.5
	slowDown        = 5 * time.Second // §3.5
	maxCodeLifetime = 24 * time.Hour
	maxBackoff      = time.Minute
)

// DeviceAuthorization is a sign-in that waits for the person.
type DeviceAuthorization struct {
	UserCode        string // one line that is safe to show
	VerificationURI string // checked (S2); for the person to type
	// VerificationURIComplete holds the code already; "": there is none. Checked too, and for the person to follow or scan, never for
	// the program to open unasked: it takes the person past the look at the code (S89).
	VerificationURIComplete string
	Expiry                  time.Time

	deviceCode wire.Secret
	interval   time.Duration
	lifetime   time.Duration
	begun      time.Time // carries the monotonic clock
}

// StartDevice asks the device authorization endpoint of r for a code (§3.1). r.Form holds scope and what else is wanted; a code_challenge
// in it makes it PKCE with a provider that takes that here, which then wants the code_verifier in [Poll]'s request.
//
// Errors: what [Post] returns, [Error] where the provider refuses, [ErrResponse].
func StartDevice(ctx context.Context, c *fetch.Client, r Request) (*DeviceAuthorization, error) {
	begun := time.Now() // before the provider begins to count
	resp, err := Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if refused := r.Refusal(resp); resp.Status != http.StatusOK || refused.Code != "" { // GitHub refuses with a 200
		return nil, refused
	}
	if !resp.IsJSON() {
		return nil, fmt.Errorf("%w: it is not JSON", errDevice)
	}
	// A provider on this machine, over http, may send the person to itself; no other may send them to a loopback address (S39).
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(strings.ToLower(r.Endpoint), "http:")}
	a, err := parseDeviceAuthorization(resp.Body, policy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDevice, err)
	}
	a.begun = begun
	a.Expiry = begun.Round(0).Add(a.lifetime)
	return a, nil
}

func parseDeviceAuthorization(body []byte, policy wire.URLPolicy) (*DeviceAuthorization, error) {
	var m struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURL         string `json:"verification_url"` // Google's name for it, from before the RFC
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               any    `json:"expires_in"`
		Interval                any    `json:"interval"`
	}
	if err := wire.UnmarshalJSON(body, &m); err != nil {
		return nil, err
	}
	if m.VerificationURI == "" {
		m.VerificationURI = m.VerificationURL
	}
	a := &DeviceAuthorization{UserCode: m.UserCode, VerificationURI: m.VerificationURI, VerificationURIComplete: m.VerificationURIComplete, deviceCode: wire.NewSecret(m.DeviceCode)}
	if a.deviceCode.IsZero() {
		return nil, errors.New("device_code is missing")
	}
	if !showable(a.UserCode, 64) {
		return nil, errors.New("user_code is missing, or cannot be shown")
	}
	if err := checkURI(a.VerificationURI, policy); err != nil {
		return nil, fmt.Errorf("verification_uri: %w", err)
	}
	if a.VerificationURIComplete != "" {
		if err := checkURI(a.VerificationURIComplete, policy); err != nil {
			return nil, fmt.Errorf("verification_uri_complete: %w", err)
		}
	}
	var err error
	if a.lifetime, err = deviceSeconds("expires_in", m.ExpiresIn); err != nil {
		return nil, err
	}
	if a.lifetime <= 0 {
		return nil, errors.New("expires_in is missing, or not positive")
	}
	if a.interval, err = deviceSeconds("interval", m.Interval); err != nil {
		return nil, err
	}
	if a.interval <= 0 { // absent, 0, -1 (S88)
		a.interval = defaultInterval
	}
	if pollPace(a.interval) >= a.lifetime {
		return nil, errors.New("interval leaves no time to ask before expires_in")
	}
	return a, nil
}

func checkURI(raw string, policy wire.URLPolicy) error {
	if _, err := policy.Parse(raw); err != nil {
		return err
	}
	if !showable(raw, 2048) {
		return fmt.Errorf("%w: it cannot be shown", wire.ErrUnsafeURL)
	}
	return nil
}

// showable reports whether a person can be shown s as it is (S5): what has to be neutralised is not what they must type.
func showable(s string, max int) bool { return s != "" && wire.SafeText(s, max) == s }

// deviceSeconds reads a number, or the string that some providers make of it, rounded up; nil is 0.
func deviceSeconds(name string, v any) (time.Duration, error) {
	var n float64
	switch v := v.(type) {
	case nil:
	case float64:
		n = v
	case string:
		i, err := strconv.Atoi(v)
		if err != nil {
			return 0, fmt.Errorf("%s is no number", name)
		}
		n = float64(i)
	default:
		return 0, fmt.Errorf("%s is no number", name)
	}
	n = math.Ceil(min(max(n, 0), maxCodeLifetime.Seconds()))
	return time.Duration(n) * time.Second, nil
}

// pollPace is how long to wait for an interval: a fifth longer, because the monotonic clock of a virtual machine (WSL among them) can run
// a tenth fast, and a provider that then finds every request early answers slow_down for ever.
func pollPace(interval time.Duration) time.Duration {
	return interval + min(interval/5, 10*time.Second)
}

// PollDevice asks the token endpoint of r until the person has decided, one request at a time (§3.4, §3.5). r.Form holds what the
// token request has besides grant_type and device_code. Before each request it waits for the interval, which every slow_down makes longer for
// good; a network or server failure doubles the wait up to a minute, until an answer comes.
//
// Errors: ctx's own; [ErrExpired]; [Error] where the sign-in is over (access_denied and every code that is not in §3.5);
// what else [RequestToken] returns for an answer that claims success.
//
// Expiry goes by the monotonic clock, which nobody sets. It may stand still while the machine sleeps, so a code can be older than it
// says; then the provider's next answer tells. Only where none comes is the wall clock believed.
func PollDevice(ctx context.Context, c *fetch.Client, r Request, a *DeviceAuthorization) (*TokenResponse, error) {
	return pollDevice(ctx, c, r, a, time.Now)
}

func pollDevice(ctx context.Context, c *fetch.Client, r Request, a *DeviceAuthorization, wall func() time.Time) (*TokenResponse, error) {
	r.Form = maps.Clone(r.Form)
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Set("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
	r.Form.Set("device_code", a.deviceCode.Reveal())

	interval, failures := a.interval, 0
	var retryAfter time.Duration
	var trouble error // the latest failure, while it lasts
	expired := func() error {
		if trouble != nil {
			return fmt.Errorf("%w (the provider could not be asked: %w)", ErrCodeExpired, trouble)
		}
		return ErrCodeExpired
	}
	for {
		wait := pollPace(interval)
		if failures > 0 {
			wait = max(wait, min(wait<<min(failures, 6), maxBackoff), retryAfter)
		}
		left := a.lifetime - time.Since(a.begun)
		if err := sleepFor(ctx, min(wait, left)); err != nil {
			return nil, err
		}
		if wait >= left {
			return nil, expired()
		}

		tokens, err := RequestToken(ctx, c, r)
		if err == nil {
			return tokens, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var refused *Error
		var broken *fetch.Error
		retryAfter = 0
		switch {
		case errors.As(err, &refused) && refused.Code == "authorization_pending":
			failures, trouble = 0, nil
		case errors.As(err, &refused) && refused.Code == "slow_down":
			failures, trouble = 0, nil
			interval += slowDown
		case errors.As(err, &refused) && refused.Code == "expired_token":
			return nil, fmt.Errorf("%w: %w", ErrCodeExpired, err)
		case errors.As(err, &refused) && passingError(refused):
			failures++
			trouble, retryAfter = err, refused.RetryAfter
		case errors.As(err, &broken):
			failures++
			trouble = err
		default:
			return nil, err
		}
		if trouble != nil && !wall().Round(0).Before(a.Expiry) {
			return nil, expired()
		}
	}
}

// passingError reports a refusal that is the server's state, not its decision.
func passingError(e *Error) bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Code == "temporarily_unavailable" || e.Code == "server_error"
}

func sleepFor(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
