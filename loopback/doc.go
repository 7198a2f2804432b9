// Package loopback receives the authorization response of a native app. It is a
// listener on an ephemeral port of 127.0.0.1 or [::1] (RFC 8252 §7.3) that lives
// for one sign-in, and the page that the user sees at the end.
//
// The package does not need the rest of this module. It knows nothing of token
// requests, so a program that has its own can use it alone, together with
// package pkce.
//
// # Use
//
// The redirect URI is known only after the port is bound. So listen first, then
// build the authorization request:
//
//	server, err := loopback.Listen(ctx, loopback.Config{})
//	defer server.Close()
//	// authURL holds server.RedirectURI() and state
//	ticket, err := server.Start(authURL, loopback.Expect{State: state, Issuer: issuer})
//	// open ticket in the browser
//	response, err := server.Wait(ctx)
//	code, err := response.Code()
//	// exchange the code, check the tokens, then say how it ended:
//	response.Finish("alice@example.com", nil)
//
// The package example is a whole sign-in. If the user's browser is on another
// computer, [Server.Paste] accepts the address at which it ended.
//
// # What is accepted
//
// Any program on the computer, and any web page in its browser, can send
// requests to the listener. A request that is not the expected response is
// refused and changes nothing: the sign-in goes on waiting. Refused are, among
// others, a Host header that is not the redirect URI's (DNS rebinding), a
// request that is not a user opening a page (scripts, images, frames, prefetch),
// a wrong state, a parameter that occurs twice (RFC 6749 §3.1), and a response
// with tokens in it. The error of [Server.Wait] says why the last request was
// refused.
//
// The first response with the right state is accepted, once. The one exception
// is a response with the right state and the wrong issuer (RFC 9207): it ends
// the sign-in with [ErrIssuer], because its code may belong to another
// authorization server and must not be sent anywhere.
//
// # The ticket
//
// The authorization URL contains the state, and on most systems every user can
// read the arguments of a browser's launcher. So a program opens a ticket
// instead: a URL of the listener that redirects to the authorization URL.
// Requests of another user of the computer are refused on Linux and Windows, and
// the same user may repeat the ticket a few times, because a launcher or a link
// scanner may request it before the browser does. Other systems do not say which
// user sent a request; the ticket works once there.
//
// # The browser gets no further
//
// Some refusals are about the browser's settings or the provider, and the user
// can do something about them. [Server.Notices] tells of these while the sign-in
// waits.
//
// # The page
//
// After a response is accepted, the browser is held until [Response.Finish] says
// how the sign-in ended. It is then redirected to a page without parameters, so
// that the code does not stay in its history. The page runs no script, loads
// nothing, and is written in the language that the browser prefers. [Page]
// adapts it.
//
// # Other addresses
//
// The zero [Config] is right for most programs. Use Config.Addr and Config.Path
// if the provider wants a registered port, Config.Localhost if it does not
// accept an IP address, and Config.RedirectURI if the browser reaches the
// listener under another address, such as a port mapped into a container.
package loopback
