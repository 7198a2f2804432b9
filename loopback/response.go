package loopback

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const redacted = "[redacted]"

// Expect is what an answer must hold to be taken. Printing it shows no state, except from within an unexported field, where fmt
// asks no methods.
type Expect struct {
	// State is the authorization request's (RFC 6749 §4.1.1); never empty.
	State string
	// Issuer is compared with the answer's iss, if it has one (RFC 9207); "": iss is not looked at.
	Issuer string
	// RequireIssuer refuses an answer without iss: for a provider whose metadata says
	// authorization_response_iss_parameter_supported.
	RequireIssuer bool
	// SignOut awaits the browser's return from the provider's sign-out instead (OpenID Connect RP-Initiated Logout §3): an answer
	// with the state, and neither a code nor an error.
	SignOut bool
}

// Format implements [fmt.Formatter] without the state.
func (e Expect) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "loopback.Expect"+redacted) }

// LogValue implements [slog.LogValuer] without the state.
func (e Expect) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, without the state.
func (e Expect) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Response is an answer whose state, issuer and form were checked: a code, or the provider's error. Printing it
// shows no code.
type Response struct {
	// Params is what the answer holds: each name once, in valid UTF-8, and code or error, never both. The text is
	// the provider's: neutralise it before it reaches a terminal.
	Params url.Values

	server  *Server
	signOut bool
}

// Code returns the authorization code, or an [*Error] where the provider refused. The answer to a sign-out has none: "" and nil.
func (r *Response) Code() (string, error) {
	if r.signOut {
		return "", nil
	}
	if r.Params.Has("code") {
		return r.Params.Get("code"), nil
	}
	return "", &Error{
		Code:        r.Params.Get("error"),
		Description: wire.SafeText(r.Params.Get("error_description"), 0),
	}
}

// Finish says how the sign-in ended, and so which page the browser is sent to: with a nil error "signed in", as user, who is
// named where not ""; else the failure page. The error's text is not shown, for it may hold a server's. Call it
// after the tokens were checked; the first call counts. A Response of [Server.Wait] only.
func (r *Response) Finish(user string, err error) {
	if r.server == nil {
		return
	}
	switch {
	case err == nil && r.signOut:
		r.server.finish(outcome{kind: pageOut})
	case err == nil:
		r.server.finish(outcome{kind: pageDone, user: user})
	case r.Params.Get("error") == "access_denied":
		r.server.finish(outcome{kind: pageDenied})
	default:
		r.server.finish(outcome{kind: pageFailed})
	}
}

// Format implements [fmt.Formatter] without the code.
func (r Response) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "loopback.Response"+redacted) }

// LogValue implements [slog.LogValuer] without the code.
func (r Response) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, without the code.
func (r Response) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Error is a provider's refusal (RFC 6749 §4.1.2.1).
type Error struct {
	Code        string // "access_denied", …: printable ASCII
	Description string // on one line, at most 200 characters, no control characters; may be ""
}

func (e *Error) Error() string {
	if e.Description == "" {
		return "the provider refused the sign-in: " + e.Code
	}
	return "the provider refused the sign-in: " + e.Code + ": " + e.Description
}

// refusal is a request that was not taken. A zero status is none.
type refusal struct {
	status int
	why    string
	weight int // how much it tells of why a sign-in does not finish
}

const (
	stray    = 1 + iota // a request for something else
	callback            // one that came to the callback's address
	answer              // one that held the right state
)

// check tells whether query, the raw parameters of an answer, is the one awaited. A wrong issuer is the one fault that ends the sign-in, which
// its caller does; the rest is refused only.
func check(query string, want Expect) (params url.Values, wrongIssuer bool, no refusal) {
	bad := func(weight int, why string) (url.Values, bool, refusal) {
		return nil, false, refusal{http.StatusBadRequest, why, weight}
	}
	params, err := url.ParseQuery(query) // URL.Query drops malformed pairs without a word
	if err != nil {
		return bad(callback, "its parameters are malformed")
	}
	switch state := params["state"]; {
	case len(state) == 0:
		return bad(callback, "it has no state")
	case len(state) > 1:
		return bad(callback, "it has more than one state")
	case subtle.ConstantTimeCompare([]byte(state[0]), []byte(want.State)) != 1:
		return bad(callback, "its state is not this sign-in's; an older tab may have sent it")
	}
	for name, values := range params {
		// RFC 6749 §3.1: parameters must not be included more than once.
		if len(values) > 1 {
			return bad(answer, "a parameter comes more than once")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(values[0]) {
			return bad(answer, "a parameter is not valid UTF-8")
		}
	}
	for _, name := range [...]string{"access_token", "id_token", "token_type", "refresh_token"} {
		if params.Has(name) {
			return bad(answer, "it holds tokens, as the implicit flow's, where a code was asked for")
		}
	}
	code, failure := params.Get("code"), params.Get("error")
	switch {
	case want.SignOut && (params.Has("code") || params.Has("error")):
		return bad(answer, "it answers a sign-in, where a sign-out was asked for")
	case want.SignOut:
		return params, false, refusal{}
	case params.Has("code") && params.Has("error"):
		return bad(answer, "it has both a code and an error")
	case params.Has("error") && !nqschar(failure):
		return bad(answer, "its error is empty, too long, or not printable ASCII")
	case !params.Has("error") && !vschar(code):
		return bad(answer, "its code is missing, or not printable ASCII")
	}
	if iss, named := params["iss"]; named && want.Issuer != "" && iss[0] != want.Issuer || !named && want.RequireIssuer {
		return nil, true, refusal{http.StatusBadRequest, "it names the wrong issuer, or none", answer}
	}
	return params, false, refusal{}
}

// vschar reports one or more VSCHAR (RFC 6749, appendix A.11), of a length that fits a URL.
func vschar(s string) bool {
	return s != "" && len(s) <= 8<<10 && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// nqschar reports one or more NQSCHAR (RFC 6749, appendix A.7).
func nqschar(s string) bool {
	return s != "" && len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' })
}
