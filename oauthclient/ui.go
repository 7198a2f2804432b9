package oauthclient

import (
	"context"
	"time"
)

// UI is how a login reaches the person. The zero UI opens the system's browser and does nothing else: a library
// prints nothing unless it is handed a [TerminalUI]. A nil field is its default.
type UI struct {
	// OpenURL opens a page in the person's own browser: a one-time ticket on the login's listener, or an end-session URL.
	// It returns soon. nil: the system's browser.
	OpenURL func(ctx context.Context, url string) error
	// Instruct tells the person what to do where a browser alone may not suffice. It runs beside the login, once, and again when a pasted
	// text was refused; ctx ends when the login goes on. It may return "" and nil at once, or what was pasted;
	// an error ends the login with it. nil: nobody is told.
	Instruct func(ctx context.Context, do Instructions) (pasted string, err error)
	// Progress is told each step as it begins, in order. It returns soon. nil: nobody is told.
	Progress func(Step)
}

// Instructions are the ways to go on that a login offers; an empty field is a way that is not offered.
type Instructions struct {
	URL       string    // the authorization URL, to open by hand
	URLExpiry time.Time // until when URL can be opened, where it is of a pushed request (RFC 9126 §2.2); zero: as long as the login waits
	Opened    bool      // a browser was opened on it: this is the fallback
	Paste     bool      // the URL that the browser ends at may be pasted
	Refused   error     // why the last pasted text was refused; nil the first time

	UserCode                string    // to type at VerificationURI, on any machine (RFC 8628)
	VerificationURI         string    // where the code is typed
	VerificationURIComplete string    // the same with the code in it: for a QR code
	Expiry                  time.Time // when these instructions end
}

// Step is a stage of a login, told to UI.Progress.
type Step string

// The steps of a login, in the order in which they come.
const (
	StepDiscover  Step = "discover"  // the provider's metadata are fetched
	StepElsewhere Step = "elsewhere" // another process signs in; this one waits for it
	StepPerson    Step = "person"    // the person is asked
	StepExchange  Step = "exchange"  // the code is exchanged and the ID token verified
	StepStore     Step = "store"     // the session is stored
)

func (u UI) progress(s Step) {
	if u.Progress != nil {
		u.Progress(s)
	}
}
