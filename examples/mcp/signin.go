package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// signIn is what the go-sdk asks about authorization: its auth.OAuthHandler, and the http.RoundTripper of its transport too.
//
// The go-sdk writes "Authorization: Bearer" itself for the tokens of an OAuthHandler, and knows no DPoP. So it is handed no token: it sends its
// requests through RoundTrip, where the session adds what the server asks for, and calls Authorize when the server says no.
type signIn struct {
	client  *oauthclient.Client
	session atomic.Pointer[oauthclient.Session] // nil: nobody has signed in yet

	asking sync.Mutex
	failed error // of a sign-in: whoever said no is not asked again
}

// TokenSource implements the go-sdk's auth.OAuthHandler: it has the go-sdk leave the header alone.
func (s *signIn) TokenSource(context.Context) (oauth2.TokenSource, error) { return nil, nil }

// Authorize implements the go-sdk's auth.OAuthHandler. It is called once for a request that was answered with 401 or 403; the go-sdk sends
// the request again where it returns nil. A stored session that already has what is asked for is not asked for again, so
// a server that is never content gets its second answer as the error, and not a second browser window.
func (s *signIn) Authorize(ctx context.Context, _ *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	opts, ok := oauthclient.ParseChallenge(resp)
	if !ok {
		return fmt.Errorf("the server answered %s, and signing in does not cure that", resp.Status)
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.failed != nil {
		return s.failed
	}
	session, err := s.client.SessionOrLogin(ctx, opts)
	if err != nil {
		s.failed = err
		return err
	}
	s.session.Store(session)
	return nil
}

// RoundTrip sends the go-sdk's requests: with the session's token where there is a session, to the server's origin only.
func (s *signIn) RoundTrip(req *http.Request) (*http.Response, error) {
	session := s.session.Load()
	if session == nil {
		stored, err := s.client.Session(req.Context(), "")
		if err != nil && !errors.Is(err, oauthclient.ErrLoginRequired) {
			return nil, err
		}
		if err != nil {
			return s.plain(req)
		}
		s.session.Store(stored)
		session = stored
	}
	resp, err := session.Transport(nil).RoundTrip(req)
	if errors.Is(err, oauthclient.ErrLoginRequired) && req.GetBody != nil { // it ended at the provider: the server is asked how to begin anew
		s.session.Store(nil)
		again := req.Clone(req.Context())
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		return s.plain(again)
	}
	return resp, err
}

// plain sends a request without a token.
func (s *signIn) plain(req *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(req)
}
