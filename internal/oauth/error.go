// Reads the error that a server reports (RFC 6749 §5.2).
//
// A server's words go to a terminal, a page or a log. So the code is bounded,
// the description becomes one safe line (S5), and neither may repeat a code,
// token or secret that was sent (S66). The body itself is never kept (S50).

package oauth

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Error is what the server itself reported. It holds no body.
type Error struct {
	Status int
	// Code is "" if the answer was no OAuth error, or if its code held what a
	// code must not.
	Code string
	// Description is one line that is safe to show. Secrets that were sent are
	// taken out.
	Description string
	RetryAfter  time.Duration // 0: the server did not say
	// Foreign means that there was a body and it was neither JSON nor a form: a
	// proxy, a firewall or a captive portal may have answered in the server's place.
	Foreign bool
	// Secret means that the request had a client secret.
	Secret bool
}

func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Code != "":
		fmt.Fprintf(&b, "the server refused: %s", e.Code)
	case e.Status >= 300 && e.Status < 400:
		b.WriteString("the server answered with a redirect, which is not followed; check the endpoint's URL")
	case e.Status >= 500, e.Status == http.StatusTooManyRequests:
		b.WriteString("the server cannot answer now; try again later")
	default:
		b.WriteString("the server refused and gave no reason that can be read")
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	return b.String()
}

// passing reports an error that is the server's state, not its decision. The
// same request may succeed later.
func (e *Error) passing() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	}
	return e.Status >= 500 || e.Code == "temporarily_unavailable" || e.Code == "server_error"
}

// Refusal reads the OAuth error in an answer to r. If the body is none, the
// Error has the status alone.
func (r Request) Refusal(resp *fetch.Response) *Error {
	e := &Error{
		Status: resp.Status, RetryAfter: resp.RetryAfter(time.Now()), Secret: r.Auth.isSecret(),
	}
	m, err := parseResponse(resp)
	if err != nil {
		e.Foreign = len(resp.Body) > 0
		return e
	}
	if code, ok := m.text("error"); ok && r.withhold(code) == code {
		e.Code = errorCode(code, 100)
	}
	e.Foreign = e.Code == "" && len(resp.Body) > 0 && !resp.IsJSON()
	e.Description = wire.SafeText(maskTokens(r.withhold(m.description())), 0)
	return e
}

// description returns the server's own words; "": there are none. They are in
// error_description (§5.2), and at some servers in message (Strava, Twitch) or in an
// error that is an object (Google).
func (m members) description() string {
	for _, name := range []string{"error_description", "message"} {
		if text, ok := m.text(name); ok && text != "" {
			return text
		}
	}
	if object, ok := m["error"].(map[string]any); ok {
		text, _ := object["message"].(string)
		return text
	}
	return ""
}

// errorCode returns s if it has the characters of an error code (§5.2) and at
// most max of them. Else it returns "". Registered codes have up to 40.
func errorCode(s string, max int) string {
	if len(s) > max || !isNQSCHAR(s) {
		return ""
	}
	return s
}

// withhold takes out of s what was sent in confidence. A server may echo it
// ("refresh token xyz is expired").
func (r Request) withhold(s string) string {
	for _, name := range []string{
		"code", "code_verifier", "refresh_token", "token", "device_code", "state", "nonce",
		"client_assertion", "assertion", "subject_token", "actor_token",
	} {
		for _, v := range r.Form[name] {
			if v != "" {
				s = strings.ReplaceAll(s, v, wire.Redacted)
			}
		}
	}
	return r.Auth.Withhold(r.ClientID, s)
}

// maskTokens takes out secrets that withhold does not know: those made for one
// request (an assertion, a proof) and the server's own. They are known by their
// length of 64 characters or more. No word that people read is as long.
func maskTokens(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return !tokenRune(r) })
		if n < 0 {
			n = len(s)
		}
		if n < 64 {
			b.WriteString(s[:n])
		} else {
			b.WriteString(wire.Redacted)
		}
		rest := strings.IndexFunc(s[n:], tokenRune)
		if rest < 0 {
			rest = len(s) - n
		}
		b.WriteString(s[n : n+rest])
		s = s[n+rest:]
	}
	return b.String()
}

// tokenRune reports a character of a token: base64, a JWT, or form encoding.
func tokenRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return r < 0x80 && strings.ContainsRune("._~+=%-", r)
}

// Ended reports an error code of the token endpoint that ends a refresh token or a
// code for good: invalid_grant (RFC 6749 §5.2), or GitHub's bad_refresh_token.
func Ended(code string) bool { return code == "invalid_grant" || code == "bad_refresh_token" }
