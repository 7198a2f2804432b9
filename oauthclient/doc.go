// Package oauthclient signs users in to desktop and command-line programs with OAuth
// 2.0 and OpenID Connect, and keeps them signed in. It follows RFC 8252 (native
// apps) and RFC 9700 (security).
//
// # Quick start
//
// Register a native (public) client at the provider, with the redirect URI
// http://127.0.0.1/callback. Then:
//
//	client, err := oauthclient.New(oauthclient.Config{
//		Issuer:   "https://login.example.com",
//		ClientID: "my-cli",
//		Scopes:   []string{"openid", "offline_access"},
//	})
//	if err != nil {
//		return err
//	}
//	defer client.Close() // waits for a refresh that is under way
//	session, err := client.SessionOrLogin(ctx, nil) // the stored session, or a login
//	if err != nil {
//		return err
//	}
//	resp, err := session.HTTPClient().Get("https://api.example.com/me")
//
// The provider's endpoints come from its metadata. [Endpoints] replace the metadata
// for a provider that publishes none.
//
// # Silent and interactive calls
//
// A [Session] never opens a browser. Its calls return a token, refresh it, or return
// [ErrLoginRequired]. Only [Client.Login], [Client.SessionOrLogin] and
// [Client.Logout] with LogoutOptions.EndSession reach the user.
//
// # What identifies a session
//
// A session is stored under three values: the issuer (or Config.Resources[0], if that
// names the issuer), the ClientID (or the name in Registration, if the client
// registers itself), and LoginOptions.Account. Programs that share these and the
// Store share the session. Scopes do not take part in it: after a program adds
// scopes, the stored session still has the old ones. Compare [Account].Scopes, and
// pass LoginOptions.Scopes to obtain more.
//
// A login by another user than the one that the account belongs to is
// [ErrAccountMismatch]. A Session is bound to its user, too: if another user takes the
// account, the old Session fails with that error, and [Client.Session] returns the new
// user's. Without OpenID Connect there is no subject to bind to.
//
// # What is stored
//
// The refresh token, the access tokens and the ID token are one value in Config.Store,
// by default the keychain of the operating system. There is no fallback to plaintext.
// Without a keychain, a login fails before the browser opens, and the error says what
// to do.
//
// # Where tokens go
//
// [Session.HTTPClient] sends tokens only to Config.Origins, over https, and never
// after a redirect to another origin. [Session.Token] and [Session.TokenSource] return
// tokens to the program. Do not print them: an [oauth2.Token] prints its secrets.
//
// Use [Session.Claims] to identify the user. It reads the verified ID token; an access
// token does not identify the user.
//
// # Errors
//
// Test errors with [errors.Is] and [errors.As]. No error holds a token, a code or the
// body of a response, so that all may be logged and shown.
//
//	ErrLoginRequired          call Login, or tell the user to sign in. Why is
//	                          ErrNoSession, ErrSignedOut, ErrSessionExpired
//	                          or ErrSessionRefused
//	ErrAccessDenied           stop; the user or the provider said no
//	ErrNoBrowser              set Config.UI to a TerminalUI
//	ErrAccountMismatch        use another account name, or set ReplaceUser; from
//	                          a Session: get the new one with Client.Session
//	ErrStepUp                 tell the user that the login was not strong enough
//	ErrInvalidResponse        report it: the provider, or an attacker, is at fault
//	ErrNoMetadata             set Config.Issuer or Config.Endpoints
//	ErrNotRevoked             warn the user; the session is deleted here
//	*Error                    show it; Code and RetryAfter tell more
//	errors.ErrUnsupported     the provider lacks the feature
//	tokenstore.ErrUnavailable unlock the keychain, or use another Store
//	context.Canceled, context.DeadlineExceeded
//	                          the program's own ctx, or five minutes of Login
//	os.ErrClosed              Client.Close was called
//	any other                 the network; retry later
//
// # Programs without a browser
//
// Over SSH or in a container, set Config.UI to a [TerminalUI]. It shows a URL to open
// on another machine, accepts the URL that the browser ended at, and shows a device
// code (RFC 8628) if the provider offers one. LoginOptions.Flow chooses one of these.
//
// A daemon has no user. It calls [Client.Session], which uses the session that a
// user's login stored, and reports ErrLoginRequired. [Session.Done] tells it when the
// user signs out, or when the provider ends the session. On a machine without a
// keychain, keep sessions in a [tokenstore.File].
//
// # Several processes
//
// Any number of processes, and of goroutines with one [Client], may use a session at
// once. Refreshes take a lock that all processes share. A rotated refresh token is
// stored before the new access token is returned, so that neither a race nor a crash
// signs the user out. After a failure, callers get the same error for some seconds
// without another request. If several processes call [Client.SessionOrLogin] at once, one
// of them reaches the user. The others wait, and use the session that it stored.
//
// # Testing
//
// Package oauthtest has an authorization server for tests. A program signs in to it
// in three lines, without a browser.
package oauthclient
