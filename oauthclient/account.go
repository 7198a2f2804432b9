package oauthclient

import "time"

// Account describes a stored session. It holds no secret. [Session.Account]
// returns the account of one session, and [Client.Accounts] those of all.
type Account struct {
	// Name is the program's own name for the session, as in LoginOptions.Account.
	// "" is the default account.
	Name string
	// Issuer is the provider's issuer identifier.
	Issuer string
	// Subject identifies the user at the issuer and never changes. It is "" if
	// there is no ID token: add "openid" to Config.Scopes.
	Subject string
	// Username is preferred_username, email or name, whichever comes first in the
	// ID token; the scopes "profile" and "email" bring them. It is for display only: users can change it, and two users may
	// have the same.
	Username string
	// Scopes are those that were granted, which may be fewer than were requested.
	Scopes []string
	// Expiry is when the access token expires. Zero: it is not known.
	Expiry time.Time
	// Refreshable says that the session goes on after Expiry without the user: there
	// is a refresh token, or there never was a user (Config.Workload).
	Refreshable bool
	// SessionExpiry is when the refresh token expires, as the provider says
	// (refresh_token_expires_in). It is for display only: it never ends a session
	// by itself. Zero: the provider does not say.
	SessionExpiry time.Time
	// LoginRequired says that the session is known to have ended: it was signed
	// out, the provider refused it, or it has expired and nothing can renew it.
	// false is no promise.
	LoginRequired bool
	// Store names the place in which the session is stored, for display:
	// "keychain", "file /home/…". "": nowhere, with Config.Workload.
	Store string
}
