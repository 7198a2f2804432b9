package oauthclient

import (
	"context"
	"time"
)

// UI is how a login reaches the user. The zero UI opens the system's browser and
// does nothing else: a library does not print. [TerminalUI] returns a UI for
// command-line programs. Every field may be nil.
//
// Instruct runs concurrently with OpenURL, Notice and Progress. Logins to several
// accounts may call all of them at the same time.
type UI struct {
	// OpenURL opens a page in the user's browser. The URL is a ticket on the
	// login's own listener, or the provider's logout page. OpenURL must not wait
	// for the browser to end. An error is a failure to open it; the login
	// goes on if the user has another possibility. nil: the system's browser.
	OpenURL func(ctx context.Context, url string) error
	// Instruct tells the user what to do if a browser on this machine may not be
	// enough. It runs while the login waits. It is called again if the text that
	// it returned was rejected; do.Refused then says why.
	//
	// It may return "" and nil at once, or wait for the user and return the URL
	// that the user pasted. An error ends the login, which returns it. ctx ends
	// when the login no longer needs Instruct. nil: the user is told nothing, and
	// neither paste nor device code is offered.
	Instruct func(ctx context.Context, do Instructions) (pasted string, err error)
	// Progress is called when a step begins, in the order of the steps. It must
	// return soon. nil: not called.
	Progress func(Step)
	// Notice shows the user one or two English sentences, such as why the browser
	// may not get any further. It may be called at any time while the login waits
	// for the user, and must return soon. The message contains nothing that a
	// server sent. nil: it is only logged.
	Notice func(message string)
}

// Instructions are the possibilities that a login offers the user. Any one of them
// completes it. An empty field is a possibility that is not offered.
type Instructions struct {
	// URL is the authorization URL, to be opened by hand. "": device code only.
	URL string
	// URLExpiry is when URL can no longer be opened, because the request was
	// pushed (RFC 9126 §2.2). Zero: URL is valid as long as the login waits.
	URLExpiry time.Time
	// Opened says that a browser was opened at URL, so that the user needs these
	// instructions only if it does not appear.
	Opened bool
	// Paste says that Instruct may return the URL at which the browser ended, for
	// a browser on another machine.
	Paste bool
	// Refused is why the text that Instruct last returned was rejected. nil: it is
	// the first call.
	Refused error

	// UserCode is what the user types at VerificationURI, on any device
	// (RFC 8628 §3.3). "": there is no device code.
	UserCode string
	// VerificationURI is the page for UserCode.
	VerificationURI string
	// VerificationURIComplete is that page with the code filled in, for a QR
	// code. "": the provider sent none.
	VerificationURIComplete string
	// Expiry is when the device code expires. Zero: there is none.
	Expiry time.Time
}

// Step is a part of a login that UI.Progress is told about.
type Step string

// The steps of a login, in their order. StepElsewhere comes only if another
// process is signing in to the same account.
const (
	StepElsewhere Step = "elsewhere" // another process signs in; this one waits for it
	StepDiscover  Step = "discover"  // the provider's metadata are fetched
	StepUser      Step = "user"      // the user signs in
	StepExchange  Step = "exchange"  // tokens are fetched, and the ID token is verified
	StepStore     Step = "store"     // the session is stored
)

// progress calls Progress if there is one.
func (u UI) progress(s Step) {
	if u.Progress != nil {
		u.Progress(s)
	}
}
