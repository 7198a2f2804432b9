package loopback

import (
	"crypto/subtle"
	"errors"
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

// Expect says which authorization response is accepted. The zero Expect is not
// valid: a State is needed. Printing an Expect does not show the state, except
// from within an unexported field of another type, because package fmt calls no
// methods there.
type Expect struct {
	// State is the state of the authorization request (RFC 6749 §4.1.1). It must
	// not be empty. Use at least 128 random bits for each sign-in: it is what
	// keeps others from finishing the sign-in with a code of their own
	// (RFC 9700 §4.7).
	State string
	// Issuer is the issuer identifier of the authorization server. It is
	// compared with the iss parameter of the response, byte by byte (RFC 9207
	// §2.4). If empty, iss is ignored.
	Issuer string
	// RequireIssuer refuses a response without iss. Set it if the provider's
	// metadata has authorization_response_iss_parameter_supported. It needs an
	// Issuer.
	RequireIssuer bool
	// SignOut expects the return from the provider's sign-out page instead
	// (OpenID Connect RP-Initiated Logout §3): the state, and neither a code nor
	// an error. Issuer is then ignored.
	SignOut bool
}

// Format implements [fmt.Formatter] without the state.
func (e Expect) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "loopback.Expect"+redacted) }

// LogValue implements [slog.LogValuer] without the state.
func (e Expect) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, without the
// state. It never fails.
func (e Expect) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Response is an authorization response whose state, issuer and form have been
// checked (RFC 6749 §4.1.2): a code, or an error of the provider. Printing a
// Response does not show the code. Its methods may be called concurrently.
type Response struct {
	// Params are the parameters of the response. Each name occurs once, every
	// name and value is valid UTF-8, and there is either a code or an error (or
	// neither, after a sign-out). The values are the provider's: remove control
	// characters before you print them to a terminal.
	Params url.Values

	server  *Server // nil for the zero Response
	signOut bool
}

// Code returns the authorization code. If the provider sent an error instead,
// Code returns it as an [*Error]. The return from a sign-out has no code: the
// result is "" and nil.
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

// Finish says how the sign-in ended, and so which page the browser gets. Call it
// after the tokens have been checked; until then the browser is held.
//
// With a nil error the page says "signed in", as user if user is not empty. With
// [ErrOtherUser] it says that another user signed in, and with any other error
// that the sign-in failed. The text of err is not shown, because it may contain
// text of a server. Only the first call has an effect. Finish does
// nothing on a Response that did not come from [Server.Wait].
func (r *Response) Finish(user string, err error) {
	if r.server == nil {
		return
	}
	switch {
	case err == nil && r.signOut:
		r.server.finish(pageContent{kind: pageOut})
	case err == nil:
		r.server.finish(pageContent{kind: pageDone, user: user})
	case r.Params.Get("error") == "access_denied":
		r.server.finish(pageContent{kind: pageDenied})
	case errors.Is(err, ErrOtherUser):
		r.server.finish(pageContent{kind: pageOther})
	default:
		r.server.finish(pageContent{kind: pageFailed})
	}
}

// ErrOtherUser tells [Response.Finish] that the user who signed in is not the one
// that the program expects.
var ErrOtherUser = errors.New("another user signed in")

// Format implements [fmt.Formatter] without the code.
func (r Response) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "loopback.Response"+redacted)
}

// LogValue implements [slog.LogValuer] without the code.
func (r Response) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], and so JSON, without the
// code. It never fails.
func (r Response) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Error is an error response of the provider (RFC 6749 §4.1.2.1). It is safe to
// print.
type Error struct {
	// Code is the error code, such as "access_denied". It is 1 to 200
	// characters of printable ASCII.
	Code string
	// Description is the provider's explanation for developers: one line of at
	// most 200 characters, with control characters replaced. It may be empty.
	Description string
}

// Error returns the code and the description.
func (e *Error) Error() string {
	if e.Description == "" {
		return "the provider refused the sign-in: " + e.Code
	}
	return "the provider refused the sign-in: " + e.Code + ": " + e.Description
}

// rejection is why a request was not accepted. The zero rejection means that it
// was.
type rejection struct {
	status    int    // of the HTTP response; 0: accepted
	reason    string // for the user, without anything that the request contained
	relevance int    // how much the reason explains a sign-in that does not finish
}

// The relevance of a rejection. A later rejection of lower relevance does not
// replace an earlier one: a favicon must not hide the provider's mistake.
const (
	stray      = 1 + iota // a request for something else
	atCallback            // a request for the redirect URI
	withState             // a request with the right state
)

// Reasons that a user can do something about while the sign-in waits.
const (
	errorWithoutState = "it has an error but no state, so that anyone could have sent it"
	headersTooLarge   = "its headers were too large; " +
		"delete the browser's cookies for 127.0.0.1 and localhost"
	triedTLS = "it was https, and the listener has only http; " +
		"turn off the browser's HTTPS-only mode for this address"
)

const noticeTooLarge = "The browser sends more cookies than a sign-in accepts. " +
	"Delete its cookies for 127.0.0.1 and localhost, and try again."

// maxNotices is the number of different messages that notice returns.
const maxNotices = 3

// notice returns the message for [Server.Notices] that goes with the reason of a
// rejection, or "" if there is none.
func notice(reason string) string {
	switch reason {
	case errorWithoutState:
		return "An error came back without the state that ties it to this sign-in, " +
			"so it was ignored. If the provider's page showed an error, cancel and sign in again; " +
			"otherwise go on in the browser."
	case headersTooLarge:
		return noticeTooLarge
	case triedTLS:
		return "A browser tried https, but the sign-in's own page on this computer has only http. " +
			"Turn off the browser's HTTPS-only mode for this address, or use another browser."
	}
	return ""
}

func bad(relevance int, reason string) rejection {
	return rejection{http.StatusBadRequest, reason, relevance}
}

// check decides whether query, the raw parameters of a response, is the expected
// one. Of all faults, a wrong issuer alone ends the sign-in, which is left to the
// caller.
//
// The order matters. The state comes first: a request without it can be sent by
// anyone, so nothing that it says may have an effect. The issuer comes last:
// only a well-formed response may end the sign-in.
func check(query string, want Expect) (params url.Values, wrongIssuer bool, rej rejection) {
	params, err := url.ParseQuery(query) // URL.Query would drop malformed pairs silently
	if err != nil {
		return nil, false, bad(atCallback, "its parameters are malformed")
	}
	if rej := checkState(params["state"], want.State); rej.status != 0 {
		if params.Get("state") == "" && params.Has("error") {
			rej.reason = errorWithoutState
		}
		return nil, false, rej
	}
	if rej := checkForm(params); rej.status != 0 {
		return nil, false, rej
	}
	if rej := checkContent(params, want.SignOut); rej.status != 0 {
		return nil, false, rej
	}
	if want.SignOut {
		return params, false, rejection{}
	}
	// RFC 9207 §2.4: compare as strings, and refuse a missing iss if the server
	// is known to send one. This stops mix-up attacks (RFC 9700 §4.4).
	if iss, named := params["iss"]; named && want.Issuer != "" && iss[0] != want.Issuer ||
		!named && want.RequireIssuer {
		return nil, true, bad(withState, "it names the wrong issuer, or none")
	}
	return params, false, rejection{}
}

// checkState compares the state of a response with the expected one, in constant
// time, so that a local program cannot guess it character by character.
func checkState(state []string, want string) rejection {
	switch {
	case len(state) == 0:
		return bad(atCallback, "it has no state")
	case len(state) > 1:
		return bad(atCallback, "it has more than one state")
	case subtle.ConstantTimeCompare([]byte(state[0]), []byte(want)) != 1:
		return bad(atCallback, "its state is not this sign-in's; an older tab may have sent it")
	}
	return rejection{}
}

// checkForm rejects parameters that occur twice (RFC 6749 §3.1). Two readers
// could each take another value for the real one.
func checkForm(params url.Values) rejection {
	for name, values := range params {
		if len(values) > 1 {
			return bad(withState, "a parameter comes more than once")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(values[0]) {
			return bad(withState, "a parameter is not valid UTF-8")
		}
	}
	return rejection{}
}

// checkContent checks that the response has what it should: a code or an error,
// never tokens, and nothing but the state after a sign-out. A token in a URL
// would stay in the browser's history (RFC 9700 §2.1.2).
func checkContent(params url.Values, signOut bool) rejection {
	for _, name := range [...]string{"access_token", "id_token", "token_type", "refresh_token"} {
		if params.Has(name) {
			return bad(withState,
				"it contains tokens, as in the implicit flow, but a code was requested")
		}
	}
	code, failure := params.Get("code"), params.Get("error")
	switch {
	case signOut && (params.Has("code") || params.Has("error")):
		return bad(withState, "it answers a sign-in, but a sign-out was requested")
	case signOut:
		return rejection{}
	case params.Has("code") && params.Has("error"):
		return bad(withState, "it has both a code and an error")
	case params.Has("error") && !nqschar(failure):
		return bad(withState, "its error is empty, too long, or not printable ASCII")
	case !params.Has("error") && !vschar(code):
		return bad(withState, "its code is missing, or not printable ASCII")
	}
	return rejection{}
}

// vschar reports whether s is one or more VSCHAR (RFC 6749, appendix A.11), the
// form of a code. The bound of 8 KiB is what fits into a URL.
func vschar(s string) bool {
	return s != "" && len(s) <= 8<<10 &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// nqschar reports whether s is one or more NQSCHAR (RFC 6749, appendix A.7), the
// form of an error code. No known code is longer than 200 characters.
func nqschar(s string) bool {
	return s != "" && len(s) <= 200 &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r < 0x20 || r > 0x7e || r == '"' || r == '\\'
		})
}
