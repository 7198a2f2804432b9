// Package deviceflow signs in on another device (RFC 8628): the person types a short code there, while the program
// here asks the token endpoint again and again whether that is done.
//
// Whoever shows the code says beside it that it is only for a person who started this sign-in themselves: the flow's one weakness is
// a code that somebody else sends round (§5.4, S89).
package deviceflow

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
	"github.com/nativeoauth/nativeoauth/internal/neutral"
	"github.com/nativeoauth/nativeoauth/internal/safeurl"
	"github.com/nativeoauth/nativeoauth/internal/secret"
	"github.com/nativeoauth/nativeoauth/internal/strictjson"
	"github.com/nativeoauth/nativeoauth/internal/tokenendpoint"
)

// ErrResponse is matched by the refusal of a device authorization response. The message names the field.
var ErrResponse = errors.New("the device authorization response is not usable")

// ErrExpired is matched where the code was not confirmed in time.
var ErrExpired = errors.New("the code has expired before it was confirmed; sign in again for a new one")

const (
	defaultInterval = 5 * time.Second // §3.2, §3.5
	slowDown        = 5 * time.Second // §3.5
	maxLifetime     = 24 * time.Hour
	maxBackoff      = time.Minute
)

// Authorization is a sign-in that waits for the person.
type Authorization struct {
	UserCode        string // one line that is safe to show
	VerificationURI string // checked (S2); for the person to type
	// VerificationURIComplete holds the code already; "": there is none. Checked too, and for the person to follow or scan, never for
	// the program to open unasked: it takes the person past the look at the code (S89).
	VerificationURIComplete string
	Expiry                  time.Time

	deviceCode secret.String
	interval   time.Duration
	lifetime   time.Duration
	begun      time.Time // carries the monotonic clock
}

// Start asks the device authorization endpoint of r for a code (§3.1). r.Form holds scope and what else is wanted; a code_challenge
// in it makes it PKCE with a provider that takes that here, which then wants the code_verifier in [Poll]'s request.
//
// Errors: what [tokenendpoint.Post] returns, [tokenendpoint.Error] where the provider refuses, [ErrResponse].
func Start(ctx context.Context, c *fetch.Client, r tokenendpoint.Request) (*Authorization, error) {
	begun := time.Now() // before the provider begins to count
	resp, err := tokenendpoint.Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if refused := r.Refusal(resp); resp.Status != http.StatusOK || refused.Code != "" { // GitHub refuses with a 200
		return nil, refused
	}
	if !resp.IsJSON() {
		return nil, fmt.Errorf("%w: it is not JSON", ErrResponse)
	}
	// A provider on this machine, over http, may send the person to itself; no other may send them to a loopback address (S39).
	policy := safeurl.Policy{LoopbackHTTP: strings.HasPrefix(strings.ToLower(r.Endpoint), "http:")}
	a, err := parse(resp.Body, policy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	a.begun = begun
	a.Expiry = begun.Round(0).Add(a.lifetime)
	return a, nil
}

func parse(body []byte, policy safeurl.Policy) (*Authorization, error) {
	var m struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURL         string `json:"verification_url"` // Google's name for it, from before the RFC
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               any    `json:"expires_in"`
		Interval                any    `json:"interval"`
	}
	if err := strictjson.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m.VerificationURI == "" {
		m.VerificationURI = m.VerificationURL
	}
	a := &Authorization{UserCode: m.UserCode, VerificationURI: m.VerificationURI, VerificationURIComplete: m.VerificationURIComplete, deviceCode: secret.New(m.DeviceCode)}
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
	if a.lifetime, err = seconds("expires_in", m.ExpiresIn); err != nil {
		return nil, err
	}
	if a.lifetime <= 0 {
		return nil, errors.New("expires_in is missing, or not positive")
	}
	if a.interval, err = seconds("interval", m.Interval); err != nil {
		return nil, err
	}
	if a.interval <= 0 { // absent, 0, -1 (S88)
		a.interval = defaultInterval
	}
	if pace(a.interval) >= a.lifetime {
		return nil, errors.New("interval leaves no time to ask before expires_in")
	}
	return a, nil
}

func checkURI(raw string, policy safeurl.Policy) error {
	if _, err := policy.Parse(raw); err != nil {
		return err
	}
	if !showable(raw, 2048) {
		return fmt.Errorf("%w: it cannot be shown", safeurl.ErrUnsafe)
	}
	return nil
}

// showable reports whether a person can be shown s as it is (S5): what has to be neutralised is not what they must type.
func showable(s string, max int) bool { return s != "" && neutral.Text(s, max) == s }

// seconds reads a number, or the string that some providers make of it, rounded up; nil is 0.
func seconds(name string, v any) (time.Duration, error) {
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
	n = math.Ceil(min(max(n, 0), maxLifetime.Seconds()))
	return time.Duration(n) * time.Second, nil
}

// pace is how long to wait for an interval: a fifth longer, because the monotonic clock of a virtual machine (WSL among them) can run
// a tenth fast, and a provider that then finds every request early answers slow_down for ever.
func pace(interval time.Duration) time.Duration { return interval + min(interval/5, 10*time.Second) }

// Poll asks the token endpoint of r until the person has decided, one request at a time (§3.4, §3.5). r.Form holds what the
// token request has besides grant_type and device_code. Before each request it waits for the interval, which every slow_down makes longer for
// good; a network or server failure doubles the wait up to a minute, until an answer comes.
//
// Errors: ctx's own; [ErrExpired]; [tokenendpoint.Error] where the sign-in is over (access_denied and every code that is not in §3.5);
// what else [tokenendpoint.Send] returns for an answer that claims success.
//
// Expiry goes by the monotonic clock, which nobody sets. It may stand still while the machine sleeps, so a code can be older than it
// says; then the provider's next answer tells. Only where none comes is the wall clock believed.
func Poll(ctx context.Context, c *fetch.Client, r tokenendpoint.Request, a *Authorization) (*tokenendpoint.Response, error) {
	return poll(ctx, c, r, a, time.Now)
}

func poll(ctx context.Context, c *fetch.Client, r tokenendpoint.Request, a *Authorization, wall func() time.Time) (*tokenendpoint.Response, error) {
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
			return fmt.Errorf("%w (the provider could not be asked: %w)", ErrExpired, trouble)
		}
		return ErrExpired
	}
	for {
		wait := pace(interval)
		if failures > 0 {
			wait = max(wait, min(wait<<min(failures, 6), maxBackoff), retryAfter)
		}
		left := a.lifetime - time.Since(a.begun)
		if err := sleep(ctx, min(wait, left)); err != nil {
			return nil, err
		}
		if wait >= left {
			return nil, expired()
		}

		tokens, err := tokenendpoint.Send(ctx, c, r)
		if err == nil {
			return tokens, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var refused *tokenendpoint.Error
		var broken *fetch.Error
		retryAfter = 0
		switch {
		case errors.As(err, &refused) && refused.Code == "authorization_pending":
			failures, trouble = 0, nil
		case errors.As(err, &refused) && refused.Code == "slow_down":
			failures, trouble = 0, nil
			interval += slowDown
		case errors.As(err, &refused) && refused.Code == "expired_token":
			return nil, fmt.Errorf("%w: %w", ErrExpired, err)
		case errors.As(err, &refused) && passing(refused):
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

// passing reports a refusal that is the server's state, not its decision.
func passing(e *tokenendpoint.Error) bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Code == "temporarily_unavailable" || e.Code == "server_error"
}

func sleep(ctx context.Context, d time.Duration) error {
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
