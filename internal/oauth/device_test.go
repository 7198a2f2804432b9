package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	deviceCode = "device-code-canary"
	granted    = `{"access_token":"a","token_type":"Bearer","expires_in":3600}`
)

// provider answers each request with the next of its answers, and repeats the
// last one. It records the requests and their times.
type provider struct {
	device  string // body of the device authorization response
	answers []answer
	times   []time.Duration // of the polls, since the start
	forms   []url.Values
	start   time.Time
	open    int // requests under way
}

type answer struct {
	status int
	body   string
	header http.Header
	err    error
	takes  time.Duration
	then   func()
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, err
	}
	p.forms = append(p.forms, form)
	if r.URL.Path == "/device" {
		p.start = time.Now()
		return respond(answer{status: 200, body: p.device}), nil
	}
	if p.open++; p.open > 1 {
		return nil, errors.New("two polls at once")
	}
	defer func() { p.open-- }()
	p.times = append(p.times, time.Since(p.start))
	a := p.answers[min(len(p.times), len(p.answers))-1]
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if a.then != nil {
		a.then()
	}
	if a.err != nil {
		return nil, a.err
	}
	return respond(a), nil
}

func respond(a answer) *http.Response {
	w := httptest.NewRecorder()
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	return w.Result()
}

func refuse(code string) answer { return answer{status: 400, body: `{"error":"` + code + `"}`} }

func device(members string) string {
	return `{"device_code":"` + deviceCode + `","user_code":"WDJB-MJHT","verification_uri":"https://as.example/device"` + members + `}`
}

// run starts and polls in a bubble, on the clock of the test.
func run(t *testing.T, p *provider) (*oauth.TokenResponse, error) {
	return runWith(t, context.Background(), p, nil)
}

func runWith(t *testing.T, ctx context.Context, p *provider, wall func() time.Time) (*oauth.TokenResponse, error) {
	if p.device == "" {
		p.device = device(`,"expires_in":900`)
	}
	c := &fetch.Client{Transport: p}
	a, err := oauth.StartDevice(ctx, c, oauth.Request{Endpoint: "https://as.example/device", ClientID: "my-cli", Form: url.Values{"scope": {"openid"}, "code_challenge": {"cc"}, "code_challenge_method": {"S256"}}})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v %#v", a, *a), deviceCode)
	if wall == nil {
		wall = time.Now
	}
	tokens, err := oauth.PollWith(ctx, c, oauth.Request{Endpoint: "https://as.example/token", ClientID: "my-cli", Form: url.Values{"code_verifier": {"cv"}}}, a, wall)
	if err != nil {
		require.NotContains(t, err.Error(), deviceCode)
	}
	return tokens, err
}

func gaps(p *provider) []time.Duration {
	var out []time.Duration
	last := time.Duration(0)
	for _, at := range p.times {
		out = append(out, at-last)
		last = at
	}
	return out
}

func TestDeviceRequestsHoldWhatTheRFCSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answers: []answer{refuse("authorization_pending"), {status: 200, body: granted}}}
		tokens, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, "a", tokens.AccessToken.Reveal())
		require.Equal(t, []url.Values{
			{"client_id": {"my-cli"}, "scope": {"openid"}, "code_challenge": {"cc"}, "code_challenge_method": {"S256"}},
			{"client_id": {"my-cli"}, "code_verifier": {"cv"}, "device_code": {deviceCode}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}},
		}, p.forms[:2])
		require.Len(t, p.forms, 3, "one request a poll (S88)")
	})
}

// S88: the default is 5 s, with a margin for clocks that run fast; -1 panics
// x/oauth2.
func TestS88Interval(t *testing.T) {
	for members, want := range map[string]time.Duration{
		``: 6 * time.Second, `,"interval":null`: 6 * time.Second, `,"interval":0`: 6 * time.Second, `,"interval":-1`: 6 * time.Second, `,"interval":-1e300`: 6 * time.Second,
		`,"interval":1`: 1200 * time.Millisecond, `,"interval":"10"`: 12 * time.Second, `,"interval":4.2`: 6 * time.Second, `,"interval":600`: 610 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{device: device(`,"expires_in":900` + members), answers: []answer{{status: 200, body: granted}}}
			_, err := run(t, p)
			require.NoError(t, err)
			require.Equal(t, []time.Duration{want}, p.times, members)
		})
	}
}

// Conformance, by analogy with the CIBA client tests: respects-interval (31 s).
func TestConformanceRespectsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{device: device(`,"expires_in":900,"interval":31`), answers: []answer{refuse("authorization_pending"), {status: 400, body: `{"error":"authorization_pending"}`, takes: 3 * time.Second}, {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		for _, gap := range gaps(p) {
			require.GreaterOrEqual(t, gap, 31*time.Second)
			require.Less(t, gap, 45*time.Second)
		}
	})
}

// Conformance: slow-down (waits ≥ 10 s). S88: for good, and more with each.
func TestConformanceSlowDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pending, slow := refuse("authorization_pending"), refuse("slow_down")
		p := &provider{answers: []answer{slow, pending, pending, slow, pending, {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{6 * time.Second, 12 * time.Second, 12 * time.Second, 12 * time.Second, 18 * time.Second, 18 * time.Second}, gaps(p))
	})
}

// S88, cli/cli#9370: a monotonic clock that runs a tenth fast still keeps the
// provider's interval.
func TestS88FastClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answers: []answer{refuse("authorization_pending"), {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		for _, gap := range gaps(p) {
			require.GreaterOrEqual(t, gap.Seconds()*0.9, 5.0)
		}
	})
}

// Conformance: access-denied, expired-token: polling stops. S88.
func TestConformanceStops(t *testing.T) {
	for code, check := range map[string]func(error){
		"access_denied": func(err error) {
			var refused *oauth.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, "access_denied", refused.Code)
			require.NotErrorIs(t, err, oauth.ErrCodeExpired)
		},
		"expired_token":   func(err error) { require.ErrorIs(t, err, oauth.ErrCodeExpired) },
		"code_expired":    func(err error) { require.ErrorIs(t, err, oauth.ErrCodeExpired) },
		"invalid_grant":   func(err error) { require.NotErrorIs(t, err, oauth.ErrCodeExpired) },
		"invalid_client":  func(error) {},
		"unheard_of":      func(error) {},
		"Slow_Down":       func(error) {},
		"slow_down\u0000": func(error) {},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &provider{answers: []answer{refuse("authorization_pending"), {status: 400, body: fmt.Sprintf(`{"error":%q,"error_description":"%s"}`, code, deviceCode)}}}
			if strings.Contains(code, "\u0000") {
				p.answers[1].body = `{"error":"slow_down\u0000"}`
			}
			_, err := run(t, p)
			require.Error(t, err)
			check(err)
			require.Len(t, p.times, 2, code)
		})
	}
}

// S88: if a provider says "pending" for ever, polling ends at the code's own
// expiry.
func TestS88PollEndsAtTheCodesExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{device: device(`,"expires_in":61`), answers: []answer{refuse("authorization_pending")}}
		_, err := run(t, p)
		require.ErrorIs(t, err, oauth.ErrCodeExpired)
		require.Equal(t, 61*time.Second, time.Since(p.start))
		require.Len(t, p.times, 10)
	})
	synctest.Test(t, func(t *testing.T) { // slow_down for ever ends too
		p := &provider{device: device(`,"expires_in":1e300`), answers: []answer{refuse("slow_down")}}
		_, err := run(t, p)
		require.ErrorIs(t, err, oauth.ErrCodeExpired)
		require.Equal(t, 24*time.Hour, time.Since(p.start))
	})
}

// S88: after failures of the network or the server the wait is longer, until an
// answer comes.
func TestS88FailuresSlowThePollDown(t *testing.T) {
	broken := answer{err: syscall.ECONNRESET}
	for name, fail := range map[string]answer{
		"network": broken, "500": {status: 500, body: "<html>", header: http.Header{"Content-Type": {"text/html"}}}, "429": {status: 429}, "408": {status: 408},
		"temporarily_unavailable": refuse("temporarily_unavailable"), "server_error": refuse("server_error"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pending := refuse("authorization_pending")
				p := &provider{answers: []answer{fail, fail, fail, fail, fail, pending, fail, {status: 200, body: granted}}}
				_, err := run(t, p)
				require.NoError(t, err)
				s := time.Second
				require.Equal(t, []time.Duration{6 * s, 12 * s, 24 * s, 48 * s, 60 * s, 60 * s, 6 * s, 12 * s}, gaps(p))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a hang is a failure: after the call's own deadline
		p := &provider{answers: []answer{{takes: time.Hour}, {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{6 * time.Second, fetch.Timeout + 12*time.Second}, gaps(p))
	})
	synctest.Test(t, func(t *testing.T) { // Retry-After is kept, and only for the next request
		p := &provider{answers: []answer{{status: 503, header: http.Header{"Retry-After": {"100"}}}, refuse("authorization_pending"), {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{6 * time.Second, 100 * time.Second, 6 * time.Second}, gaps(p))
	})
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answers: []answer{{status: 503, header: http.Header{"Retry-After": {"100"}}}, broken, {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{6 * time.Second, 100 * time.Second, 24 * time.Second}, gaps(p))
	})
	synctest.Test(t, func(t *testing.T) { // nobody there until the end: the error says why
		p := &provider{answers: []answer{broken}}
		_, err := run(t, p)
		require.ErrorIs(t, err, oauth.ErrCodeExpired)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, 15*time.Minute, time.Since(p.start))
	})
	synctest.Test(t, func(t *testing.T) { // a long interval is not cut down to the backoff's cap
		p := &provider{device: device(`,"expires_in":900,"interval":100`), answers: []answer{broken, {status: 200, body: granted}}}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{110 * time.Second, 110 * time.Second}, gaps(p))
	})
}

// S63, S88: the machine slept, or its clock was set. The provider's answer
// decides. The wall clock is believed only if there is none.
func TestS88WallClock(t *testing.T) {
	for name, tc := range map[string]struct {
		jump    time.Duration
		answers []answer
		expired bool
		polls   int
	}{
		"set forward, the provider still waits": {time.Hour, []answer{refuse("authorization_pending"), refuse("authorization_pending"), {status: 200, body: granted}}, false, 3},
		"set back":                              {-time.Hour, []answer{refuse("authorization_pending"), {status: 200, body: granted}}, false, 2},
		"slept, the provider says":              {time.Hour, []answer{refuse("expired_token")}, true, 1},
		"slept, no network":                     {time.Hour, []answer{{err: syscall.ENETUNREACH}}, true, 1},
		"slept a little, no network":            {time.Minute, []answer{{err: syscall.ENETUNREACH}, {status: 200, body: granted}}, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{answers: tc.answers}
				_, err := runWith(t, context.Background(), p, func() time.Time { return time.Now().Add(tc.jump) })
				if tc.expired {
					require.ErrorIs(t, err, oauth.ErrCodeExpired)
				} else {
					require.NoError(t, err)
				}
				require.Len(t, p.times, tc.polls)
			})
		})
	}
}

func TestPollEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // while waiting
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		p := &provider{answers: []answer{refuse("authorization_pending")}}
		_, err := runWith(t, ctx, p, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 20*time.Second, time.Since(p.start))
		require.Len(t, p.times, 3)
	})
	synctest.Test(t, func(t *testing.T) { // while a request is under way
		ctx, cancel := context.WithCancel(context.Background())
		p := &provider{answers: []answer{{err: context.Canceled, then: cancel}}}
		_, err := runWith(t, ctx, p, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, p.times, 1)
	})
}

// A success that fails a check ends the poll: the code is spent, and another
// request would hide the fault.
func TestInvalidTokenResponseEndsThePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answers: []answer{{status: 200, body: `{"access_token":"canary","token_type":"mac"}`}}}
		_, err := run(t, p)
		require.ErrorIs(t, err, wire.ErrInvalidResponse)
		require.NotContains(t, err.Error(), "canary")
		require.Len(t, p.times, 1)
	})
}

// Recorded shapes: GitHub refuses with 200, Google with 428 and 403.
func TestPollUnderstandsProvidersShapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{
			device:  `{"device_code":"AH-1Ng2","user_code":"GQVQ-JKEC","verification_url":"https://www.google.com/device","expires_in":1800,"interval":5}`,
			answers: []answer{{status: 428, body: `{"error":"authorization_pending","error_description":"Precondition Required"}`}, {status: 403, body: `{"error":"slow_down"}`}, {status: 200, body: `{"error":"authorization_pending"}`}, {status: 200, body: granted}},
		}
		_, err := run(t, p)
		require.NoError(t, err)
		require.Len(t, p.times, 4)
	})
}

func start(body string, status int, endpoint string) (*oauth.DeviceAuthorization, error) {
	c := &fetch.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return respond(answer{status: status, body: body}), nil })}
	return oauth.StartDevice(context.Background(), c, oauth.Request{Endpoint: endpoint, ClientID: "c"})
}

// S89, S2: what the user sees or follows is checked.
func TestS89VerificationURIsAreChecked(t *testing.T) {
	for _, bad := range []string{
		"", "javascript:x", "javascript://h/%0aalert(1)", "http://as.example/device", "file:///etc/passwd", "https://u:p@h/", "https:x", "-x", "https://h/#f", `https://h\\@evil/`,
		"http://127.0.0.1/device", "https://h/\u202egnp", "https://h/\u001b[2J", "https://h/\u200b", "https://h/" + strings.Repeat("a", 2048),
	} {
		j := fmt.Sprintf(`%q`, bad)
		if strings.Contains(bad, `\\`) {
			j = `"` + bad + `"`
		}
		j = strings.NewReplacer(`\x1b`, `\u001b`).Replace(j)
		_, err := start(`{"device_code":"d","user_code":"U","expires_in":900,"verification_uri":`+j+`}`, 200, "https://as.example/device")
		require.ErrorIs(t, err, wire.ErrInvalidResponse, bad)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
		if bad == "" {
			continue
		}
		_, err = start(`{"device_code":"d","user_code":"U","expires_in":900,"verification_uri":"https://h/","verification_uri_complete":`+j+`}`, 200, "https://as.example/device")
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
		require.ErrorContains(t, err, "verification_uri_complete")
	}
	a, err := start(`{"device_code":"d","user_code":"U","expires_in":900,"verification_uri":"http://127.0.0.1:5/device","verification_uri_complete":"http://127.0.0.1:5/device?c=U"}`, 200, "http://127.0.0.1:5/x")
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:5/device?c=U", a.VerificationURIComplete)
}

func TestInvalidDeviceAuthorizationIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"empty": ``, "null": `null`, "list": `[]`, "no device code": `{"user_code":"U","verification_uri":"https://h/","expires_in":9}`,
		"no user code": `{"device_code":"d","verification_uri":"https://h/","expires_in":900}`, "no expiry": device(``), "zero expiry": device(`,"expires_in":0`), "negative expiry": device(`,"expires_in":-1`),
		"expiry not a number": device(`,"expires_in":"soon"`), "interval not a number": device(`,"expires_in":900,"interval":{}`), "interval as a word": device(`,"expires_in":900,"interval":"inf"`),
		"no time to ask": device(`,"expires_in":600,"interval":600`), "endless interval": device(`,"expires_in":900,"interval":1e300`),
		"twice": device(`,"expires_in":900,"user_code":"OTHER"`), "wrong case": strings.Replace(device(`,"expires_in":900`), "user_code", "User_Code", 1),
		"escape in the code (S5)": strings.Replace(device(`,"expires_in":900`), "WDJB", `\u001b[2J`, 1), "two lines": strings.Replace(device(`,"expires_in":900`), "WDJB", `a\nb`, 1),
		"endless code": strings.Replace(device(`,"expires_in":900`), "WDJB", strings.Repeat("W", 99), 1), "bidi": strings.Replace(device(`,"expires_in":900`), "WDJB", `\u202e`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := start(body, 200, "https://as.example/device")
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
			require.NotContains(t, err.Error(), deviceCode)
		})
	}
	var refused *oauth.Error
	_, err := start(`{"error":"device_flow_disabled"}`, 200, "https://as.example/device")
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "device_flow_disabled", refused.Code)
	_, err = start(`{"error":"unauthorized_client"}`, 400, "https://as.example/device")
	require.ErrorAs(t, err, &refused)
	_, err = start(device(`,"expires_in":900`), 201, "https://as.example/device")
	require.ErrorAs(t, err, &refused)
}

func FuzzStart(f *testing.F) {
	f.Add(device(`,"expires_in":900,"interval":5,"verification_uri_complete":"https://h/?c=U"`))
	f.Add(device(`,"expires_in":"1","interval":-1`))
	f.Fuzz(func(t *testing.T, body string) {
		a, err := start(body, 200, "https://as.example/device")
		if err != nil {
			return
		}
		require.NotEmpty(t, a.UserCode)
		require.True(t, a.Expiry.After(time.Now().Add(-time.Minute)))
		for _, raw := range []string{a.VerificationURI, a.VerificationURIComplete} {
			if raw != "" {
				_, err := wire.URLPolicy{}.Parse(raw)
				require.NoError(t, err)
			}
		}
	})
}
