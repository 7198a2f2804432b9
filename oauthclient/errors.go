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

// What a caller decides on, with [errors.Is]. Besides these there are [errors.ErrUnsupported] (the provider lacks it;
// nothing was sent), [context.DeadlineExceeded] and [context.Canceled], [os.ErrClosed] (after [Client.Close]), and the
// errors of package tokenstore. What is none of these and no [*Error] was the network: try later.
var (
	// ErrLoginRequired is the only error that signing in again cures.
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
	// ErrAccessDenied means that the person or the provider said no.
	ErrAccessDenied = errors.New("access denied")
	// ErrNoBrowser means that there is nothing to open a page with, and UI.Instruct is nil. Hand Config.UI a
	// [TerminalUI] to let a person open the page on another machine.
	ErrNoBrowser = errors.New("no browser")
	// ErrAccountMismatch means that another user than the account's signed in; nothing was changed.
	ErrAccountMismatch = errors.New("another user signed in")
	// ErrStepUp means that acr, auth_time or scope fell short of what was asked (RFC 9470).
	ErrStepUp = errors.New("the sign-in is weaker than was asked for")
	// ErrInvalidResponse means that what a server sent failed a check; the message names the check.
	ErrInvalidResponse = wire.ErrInvalidResponse
	// ErrNotRevoked means that the session is gone here, while the provider may still honour its tokens.
	ErrNotRevoked = errors.New("signed out here, but the provider did not confirm it")
)

// Error is what a server said. It holds no body and no secret, and its text is neutralised for terminals and pages.
// It matches [ErrLoginRequired], [ErrAccessDenied], [ErrStepUp] and [errors.ErrUnsupported] by its code, and
// [*oauth2.RetrieveError] (without its Body) with [errors.As].
type Error struct {
	Endpoint    string        // which of the provider's endpoints: "authorization", "token", "revocation", …
	Code        string        // the OAuth error code, as invalid_grant; "" where the server sent none
	Description string        // the server's own words, neutralised
	Status      int           // HTTP status; 0 for an answer that came through the browser
	RetryAfter  time.Duration // as the server asked; 0: it did not
}

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

func (e *Error) hint() string {
	switch e.Code {
	case "access_denied":
		return "the sign-in was refused; try again and allow it, or ask the provider's administrator"
	case "invalid_grant", "bad_refresh_token", "login_required", "interaction_required", "consent_required", "account_selection_required", "invalid_token":
		return "sign in again"
	case "invalid_client", "unauthorized_client":
		return "check the client ID, and that it is registered as a native (public) client"
	case "invalid_scope":
		return "ask for scopes that the provider offers this client"
	case "invalid_target":
		return "the provider does not know this resource"
	case "invalid_request":
		return "the provider did not accept the request; a redirect URI that is not registered is a common cause"
	case "unsupported_grant_type", "unsupported_response_type":
		return "the client is not registered for this flow"
	case "temporarily_unavailable", "server_error":
		return "try again later"
	}
	if e.RetryAfter > 0 {
		return "try again in " + e.RetryAfter.Round(time.Second).String()
	}
	if e.Status >= 500 || e.Status == 429 {
		return "try again later"
	}
	return ""
}

// Is matches the sentinels of this package by what the server said.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrLoginRequired:
		switch e.Code {
		case "invalid_grant", "bad_refresh_token":
			return e.Endpoint == "token"
		case "login_required", "interaction_required", "consent_required", "account_selection_required":
			// A token endpoint that says so may be mistaken: see session.Doubt.
			return e.Endpoint != "token"
		}
	case ErrAccessDenied:
		return e.Code == "access_denied"
	case ErrStepUp:
		return e.Code == "insufficient_user_authentication" || e.Code == "unmet_authentication_requirements"
	}
	return false
}

// As gives code written for x/oauth2 the error that it expects. Its Response has a
// status and neither header nor body.
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

// loginRequired is an ErrLoginRequired with its reason. Code written for x/oauth2
// sees an invalid_grant in it.
type loginRequired struct {
	why   string
	kind  error // a loginReason
	cause error
}

func (e *loginRequired) Error() string { return e.why + ": sign in again" }

func (e *loginRequired) Unwrap() error { return e.cause }

func (e *loginRequired) Is(target error) bool { return target == ErrLoginRequired || target == e.kind }

func (e *loginRequired) As(target any) bool {
	return asRetrieveError(target, http.StatusBadRequest, "invalid_grant", e.why)
}

// narrowRefused means that the provider refuses a token for less than the session,
// while the session goes on. It matches ErrStepUp and *Error, and never
// ErrLoginRequired.
type narrowRefused struct{ narrow *session.NarrowError }

func (e *narrowRefused) Error() string {
	return e.narrow.Error() + "; ask for it with Login"
}

func (e *narrowRefused) Is(target error) bool { return target == ErrStepUp }

func (e *narrowRefused) As(target any) bool { return errors.As(e.narrow.Err, target) }

func invalid(format string, args ...any) error { return wire.Invalid(format, args...) }

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errors.ErrUnsupported)
}

// fromEndpoint turns what a protocol room reports into what a program decides on.
func fromEndpoint(endpoint string, err error) error {
	var te *oauth.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &te):
		return &Error{Endpoint: endpoint, Code: te.Code, Description: te.Description, Status: te.Status, RetryAfter: te.RetryAfter}
	}
	return fmt.Errorf("%s endpoint: %w", endpoint, err)
}
