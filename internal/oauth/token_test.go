package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

func tokenRequest() oauth.Request {
	return oauth.Request{
		Endpoint: "https://op.example/token", ClientID: "my-cli", Issuer: "https://op.example",
		Form: url.Values{"grant_type": {"authorization_code"}, "code": {"code-canary"}, "code_verifier": {"verifier-canary"}},
	}
}

func send(t *testing.T, status int, mediaType, body string) (*oauth.TokenResponse, error) {
	t.Helper()
	r, err := oauth.RequestToken(t.Context(), fetchtest.Body(status, mediaType, body), tokenRequest())
	require.True(t, (r == nil) != (err == nil))
	if err != nil {
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), "canary")
	}
	return r, err
}

// ok is a JSON success with more members.
func ok(more string) string { return `{"access_token":"at","token_type":"Bearer"` + more + `}` }

func TestTokenResponseIsRead(t *testing.T) {
	r, err := send(t, 200, "application/json;charset=UTF-8", ok(`,"refresh_token":"rt","id_token":"a.b.c","expires_in":3600,"scope":"openid x","extra":{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, []string{"at", "rt", "a.b.c", "Bearer", "openid x"}, []string{r.AccessToken.Reveal(), r.RefreshToken.Reveal(), r.IDToken.Reveal(), r.TokenType, r.Scope})
	require.Equal(t, time.Hour, r.ExpiresIn)
	require.True(t, r.HasExpiry && r.HasScope)
	require.Equal(t, map[string]any{"extra": map[string]any{"a": 1.0}}, r.Extra)

	r, err = send(t, 200, jsonType, ok(`,"refresh_token":null,"id_token":"","expires_in":null,"scope":null,"error":null`))
	require.NoError(t, err)
	require.True(t, r.RefreshToken.IsZero() && r.IDToken.IsZero())
	require.False(t, r.HasExpiry || r.HasScope)
}

// S48, S49, S55: one POST, the code in its body and nowhere else, no
// authentication unless there is one.
func TestS48S55OnePostWithTheCodeInItsBody(t *testing.T) {
	var posts atomic.Int32
	r := tokenRequest()
	before := r.Form.Encode()
	for _, answer := range []struct {
		status int
		body   string
	}{{200, ok("")}, {200, ok(`,"expires_in":true`)}, {200, "not JSON"}, {400, `{"error":"invalid_client"}`}, {401, `{"error":"invalid_client"}`}, {500, ""}, {307, ""}} {
		posts.Store(0)
		c := fetchtest.Client(func(w http.ResponseWriter, req *http.Request) {
			posts.Add(1)
			require.Equal(t, "POST", req.Method)
			require.Empty(t, req.URL.RawQuery)
			require.Empty(t, req.Header.Values("Authorization"))
			require.Equal(t, jsonType, req.Header.Get("Accept"))
			require.NoError(t, req.ParseForm())
			require.Equal(t, url.Values{"grant_type": {"authorization_code"}, "code": {"code-canary"}, "code_verifier": {"verifier-canary"}, "client_id": {"my-cli"}}, req.PostForm)
			for name, values := range req.Header {
				require.NotContains(t, name+strings.Join(values, ""), "canary")
			}
			w.Header().Set("Content-Type", jsonType)
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(answer.status)
			_, _ = io.WriteString(w, answer.body)
		})
		_, _ = oauth.RequestToken(t.Context(), c, r)
		require.EqualValues(t, 1, posts.Load(), "%d %s", answer.status, answer.body)
	}
	require.Equal(t, before, r.Form.Encode(), "the caller's form is its own")
}

// S47, with real sockets: Go re-POSTs the form on 307 and 308 unless stopped.
func TestS47RedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer evil.Close()
	transport := fetch.NewTransport()
	defer transport.CloseIdleConnections()
	for _, status := range []int{301, 302, 303, 307, 308} {
		op := httptest.NewServer(http.RedirectHandler(evil.URL, status))
		r := tokenRequest()
		r.Endpoint, r.Auth = op.URL, oauth.ClientSecret("secret-canary")
		_, err := oauth.RequestToken(t.Context(), &fetch.Client{Transport: transport}, r)
		var e *oauth.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, status, e.Status)
		require.Contains(t, e.Error(), "redirect")
		op.Close()
	}
	require.Zero(t, reached.Load())
}

// S50: form and JSON, refusals with a 200, pages; nothing of a body gets into
// an error.
func TestS50BodiesStayOutOfErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		mediaType, body string
		ok              bool
	}{
		"json":               {jsonType, ok(""), true},
		"json suffix":        {"application/token+json", ok(""), true},
		"json as text":       {"text/plain; charset=utf-8", " \n" + ok(""), true},
		"json as javascript": {"text/javascript", ok(""), true},
		"no type":            {"", ok(""), true},
		"form (GitHub)":      {formType, "access_token=at&scope=repo%2Cgist&token_type=bearer", true},
		"form as text":       {"text/plain", "access_token=at&token_type=bearer", true},
		"json as HTML":       {"text/html", ok(""), false},
		"HTML":               {"text/html", "<h1>canary</h1>", false},
		"HTML as json":       {jsonType, "<h1>canary</h1>", false},
		"HTML as text":       {"text/plain", "<h1>canary</h1>", false},
		"octets":             {"application/octet-stream", ok(""), true},
		"byte order mark":    {jsonType, "\ufeff" + ok(""), true},
		"unknown and null":   {jsonType, ok(`,"refresh_token":null,"scope":null,"expires_in":null,"x":[{}]`), true},
		"empty":              {jsonType, "", false},
		"null":               {jsonType, "null", false},
		"a list":             {jsonType, `["canary"]`, false},
		"a string":           {jsonType, `"canary"`, false},
		"truncated":          {jsonType, `{"access_token":"canary`, false},
		"form as json":       {jsonType, "access_token=at&token_type=bearer", true},
		"text as json":       {jsonType, "canary=1&token_type=bearer", false},
		"form as HTML":       {"text/html", "access_token=canary&token_type=bearer", false},
		"HTML in a form":     {"text/html", "<p>&access_token=canary&x=", false},
		"json as form":       {formType, ok(""), true},
		"form, bad escape":   {formType, "access_token=canary%zz&token_type=bearer", false},
		"form, semicolon":    {formType, "access_token=canary;token_type=bearer", false},
		"no type, no json":   {"", "access_token=at&token_type=bearer", true},
	} {
		r, err := send(t, 200, tc.mediaType, tc.body)
		if !tc.ok {
			require.ErrorIs(t, err, wire.ErrInvalidResponse, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, "at", r.AccessToken.Reveal(), name)
		require.Equal(t, "Bearer", r.TokenType)
	}

	for name, tc := range map[string]struct {
		status               int
		mediaType, body      string
		wantCode, wantDetail string
	}{
		"200, json (GitHub)":    {200, jsonType, `{"error":"bad_verification_code","error_description":"The code is incorrect."}`, "bad_verification_code", "The code is incorrect."},
		"200, form (GitHub)":    {200, formType, "error=bad_verification_code&error_description=The+code", "bad_verification_code", "The code"},
		"200, error and tokens": {200, jsonType, ok(`,"error":"invalid_grant"`), "invalid_grant", ""},
		"200, error an object":  {200, jsonType, ok(`,"error":{"code":"canary"}`), "", ""},
		"200, error true":       {200, jsonType, ok(`,"error":true`), "", ""},
		"400":                   {400, jsonType, `{"error":"invalid_grant","error_description":"gone"}`, "invalid_grant", "gone"},
		"401 as text":           {401, "text/plain", `{"error":"invalid_client"}`, "invalid_client", ""},
		"400, form":             {400, formType, "error=invalid_grant", "invalid_grant", ""},
		"500, tokens in it":     {500, jsonType, `{"access_token":"canary-at","refresh_token":"canary-rt"}`, "", ""},
		"500, HTML":             {500, "text/html", "<h1>canary</h1>", "", ""},
		"502, empty":            {502, "", "", "", ""},
		"400, twice":            {400, jsonType, `{"error":"a","error":"invalid_grant"}`, "", ""},
		"400, trailing":         {400, jsonType, `{"error":"invalid_grant"}{}`, "", ""},
		"400, ERROR":            {400, jsonType, `{"ERROR":"invalid_grant"}`, "", ""},
	} {
		_, err := send(t, tc.status, tc.mediaType, tc.body)
		var e *oauth.Error
		require.ErrorAs(t, err, &e, name)
		e.Foreign = false // see TestForeignAnswersAreMarked
		require.Equal(t, oauth.Error{Status: tc.status, Code: tc.wantCode, Description: tc.wantDetail}, *e, name)
		require.Contains(t, e.Error(), fmt.Sprint(tc.status))
	}
}

// A refusal whose body is neither JSON nor a form with an error may come from a
// proxy, a firewall or a captive portal, and is marked.
func TestForeignAnswersAreMarked(t *testing.T) {
	for name, tc := range map[string]struct {
		mediaType, body string
		foreign         bool
	}{
		"HTML":             {"text/html", "<h1>Blocked</h1>", true},
		"text":             {"text/plain", "forbidden by your administrator", true},
		"broken JSON":      {jsonType, `{"error":`, true},
		"JSON":             {jsonType, `{"message":"no"}`, false},
		"an OAuth error":   {jsonType, `{"error":"invalid_grant"}`, false},
		"an error as form": {formType, "error=invalid_grant", false},
		"nothing":          {"", "", false},
	} {
		_, err := send(t, 403, tc.mediaType, tc.body)
		var e *oauth.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, tc.foreign, e.Foreign, name)
	}
}

// Any 2xx with tokens is an answer (RFC 6749 §5.1 asks for 200; some providers say
// 201). One without tokens is refused.
func TestEverySuccessIsAnAnswer(t *testing.T) {
	for _, status := range []int{200, 201, 202, 203} {
		resp, err := send(t, status, jsonType, ok(""))
		require.NoError(t, err, status)
		require.False(t, resp.AccessToken.IsZero())
	}
	_, err := send(t, 204, "", "")
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
}

// S32: codes keep to RFC 6749 §5.2. Descriptions are one safe line and repeat
// no secret that was sent.
func TestS32ErrorsKeepToTheSyntax(t *testing.T) {
	for code, want := range map[string]string{
		"invalid_grant": "invalid_grant", "a b~!#": "a b~!#", strings.Repeat("x", 100): strings.Repeat("x", 100),
		"": "", strings.Repeat("x", 101): "", `a"b`: "", `a\b`: "", "a\nb": "", "a\x1b[2J": "", "é": "", "code-canary": "", "x code-canary y": "",
	} {
		_, err := send(t, 400, formType, url.Values{"error": {code}}.Encode())
		var e *oauth.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, want, e.Code, "%q", code)
	}
	describe := func(text string) string {
		r := tokenRequest()
		r.Auth = oauth.ClientSecret("secret-canary")
		_, err := oauth.RequestToken(t.Context(), fetchtest.Body(400, formType, url.Values{"error": {"invalid_grant"}, "error_description": {text}}.Encode()), r)
		var e *oauth.Error
		require.ErrorAs(t, err, &e)
		require.NotContains(t, e.Error(), "canary")
		return e.Description
	}
	require.Equal(t, "�]0;owned�", describe("\x1b]0;owned\x07"))
	require.Equal(t, "code [redacted] is spent", describe("code code-canary is spent"))
	require.Equal(t, "[redacted][redacted]", describe("verifier-canarysecret-canary"))
	require.Equal(t, "[redacted] is no token of ours", describe(strings.Repeat("x", 64)+" is no token of ours"), "S66: nobody reads a word so long")
	require.Len(t, []rune(describe(strings.Repeat("x ", 10_000))), 201)
	require.LessOrEqual(t, len([]rune(describe(strings.Repeat("x ", 97)+"code-canary"))), 201, "cut after the code is taken out, not in its midst")
}

func TestErrorHasRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999": time.Hour, "99999999999999999999": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
		} {
			_, err := oauth.RequestToken(t.Context(), fetchtest.Client(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(503)
			}), tokenRequest())
			var e *oauth.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, want, e.RetryAfter, value)
			require.Contains(t, e.Error(), "later")
		}
	})
}

// S51: exact names, each once, nothing after.
func TestS51TokenResponseIsStrict(t *testing.T) {
	for name, body := range map[string]string{
		"duplicate":          ok(`,"access_token":"evil"`),
		"nested duplicate":   ok(`,"x":{"a":1,"a":2}`),
		"trailing":           ok("") + "{}",
		"ACCESS_TOKEN only":  `{"ACCESS_TOKEN":"at","token_type":"Bearer"}`,
		"type twice":         ok(`,"token_type":"Bearer"`),
		"bad UTF-8":          ok(",\"x\":\"\xff\""),
		"a number":           `{"access_token":7,"token_type":"Bearer"}`,
		"empty":              `{"access_token":"","token_type":"Bearer"}`,
		"null":               `{"access_token":null,"token_type":"Bearer"}`,
		"line break":         `{"access_token":"a\r\nX: y","token_type":"Bearer"}`,
		"not ASCII":          `{"access_token":"é","token_type":"Bearer"}`,
		"refresh a list":     ok(`,"refresh_token":["rt"]`),
		"refresh control":    ok(`,"refresh_token":"\u0000"`),
		"id_token an object": ok(`,"id_token":{}`),
		"scope a number":     ok(`,"scope":7`),
		"scope, escape":      ok(`,"scope":"\u001b[2J"`),
		"scope, a mixture":   ok(`,"scope":["a",1]`),
	} {
		_, err := send(t, 200, jsonType, body)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, name)
	}
	bound := tokenRequest()
	bound.Prove = func(context.Context, http.Header) error { return nil }
	_, err := oauth.RequestToken(t.Context(), fetchtest.JSON(200, `{"access_token":"at","Token_Type":"DPoP"}`), bound)
	require.ErrorIs(t, err, wire.ErrInvalidResponse, "another case is another name")
	for _, mt := range []string{formType, jsonType} {
		_, err = send(t, 200, mt, "access_token=a&access_token=b&token_type=bearer")
		require.ErrorIs(t, err, wire.ErrInvalidResponse)
	}
	r, err := send(t, 200, jsonType, ok(`,"ACCESS_TOKEN":"evil","Expires_In":1`))
	require.NoError(t, err)
	require.Equal(t, "at", r.AccessToken.Reveal())
	require.False(t, r.HasExpiry)
}

// S59: if the server rotates, the refresh token of a refused answer is the only
// one left.
func TestS59RotatedInRefusedAnswer(t *testing.T) {
	for body, want := range map[string]string{
		`{"access_token":"at","token_type":"mac","refresh_token":"rt-canary"}`:                      "rt-canary",
		`{"token_type":"Bearer","refresh_token":"rt-canary"}`:                                       "rt-canary",
		ok(`,"expires_in":true,"refresh_token":"rt-canary"`):                                        "rt-canary",
		ok(`,"expires_in":true`):                                                                    "",
		ok(`,"refresh_token":"rt-canary\n"`):                                                        "",
		`{"access_token":"at","token_type":"mac","refresh_token":"other","refresh_token":"canary"}`: "",
	} {
		_, err := send(t, 200, jsonType, body)
		var e *oauth.ResponseError
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, want, e.RefreshToken.Reveal(), body)
	}
}

func TestScopeMayBeAList(t *testing.T) {
	for more, want := range map[string]string{`,"scope":""`: "", `,"scope":"a b"`: "a b", `,"scope":["a","b"]`: "a b", `,"scope":[]`: "", `,"scope":"repo,gist"`: "repo,gist"} {
		r, err := send(t, 200, jsonType, ok(more))
		require.NoError(t, err, more)
		require.True(t, r.HasScope)
		require.Equal(t, want, r.Scope)
	}
}

// S52: the token type must be the one that was requested.
func TestS52TokenTypeIsTheRequested(t *testing.T) {
	prove := func(context.Context, http.Header) error { return nil }
	for kind, want := range map[string][2]string{ // without and with DPoP
		"Bearer": {"Bearer", ""}, "bearer": {"Bearer", ""}, "BEARER": {"Bearer", ""}, "DPoP": {"", "DPoP"}, "dpop": {"", "DPoP"}, "DPOP": {"", "DPoP"},
		"": {"Bearer", ""}, "mac": {}, "N_A": {}, "Bearer ": {"Bearer", ""}, " DPoP": {"", "DPoP"}, "bot": {}, "Bearer,DPoP": {},
	} {
		for i, p := range []func(context.Context, http.Header) error{nil, prove} {
			q := tokenRequest()
			q.Prove = p
			r, err := oauth.RequestToken(t.Context(), fetchtest.JSON(200, fmt.Sprintf(`{"access_token":"at","token_type":%q}`, kind)), q)
			if want[i] == "" {
				require.ErrorIs(t, err, wire.ErrInvalidResponse, kind)
				require.ErrorContains(t, err, "token_type", kind)
			} else {
				require.NoError(t, err, kind)
				require.Equal(t, want[i], r.TokenType)
			}
		}
	}
	_, err := send(t, 200, jsonType, `{"access_token":"at","token_type":["Bearer"]}`)
	require.ErrorContains(t, err, "token_type is a list")
	_, err = send(t, 200, jsonType, `{"access_token":"at","token_type":"BearerToken"}`)
	require.ErrorContains(t, err, `token_type is "BearerToken", which is unknown`)
	_, err = send(t, 200, jsonType, `{"access_token":"at","token_type":"eyJhbGciOiJFUzI1NiJ9.canary"}`)
	require.ErrorContains(t, err, "token_type is unknown")
	require.NotContains(t, err.Error(), "canary")
	for _, body := range []string{`{"access_token":"at"}`, `{"access_token":"at","token_type":null}`} {
		r, err := send(t, 200, jsonType, body)
		require.NoError(t, err, "nothing was asked for but a bearer token")
		require.Equal(t, "Bearer", r.TokenType)
		require.Len(t, r.Deviations, 1)
		bound := tokenRequest()
		bound.Prove = prove
		_, err = oauth.RequestToken(t.Context(), fetchtest.JSON(200, body), bound)
		require.ErrorContains(t, err, "token_type is missing")
	}
}

// S53: expires_in as providers send it.
func TestS53ExpiresInIsSane(t *testing.T) {
	const clamp = 10 * 365 * 24 * time.Hour
	for value, want := range map[string]time.Duration{
		`3600`: time.Hour, `"3600"`: time.Hour, `3600.5`: time.Hour, `"3600.9"`: time.Hour, `0`: 0, `"0"`: 0, `-5`: 0, `"-5"`: 0, `0.9`: 0, `-0.0`: 0,
		`1e3`: 1000 * time.Second, `1e14`: clamp, `"1e14"`: clamp, `1e300`: clamp, `"1e999"`: clamp, `"-1e999"`: 0, `9223372036854775807`: clamp, `18446744073709551616`: clamp,
	} {
		r, err := send(t, 200, jsonType, ok(`,"expires_in":`+value))
		require.NoError(t, err, value)
		require.True(t, r.HasExpiry, value)
		require.Equal(t, want, r.ExpiresIn, value)
	}
	for _, more := range []string{``, `,"expires_in":null`, `,"expires_in":""`} {
		r, err := send(t, 200, jsonType, ok(more))
		require.NoError(t, err)
		require.False(t, r.HasExpiry, more)
		require.Zero(t, r.ExpiresIn)
	}
	for _, value := range []string{`true`, `{}`, `[3600]`, `"soon"`, `"inf"`, `"NaN"`, `"0x10"`, `"1_000"`, `"36 00"`, `"[1]"`, `"+5"`, `"05"`, `1e400`} {
		_, err := send(t, 200, jsonType, ok(`,"expires_in":`+value))
		require.ErrorIs(t, err, wire.ErrInvalidResponse, value)
	}
	r, err := send(t, 200, formType, "access_token=at&token_type=bearer&expires_in=28800")
	require.NoError(t, err)
	require.Equal(t, 8*time.Hour, r.ExpiresIn)
}

// S54: access tokens are opaque.
func TestS54AccessTokenIsOpaque(t *testing.T) {
	for _, token := range []string{"x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "gho_16C7e42F292c6912E7710c838347Ae178B4a", strings.Repeat("t", 100_000), "a b~!"} {
		r, err := send(t, 200, jsonType, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer"}`, token))
		require.NoError(t, err)
		require.Equal(t, token, r.AccessToken.Reveal())
	}
}

// S86: one retry with the nonce, with a fresh proof and a fresh assertion;
// never a second.
func TestS86OneRetryWithTheNonce(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		nonce   string // "": none is sent
		forever bool
		posts   int32
	}{
		"400":           {400, `{"error":"use_dpop_nonce"}`, "n1", false, 2},
		"401":           {401, `{"error":"use_dpop_nonce"}`, "n1", false, 2},
		"for ever":      {400, `{"error":"use_dpop_nonce"}`, "n1", true, 2},
		"no nonce":      {400, `{"error":"use_dpop_nonce"}`, "", true, 1},
		"another error": {400, `{"error":"invalid_grant"}`, "n1", true, 1},
		"500":           {500, `{"error":"use_dpop_nonce"}`, "n1", true, 1},
		"200":           {200, `{"error":"use_dpop_nonce"}`, "n1", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var posts int32
			var proofs, bodies []string
			c := fetchtest.Client(func(w http.ResponseWriter, r *http.Request) {
				posts++
				proofs = append(proofs, r.Header.Get("DPoP"))
				body, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(body))
				w.Header().Set("Content-Type", jsonType)
				if tc.nonce != "" {
					w.Header().Set("DPoP-Nonce", tc.nonce)
				}
				if posts == 1 || tc.forever {
					w.WriteHeader(tc.status)
					_, _ = io.WriteString(w, tc.body)
					return
				}
				_, _ = io.WriteString(w, `{"access_token":"at","token_type":"DPoP"}`)
			})
			r := tokenRequest()
			var nonce string
			made := 0
			r.Prove = func(_ context.Context, h http.Header) error {
				made++
				h.Set("DPoP", fmt.Sprintf("proof %d %s", made, nonce))
				return nil
			}
			r.Nonce = func(h http.Header) bool {
				nonce = h.Get("DPoP-Nonce")
				return nonce != ""
			}
			_, err := oauth.RequestToken(t.Context(), c, r)
			require.Equal(t, tc.posts, posts)
			require.Equal(t, tc.forever, err != nil)
			require.Equal(t, "proof 1 ", proofs[0])
			if posts == 2 {
				require.Equal(t, "proof 2 n1", proofs[1])
				require.Equal(t, bodies[0], bodies[1])
			}
		})
	}
	r := tokenRequest()
	lost := errors.New("key lost")
	r.Prove = func(context.Context, http.Header) error { return lost }
	_, err := oauth.RequestToken(t.Context(), fetchtest.JSON(200, ok("")), r)
	require.ErrorIs(t, err, lost)
}

func TestRequestThatCannotBeMadeIsNotSent(t *testing.T) {
	c := fetchtest.Client(func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	for _, endpoint := range []string{"", "http://op.example/token", "https://u:p@op.example/", "file:///x", "https://op.example/#f"} {
		r := tokenRequest()
		r.Endpoint = endpoint
		_, err := oauth.RequestToken(t.Context(), c, r)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, endpoint)
	}
	r := tokenRequest()
	r.Auth, r.AuthMethods = oauth.ClientSecret("s"), []string{"none"}
	_, err := oauth.RequestToken(t.Context(), c, r)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = oauth.RequestToken(ctx, c, tokenRequest())
	require.ErrorIs(t, err, context.Canceled)
	var fe *fetch.Error
	require.ErrorAs(t, err, &fe, "the network's errors pass unwrapped, with Sent")
}

// S66: a response prints none of its tokens, and Extra may hold some too.
func TestS66TokenResponseIsRedacted(t *testing.T) {
	r, err := send(t, 200, jsonType, `{"access_token":"canary","token_type":"Bearer","refresh_token":"canary","id_token":"canary","authed_user":{"access_token":"canary"}}`)
	require.NoError(t, err)
	var out bytes.Buffer
	for _, v := range []any{r, *r, []any{r, *r}, struct{ R *oauth.TokenResponse }{r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", r, "v", *r)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "r", r, "v", *r)
	require.NotContains(t, out.String(), "canary")
}

func FuzzResponse(f *testing.F) {
	f.Add(200, jsonType, ok(`,"expires_in":"3600.5","scope":["a"]`))
	f.Add(200, formType, "access_token=at&token_type=bearer&expires_in=1e9")
	f.Add(400, jsonType, `{"error":"invalid_grant","error_description":"\u001b[2J code-canary"}`)
	f.Add(200, "text/plain", `{"ACCESS_TOKEN":"a","access_token":"b"}`)
	f.Fuzz(func(t *testing.T, status int, mediaType, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		r, err := oauth.RequestToken(t.Context(), fetchtest.Body(status, mediaType, body), tokenRequest())
		var refused *oauth.Error
		var fe *fetch.Error
		switch {
		case err == nil:
			require.Equal(t, 2, status/100)
			require.NotContains(t, r.AccessToken.Reveal(), "\n")
			require.False(t, r.AccessToken.IsZero())
			require.Equal(t, "Bearer", r.TokenType)
			require.GreaterOrEqual(t, r.ExpiresIn, time.Duration(0))
			require.LessOrEqual(t, r.ExpiresIn, 10*365*24*time.Hour)
		case errors.As(err, &refused):
			require.NotContains(t, err.Error(), "code-canary")
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 2000)
		default:
			require.True(t, errors.Is(err, wire.ErrInvalidResponse) || errors.As(err, &fe), "%v", err)
		}
	})
}
