// Package oauth speaks OAuth 2.0 with an authorization server: one file for each
// specification, named after what it does, with the RFC in its first comment.
//
// The functions send one request each and check its answer. They hold no
// session: what is sent when is the business of oauthclient and
// internal/session. A refused answer matches wire.ErrInvalidResponse, what the
// server itself reported is an [Error], and everything else is a failure on the
// way, as package fetch reports it.
package oauth
