package oauthclient

import "time"

// Account describes a session without its secrets.
type Account struct {
	Name        string    // the program's own name for it; "" is the default account
	Issuer      string    // the provider
	Subject     string    // the provider's stable name for the user; "" without OpenID Connect
	Username    string    // preferred_username, else email, else name; for display only, it can change and repeat
	Scopes      []string  // granted
	Expiry      time.Time // of the access token; it is refreshed by itself where Refreshable
	Refreshable bool      // a refresh token is stored
	// LoginRequired means that the session is known to have ended: signed out, or
	// refused by the provider, or expired with nothing to renew it. false is no
	// promise.
	LoginRequired bool
	Store         string // where it is kept: "keychain", "file /…"
}
