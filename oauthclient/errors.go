package oauthclient

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// The errors that a program can act on, to be tested with [errors.Is]. The section
// Errors of the package documentation says what to do with each.
var (
	// ErrLoginRequired means that there is no session, or that the provider has
	// ended it. Only a new login helps.
	ErrLoginRequired = errors.New("sign in again")
	// ErrNoSession, ErrSignedOut, ErrSessionExpired and ErrSessionRefused say why a
	// login is required. Each of them matches ErrLoginRequired.
	//
	// ErrNoSession means that none is stored, or that it cannot be read any more.
	ErrNoSession error = &loginReason{"no session is stored"}
	// ErrSignedOut means that the user signed out, here or in another process.
	ErrSignedOut error = &loginReason{"signed out"}
	// ErrSessionExpired means that a token has expired and nothing can renew it.
	ErrSessionExpired error = &loginReason{"the session has expired"}
	// ErrSessionRefused means that the provider does not renew the session any more.
	ErrSessionRefused error = &loginReason{"the provider has ended the session"}
	// ErrAccessDenied means that the user or the provider refused the login.
	ErrAccessDenied = errors.New("access denied")
	// ErrNoBrowser means that no browser can be opened on this machine, and that
	// UI.Instruct is nil. Set Config.UI to a [TerminalUI], so that the user can
	// open the page on another machine.
	ErrNoBrowser = errors.New("no browser")
	// ErrAccountMismatch means that another user signed in than the one that the
	// account belongs to. The stored session is unchanged. Use another
	// LoginOptions.Account, or set ReplaceUser.
	ErrAccountMismatch = errors.New("another user signed in")
	// ErrStepUp means that the provider signed the user in with less than was
	// requested: another acr, an older auth_time, or fewer scopes (RFC 9470).
	ErrStepUp = errors.New("the sign-in is weaker than was asked for")
	// ErrInvalidResponse means that a response failed a check. The message names
	// the check. To repeat the request does not help.
	ErrInvalidResponse = wire.ErrInvalidResponse
	// ErrNoMetadata means that a provider, or a resource that should name one,
	// publishes no metadata. Set Config.Issuer or Config.Endpoints.
	ErrNoMetadata = oauth.ErrNoMetadata
	// ErrNotRevoked means that [Client.Logout] deleted the session, but that the
	// provider may still accept its tokens until they expire.
	ErrNotRevoked = errors.New("signed out here, but the provider did not confirm it")
)

// Error is an error response of a server (RFC 6749 §5.2 and others). It holds no
// secret and no body.
//
// By its Code it matches [ErrLoginRequired], [ErrAccessDenied] and [ErrStepUp] with
// [errors.Is]. With [errors.As] it also is an [*oauth2.RetrieveError], without its
// Body.
type Error struct {
	// Endpoint names the endpoint that answered: "authorization", "token",
	// "revocation", "registration", and so on.
	Endpoint string
	// Code is the OAuth error code, such as "invalid_grant". "": none was sent.
	Code string
	// Description is the server's text, on one line and safe to print. "": none.
	Description string
	// Status is the HTTP status. 0: the response came through the browser.
	Status int
	// RetryAfter is how long the server wants the client to wait. 0: it did not
	// say.
	RetryAfter time.Duration

	secret  bool // a client secret was sent
	foreign bool // something else may have answered in the provider's place

	workload bool // there is no user who could sign in
}

// Error returns one line that says what the server answered and what the user can
// do about it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the provider's %s endpoint answered", e.Endpoint)
	switch {
	case e.Code != "":
		b.WriteString(" " + e.Code)
	case e.Status != 0:
		fmt.Fprintf(&b, " HTTP status %d", e.Status)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, " (%s)", e.Description)
	}
	if hint := e.hint(); hint != "" {
		b.WriteString(": " + hint)
	}
	return b.String()
}

// hint returns what the user can do next. "": nothing in particular.
func (e *Error) hint() string {
	switch e.Code {
	case "access_denied", "authorization_declined":
		return "the sign-in was refused; " +
			"try again and allow it, or ask the provider's administrator"
	case "invalid_grant", "bad_refresh_token", "login_required", "interaction_required",
		"consent_required", "account_selection_required", "invalid_token":
		if e.workload {
			return "the provider does not accept what the program shows it; check issuer, subject and " +
				"audience that are registered there, and this machine's clock"
		}
		return "sign in again"
	case "invalid_client", "unauthorized_client":
		if e.workload && !e.secret {
			return "check the client ID, the grants that it may use, and the key or the platform's token " +
				"that is registered for it"
		}
		if e.secret {
			return "check the client ID and its secret; some providers take the secret " +
				"only in the body (ClientSecretPost) or without encoding (Config.Deviations.RawBasicAuth)"
		}
		return "check the client ID, and that it is registered as a native (public) client; " +
			"another kind of client needs its secret (Config.ClientAuth)"
	case "invalid_scope":
		return "ask for scopes that the provider offers this client"
	case "invalid_target":
		return "the provider does not know this resource"
	case "invalid_request":
		return "the provider did not accept the request; " +
			"a redirect URI that is not registered is a common cause"
	case "unsupported_grant_type", "unsupported_response_type":
		return "the client is not registered for this flow"
	case "temporarily_unavailable", "server_error":
		return "try again later"
	}
	if e.RetryAfter > 0 {
		return "try again in " + e.RetryAfter.Round(time.Second).String()
	}
	switch {
	case e.Status >= 500 || e.Status == 429:
		return "try again later"
	case e.Status >= 300 && e.Status < 400:
		return "it is a redirect, which is not followed; a network that wants you to sign in may " +
			"have sent it, or the endpoint's URL is wrong"
	case e.foreign:
		return "a proxy, a firewall or a network that wants you to sign in may have answered " +
			"in the provider's place"
	}
	return ""
}

// Is reports whether the server's code means target, one of this package's errors.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrLoginRequired:
		if e.workload {
			return false
		}
		switch e.Code {
		case "invalid_grant", "bad_refresh_token": // the second is GitHub's
			// Elsewhere invalid_grant is not about the session.
			return e.Endpoint == "token"
		case "login_required", "interaction_required", "consent_required",
			"account_selection_required": // OpenID Connect Core §3.1.2.6, with prompt=none
			// A token endpoint that says so may be mistaken: see session.Doubt.
			return e.Endpoint != "token"
		}
	case ErrAccessDenied:
		// The second is Entra's and ForgeRock's, in the device flow.
		return e.Code == "access_denied" || e.Code == "authorization_declined"
	case ErrStepUp:
		return e.Code == "insufficient_user_authentication" || // RFC 9470 §3
			e.Code == "unmet_authentication_requirements" // OpenID Connect
	}
	return false
}

// As sets target if it is a **[oauth2.RetrieveError], for code that was written for
// x/oauth2. Its Response has a status, and neither header nor body: they may hold
// tokens.
func (e *Error) As(target any) bool { return asRetrieveError(target, e.Status, e.Code, e.Description) }

func asRetrieveError(target any, status int, code, description string) bool {
	re, ok := target.(**oauth2.RetrieveError)
	if ok {
		*re = &oauth2.RetrieveError{
			// Google's API clients read the status without looking for nil.
			Response: &http.Response{
				StatusCode: status, Status: strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))),
				Header: http.Header{}, Body: http.NoBody,
			},
			ErrorCode: code, ErrorDescription: description,
		}
	}
	return ok
}

// loginReason is one of the reasons for ErrLoginRequired.
type loginReason struct{ text string }

func (e *loginReason) Error() string { return e.text + ": sign in again" }

func (e *loginReason) Is(target error) bool { return target == ErrLoginRequired }

// loginRequired is an ErrLoginRequired with its reason.
type loginRequired struct {
	why   string
	kind  error // a loginReason
	cause error // nil: there is none
}

func (e *loginRequired) Error() string { return e.why + ": sign in again" }

func (e *loginRequired) Unwrap() error { return e.cause }

func (e *loginRequired) Is(target error) bool { return target == ErrLoginRequired || target == e.kind }

// As shows code that was written for x/oauth2 an invalid_grant, on which such code
// starts a new login.
func (e *loginRequired) As(target any) bool {
	return asRetrieveError(target, http.StatusBadRequest, "invalid_grant", e.why)
}

// narrowRefused means that a token for less than the session cannot be had, while
// the session goes on. It matches ErrStepUp and *Error, and never
// ErrLoginRequired.
type narrowRefused struct{ narrow *session.NarrowError }

func (e *narrowRefused) Error() string {
	return e.narrow.Error() + "; ask for it with Login"
}

func (e *narrowRefused) Is(target error) bool { return target == ErrStepUp }

func (e *narrowRefused) As(target any) bool { return errors.As(e.narrow.Err, target) }

// invalid returns an error that matches ErrInvalidResponse.
func invalid(format string, args ...any) error { return wire.Invalid(format, args...) }

// unsupported returns an error that matches errors.ErrUnsupported. Nothing was sent
// to the provider then.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errors.ErrUnsupported)
}

// fromEndpoint returns err as a program sees it: an [*Error] if endpoint answered
// with an error, else err with the name of the endpoint. nil stays nil.
func fromEndpoint(endpoint string, err error) error {
	var te *oauth.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &te):
		return &Error{
			Endpoint: endpoint, Code: te.Code, Description: te.Description,
			Status: te.Status, RetryAfter: te.RetryAfter, secret: te.Secret, foreign: te.Foreign,
		}
	}
	return fmt.Errorf("%s endpoint: %w", endpoint, err)
}
