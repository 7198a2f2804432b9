package oauth

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Error is a server's refusal (RFC 6749 §5.2). It holds no body.
type Error struct {
	Status      int
	Code        string        // "" where the answer was no OAuth error, or its code held what a code must not
	Description string        // one line that is safe to show; what was sent in confidence is taken out of it
	RetryAfter  time.Duration // 0: the server did not say
	// Foreign means that there was a body and it was neither JSON nor a form: a
	// proxy, a firewall or a captive portal may have answered in the server's place.
	Foreign bool
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

// Refusal reads the OAuth error in an answer to r. A body that is none gives an Error with the status alone.
func (r Request) Refusal(resp *fetch.Response) *Error {
	e := &Error{Status: resp.Status, RetryAfter: resp.RetryAfter(time.Now())}
	m, err := parseResponse(resp)
	if err != nil {
		e.Foreign = len(resp.Body) > 0
		return e
	}
	if code, ok := m.text("error"); ok && isErrorCode(code) && r.withhold(code) == code {
		e.Code = code
	}
	e.Foreign = e.Code == "" && len(resp.Body) > 0 && !resp.IsJSON()
	if description, ok := m.text("error_description"); ok {
		e.Description = wire.SafeText(maskTokens(r.withhold(description)), 0)
	}
	return e
}

// isErrorCode bounds a code by the characters of §5.2, and by a length that leaves room for every registered one.
func isErrorCode(s string) bool {
	return s != "" && len(s) <= 100 && strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) < 0
}

// withhold takes out of s what was sent in confidence: a server may echo it ("refresh token xyz is expired").
func (r Request) withhold(s string) string {
	for _, name := range []string{"code", "code_verifier", "refresh_token", "token", "device_code", "state", "nonce", "client_assertion", "assertion", "subject_token", "actor_token"} {
		for _, v := range r.Form[name] {
			if v != "" {
				s = strings.ReplaceAll(s, v, "[redacted]")
			}
		}
	}
	return r.Auth.Withhold(r.ClientID, s)
}

// maskTokens takes out what was made for one request (an assertion, a proof), and what the server adds of its own: known by its length, for no
// word that people read is as long.
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
			b.WriteString("[redacted]")
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

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && strings.ContainsRune("._~+=%-", r)
}

// Ended reports an error code of the token endpoint that ends a refresh token or a
// code for good: invalid_grant (RFC 6749 §5.2), or GitHub's bad_refresh_token.
func Ended(code string) bool { return code == "invalid_grant" || code == "bad_refresh_token" }
