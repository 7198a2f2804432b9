// Package oauthclient signs people in to desktop and command-line programs, with OAuth 2.0 and OpenID Connect as RFC 8252 and RFC 9700 ask for it, and
// keeps them signed in.
//
//	client, err := oauthclient.New(oauthclient.Config{
//		Issuer:   "https://login.example.com",
//		ClientID: "my-cli",
//		Scopes:   []string{"openid", "offline_access"},
//	})
//	defer client.Close()                            // lets the browser load its page, and a refresh finish
//	session, err := client.SessionOrLogin(ctx, nil) // stored, or opens the browser
//	resp, err := session.HTTPClient().Get("https://api.example.com/me")
//
// # Silent and interactive
//
// A [Session] never opens a browser: its calls return a token, refresh one, or say [ErrLoginRequired]. A [Client] does, in [Client.Login],
// and in [Client.Logout] where the provider's own session ends too. [Client.SessionOrLogin] joins the two and lets one process at a time ask the
// person; the others wait and adopt what comes of it.
//
// # What is kept, and where
//
// The refresh token, the access tokens and the ID token are one value in Config.Store, the OS keychain by default. Nothing falls back to plaintext: where
// there is no keychain, Login fails before the browser opens and says what to do. A rotated refresh token is stored before the new access token is handed
// out, under a lock that all processes share, so that neither a race nor a crash signs the user out.
//
// # Where tokens go
//
// [Session.HTTPClient] sends them to Config.Origins over https, and never after a redirect to elsewhere. [Session.Token] and
// [Session.TokenSource] hand them out: print none, and mind that an [oauth2.Token] prints itself. Who the user is tells the verified ID token, through
// [Session.Claims], never an access token.
//
// # Errors
//
// [ErrLoginRequired] is the only error that signing in again cures. [Error] is what a server said. What matches none of the variables below and
// is no [*Error] was the network: try later. No error holds a token, a code or a response's body.
//
// # Testing
//
// Package oauthtest is an authorization server for tests: a program signs in against it in three lines, without a browser.
package oauthclient
