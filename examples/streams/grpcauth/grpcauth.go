// Package grpcauth shows how a session signs in gRPC calls. It is ready to be copied:
//
//	conn, err := grpc.NewClient("api.example.com:443",
//		grpc.WithTransportCredentials(credentials.NewTLS(nil)),
//		grpc.WithPerRPCCredentials(grpcauth.New(session)))
//
// Two things are better than with the oauth.TokenSource of gRPC. The context of a call
// reaches the refresh, so that a call with a deadline does not wait longer. And the
// error of a call still matches [oauthclient.ErrLoginRequired]; gRPC keeps only the
// text of most errors.
package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// New returns credentials that add the session's access token to each call. They are
// safe for concurrent use, and refuse a connection without TLS.
func New(session *oauthclient.Session) credentials.PerRPCCredentials {
	return perRPC{session}
}

type perRPC struct{ session *oauthclient.Session }

func (c perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := c.session.Token(ctx) // from memory, or refreshed
	if err != nil {
		return nil, &Error{err}
	}
	if !strings.EqualFold(token.Type(), "Bearer") { // DPoP signs HTTP requests (RFC 9449)
		return nil, &Error{fmt.Errorf("gRPC has no %s tokens: %w", token.Type(), errors.ErrUnsupported)}
	}
	return map[string]string{"authorization": "Bearer " + token.AccessToken}, nil
}

func (c perRPC) RequireTransportSecurity() bool { return true }

// Error is the error of a call for which there is no token. errors.Is finds what
// Session.Token returned. It has a status, because gRPC would otherwise replace it by
// an error that has only its text.
type Error struct{ err error }

// Error returns the text of the session's error.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the session's error.
func (e *Error) Unwrap() error { return e.err }

// GRPCStatus returns the status of the call: Unauthenticated if only signing in helps,
// and Unavailable if a later call may succeed.
func (e *Error) GRPCStatus() *status.Status {
	switch {
	case errors.Is(e.err, oauthclient.ErrLoginRequired),
		errors.Is(e.err, oauthclient.ErrAccountMismatch):
		return status.New(codes.Unauthenticated, e.Error())
	case errors.Is(e.err, errors.ErrUnsupported):
		return status.New(codes.Unimplemented, e.Error())
	case errors.Is(e.err, context.Canceled), errors.Is(e.err, context.DeadlineExceeded):
		return status.FromContextError(e.err)
	}
	return status.New(codes.Unavailable, e.Error())
}
