// Signs in on another device (RFC 8628). The user types a short code there,
// while the program polls the token endpoint until that is done.
//
// The flow's one weakness is a code that somebody else sends round (§5.4). So
// the program must say beside the code that it is only for a user that started
// this sign-in, and must not open the verification page by itself (S89).
// Polling is slow enough for every server's clock, and ends (S88).

package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// ErrCodeExpired is matched if the code was not confirmed in time.
var ErrCodeExpired = errors.New("the code has expired before it was confirmed; sign in again for a new one")

const (
	defaultInterval = 5 * time.Second // §3.2, §3.5
	slowDown        = 5 * time.Second // §3.5
	maxCodeLifetime = 24 * time.Hour
	maxBackoff      = time.Minute
)

// DeviceAuthorization is a sign-in that waits for the user.
type DeviceAuthorization struct {
	UserCode        string // one line that is safe to show
	VerificationURI string // checked (S2); for the user to type
	// VerificationURIComplete holds the code already; "" if there is none. It
	// is checked too. It is for the user to follow or scan, never for the
	// program to open by itself, because it skips the user's look at the code
	// (S89).
	VerificationURIComplete string
	Expiry                  time.Time

	deviceCode wire.Secret
	interval   time.Duration
	lifetime   time.Duration
	begun      time.Time // carries the monotonic clock
}

// StartDevice requests a code from the device authorization endpoint of r
// (§3.1). r.Form holds scope and further parameters. With a code_challenge in
// it the flow has PKCE, if the provider supports that here; the request of
// [PollDevice] then needs the code_verifier.
//
// Errors: those of [Post]; an [Error] if the provider refuses;
// wire.ErrInvalidResponse.
func StartDevice(ctx context.Context, c *fetch.Client, r Request) (*DeviceAuthorization, error) {
	begun := time.Now() // before the provider begins to count
	resp, err := Post(ctx, c, r)
	if err != nil {
		return nil, err
	}
	// GitHub refuses with a 200.
	if refused := r.Refusal(resp); resp.Status != http.StatusOK || refused.Code != "" {
		return nil, refused
	}
	// A provider on this machine, over http, may send the user to itself. No
	// other may send them to a loopback address (S39).
	policy := wire.URLPolicy{LoopbackHTTP: strings.HasPrefix(strings.ToLower(r.Endpoint), "http:")}
	a, err := parseDevice(resp, policy)
	if err != nil {
		return nil, wire.Invalid("the device authorization response is not usable: %w", err)
	}
	a.begun = begun
	a.Expiry = begun.Round(0).Add(a.lifetime)
	return a, nil
}

// parseDevice checks a success (§3.2).
func parseDevice(resp *fetch.Response, policy wire.URLPolicy) (*DeviceAuthorization, error) {
	var m struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURL         string `json:"verification_url"` // Google's name for it, older than the RFC
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               any    `json:"expires_in"`
		Interval                any    `json:"interval"`
	}
	if err := decodeJSON(resp, &m); err != nil {
		return nil, err
	}
	a := &DeviceAuthorization{
		UserCode: m.UserCode, VerificationURI: cmp.Or(m.VerificationURI, m.VerificationURL),
		VerificationURIComplete: m.VerificationURIComplete, deviceCode: wire.NewSecret(m.DeviceCode),
	}
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
	if err := a.setTimes(m.ExpiresIn, m.Interval); err != nil {
		return nil, err
	}
	return a, nil
}

// setTimes reads expires_in and interval.
func (a *DeviceAuthorization) setTimes(expiresIn, interval any) (err error) {
	if a.lifetime, err = deviceSeconds("expires_in", expiresIn); err != nil {
		return err
	}
	if a.lifetime <= 0 {
		return errors.New("expires_in is missing, or not positive")
	}
	if a.interval, err = deviceSeconds("interval", interval); err != nil {
		return err
	}
	if a.interval <= 0 { // absent, 0, -1 (S88)
		a.interval = defaultInterval
	}
	if pollPace(a.interval) >= a.lifetime {
		return errors.New("interval leaves no time to ask before expires_in")
	}
	return nil
}

// checkURI checks an address that the user is sent to (S2).
func checkURI(raw string, policy wire.URLPolicy) error {
	if _, err := policy.Parse(raw); err != nil {
		return err
	}
	if !showable(raw, 2048) {
		return fmt.Errorf("%w: it cannot be shown", wire.ErrUnsafeURL)
	}
	return nil
}

// showable reports whether s can be shown as it is (S5). If a part of it had to
// be replaced, the user would type something else than the provider sent.
func showable(s string, max int) bool { return s != "" && wire.SafeText(s, max) == s }

// deviceSeconds reads a number, or the string that some providers make of it,
// and rounds it up. nil is 0.
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

// pollPace returns how long to wait for an interval. It is a fifth longer,
// because the monotonic clock of a virtual machine (WSL among them) can run a
// tenth fast. A provider would then find every request early and answer
// slow_down for ever.
func pollPace(interval time.Duration) time.Duration {
	return interval + min(interval/5, 10*time.Second)
}

// PollDevice polls the token endpoint of r until the user has decided, one
// request at a time (§3.4, §3.5). r.Form holds what the token request has
// besides grant_type and device_code. It waits for the interval before each
// request. Every slow_down makes the interval longer for good. A failure of the
// network or the server doubles the wait, up to a minute, until an answer
// comes.
//
// Errors: ctx's own; [ErrCodeExpired]; an [Error] if the sign-in is over
// (access_denied and every code that is not in §3.5); wire.ErrInvalidResponse,
// after which the device code may be spent.
//
// Expiry goes by the monotonic clock, which nobody sets. It may stand still
// while the machine sleeps, so a code can be older than it says; then the
// provider's next answer tells. Only if none comes is the wall clock believed.
func PollDevice(
	ctx context.Context, c *fetch.Client, r Request, a *DeviceAuthorization,
) (*TokenResponse, error) {
	return pollDevice(ctx, c, r, a, time.Now)
}

func pollDevice(
	ctx context.Context, c *fetch.Client, r Request, a *DeviceAuthorization, wall func() time.Time,
) (*TokenResponse, error) {
	r = r.with(map[string]string{
		"grant_type":  "urn:ietf:params:oauth:grant-type:device_code",
		"device_code": a.deviceCode.Reveal(),
	})
	p := poll{code: a, wall: wall, interval: a.interval}
	for {
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
		tokens, err := RequestToken(ctx, c, r)
		if err == nil {
			return tokens, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := p.judge(err); err != nil {
			return nil, err
		}
	}
}

// poll is the state between two requests.
type poll struct {
	code       *DeviceAuthorization
	wall       func() time.Time
	interval   time.Duration
	failures   int           // in a row
	retryAfter time.Duration // of the latest failure
	trouble    error         // the latest failure; nil after an answer
}

// wait sleeps until the next request is due. It fails at the code's end.
func (p *poll) wait(ctx context.Context) error {
	pause := pollPace(p.interval)
	if p.failures > 0 {
		pause = max(pause, min(pause<<min(p.failures, 6), maxBackoff), p.retryAfter)
	}
	left := p.code.lifetime - time.Since(p.code.begun)
	if err := sleepFor(ctx, min(pause, left)); err != nil {
		return err
	}
	if pause >= left {
		return p.expired()
	}
	return nil
}

// expiredCodes say that the device code has expired: the RFC's (§3.5), and Entra's
// older one.
var expiredCodes = []string{"expired_token", "code_expired"}

// judge returns nil if err allows another request, and else the error that ends
// the poll.
func (p *poll) judge(err error) error {
	var refused *Error
	var broken *fetch.Error
	var code string
	if errors.As(err, &refused) {
		code = refused.Code
	}
	p.retryAfter = 0
	switch {
	case errors.Is(err, wire.ErrInvalidResponse): // the code may be spent
		return err
	case code == "authorization_pending":
		p.failures, p.trouble = 0, nil
	case code == "slow_down":
		p.failures, p.trouble = 0, nil
		p.interval += slowDown
	case slices.Contains(expiredCodes, code):
		return fmt.Errorf("%w: %w", ErrCodeExpired, err)
	case refused != nil && refused.passing():
		p.failures++
		p.trouble, p.retryAfter = err, refused.RetryAfter
	case errors.As(err, &broken):
		p.failures++
		p.trouble = err
	default:
		return err
	}
	if p.trouble != nil && !p.wall().Round(0).Before(p.code.Expiry) {
		return p.expired()
	}
	return nil
}

func (p *poll) expired() error {
	if p.trouble != nil {
		return fmt.Errorf("%w (the provider could not be asked: %w)", ErrCodeExpired, p.trouble)
	}
	return ErrCodeExpired
}

// sleepFor returns after d, or with ctx's error.
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
