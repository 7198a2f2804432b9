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
// Four values identify a stored session:
//
//	issuer    Config.Issuer (or Config.Resources[0], if that names the issuer)
//	client    Config.ClientID (or the name in Registration, if the client
//	          registers itself)
//	account   LoginOptions.Account; "" is the default account
//	store     Config.Store: the Service and Dir of a tokenstore.Keyring, or
//	          the directory of a tokenstore.File
//
// Programs in which all four are equal share the session: a command line, a desktop
// program and a daemon of one product sign in once and sign out together. If one of
// the values differs, the programs do not see each other's sessions. The user of the
// operating system always separates them.
//
// Scopes are not among these values. If a program adds scopes, the stored session
// still has the old ones. Compare [Account].Scopes, and pass LoginOptions.Scopes to
// obtain more: [Client.SessionOrLogin] then prompts the user only if one is missing.
// Origins, UI, Logger and the other fields of [Config] do not take part either.
//
// An account is a name that the program chooses, such as "work". It is not the name
// of the user. A login by another user than the one that the account belongs to is
// [ErrAccountMismatch]. A Session is bound to its user, too: if another user takes
// the account, the old Session fails with that error, and [Client.Session] returns
// the new user's. Without OpenID Connect there is no subject to bind to.
//
// # Choosing a Service
//
// The Service of a Keyring separates the sessions of products that have the same
// issuer and client. It is also the name that the user sees in the keychain.
//
//   - One program with a ClientID of its own needs none. The zero Keyring, with the
//     Service "nativeoauth", shares its sessions with the nativeoauth command. That
//     is useful: "nativeoauth status" and "nativeoauth logout" work on them.
//   - Programs that share one ClientID, and shall not share sessions, each set a
//     Service. A reversed domain name is unique: "com.example.notes".
//   - Programs of one product that shall share sessions set the same Service.
//
// Choose before the first release. A program that changes its Service later does not
// find its users' sessions; [tokenstore.Copy] moves them.
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
// after a redirect to another origin. Without Config.Origins and Config.Resources it
// sends them to every https or loopback origin that the program itself calls, so set
// one of the two. [Session.Token] and [Session.TokenSource] return
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
//	error                      what it means                what to do
//	-----                      -------------                ----------
//	ErrLoginRequired           only signing in helps        call Login, or tell the
//	                                                        user to. Never retry
//	  ErrNoSession             none is stored               the same; the message names
//	                                                        the accounts that exist
//	  ErrSignedOut             the user signed out          the same; a daemon stops its
//	                                                        work for this user
//	  ErrSessionExpired        there is no refresh token    the same; add offline_access
//	  ErrSessionRefused        the provider ended it        the same
//	ErrAccessDenied            the user or the provider     stop; do not prompt again
//	                           said no                      by yourself
//	ErrNoBrowser               none can be opened           set Config.UI to a TerminalUI
//	ErrAccountMismatch,        another user signed in       use another account name,
//	  from Login                                            or set ReplaceUser
//	ErrAccountMismatch,        the account has another      forget this user's data, and
//	  from a Session           user now                     call Client.Session
//	ErrStepUp                  the login is too weak for    tell the user; SessionOrLogin
//	                           what was asked               with ParseChallenge's options
//	ErrInvalidResponse         a check failed: a fault of   report it; a retry does not
//	                           the provider, or an attack   help
//	ErrNoMetadata              the provider has none        set Config.Endpoints, or
//	                                                        correct Config.Issuer
//	ErrNotRevoked              signed out here, perhaps     warn the user; the session
//	                           not at the provider          is deleted
//	*Error                     the provider's answer        show it; Code and RetryAfter
//	                                                        tell more. Without a user, a
//	                                                        retry later may succeed
//	errors.ErrUnsupported      the provider, the store or   do without the feature
//	                           the session lacks a feature
//	tokenstore.ErrLocked       the keychain is locked       ask the user to unlock it
//	tokenstore.ErrUnavailable  there is no keychain         show it; or use a File
//	context.Canceled           the program's own ctx        what the program intended
//	context.DeadlineExceeded   ctx, or the five minutes     offer to try again
//	                           of Login
//	os.ErrClosed               Client.Close was called      stop
//	any other                  the network, mostly          retry later
//
// An error may match several rows; test them in this order. Errors of
// [Session.HTTPClient] arrive in a [*net/url.Error], which errors.Is looks into.
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
// # Without a user
//
// In a CI job, a cluster or a service, nobody can sign in. [Config].Workload makes the
// program get tokens for itself, with its own secret or key (client credentials), or
// with a token that the platform issues ([Workload]). Everything else is written as for
// a user: the program calls [Client.SessionOrLogin], and its [Session] has the same
// Token, TokenSource and HTTPClient, DPoP and resources. Package workload finds out if
// there is a platform's token:
//
//	token, why := workload.Detect() // nil on a laptop
//	log.Print("credentials: ", why)
//	if token != nil {
//		cfg.Workload = &oauthclient.Workload{ClientAssertion: token}
//	}
//
// What brought one token brings the next. So nothing is stored, no process waits for
// another, and near expiry the token is renewed in the background. The store is never
// looked at and no browser is opened: a job does not inherit the session of a user. Its
// errors never match [ErrLoginRequired]; a refusal is an [*Error].
//
// # A sign-in at the user's company
//
// If a company's identity provider decides which servers its users may use, they sign
// in there and nowhere else. Give that session to the clients of the other servers
// as [Config].IdentityProvider. If one of their errors matches ErrLoginRequired, the user
// signs in with the identity provider's client.
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
