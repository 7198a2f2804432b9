// Package oauth speaks OAuth 2.0 with an authorization server: one file for
// each specification, named after what it does, with the RFC in its first
// comment.
//
// The functions send one request each and check its answer. They hold no
// session: oauthclient and internal/session decide what is sent when. The
// Client and the Nonces that they take are safe for concurrent use; a Request
// belongs to one call.
//
// Every error is one of three kinds. A refused answer matches
// wire.ErrInvalidResponse. What the server itself reported is an [Error].
// Everything else is a failure of the call, usually a [fetch.Error], or a
// mistake in the request.
package oauth
