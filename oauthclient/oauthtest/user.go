package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// user plays the user of one Config, with a browser of their own.
type user struct {
	server  *Server
	browser *authserver.User

	mu     sync.Mutex
	failed error // of the last visit, until instruct has returned it
}

// newUser returns a user in whose browser nobody is signed in.
func (s *Server) newUser() *user {
	u := &user{server: s, browser: authserver.NewUser(s.URL, userName)}
	u.browser.Client.Transport = s.client
	return u
}

// openURL does what the system's browser would.
func (u *user) openURL(ctx context.Context, url string) error {
	answer, err := u.visit(ctx, url)
	u.mu.Lock()
	u.failed = err
	u.mu.Unlock()
	if err != nil {
		return err
	}
	// The program holds this request until the login is over, and the browser
	// loads one more page after it. So it must outlive ctx.
	u.server.visits.Go(func() { _ = answer.Deliver(u.server.ctx) })
	return nil
}

// instruct does what a user would if no browser was opened. If one was, and it
// failed at the provider, instruct returns that error. So the login fails at
// once, and not after its timeout.
func (u *user) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	u.mu.Lock()
	failed := u.failed
	u.failed = nil
	u.mu.Unlock()
	switch {
	case do.Opened:
		return "", nil
	case failed != nil:
		return "", failed
	case do.Refused != nil:
		return "", fmt.Errorf("oauthtest: what was pasted was refused: %w", do.Refused)
	case do.VerificationURIComplete != "":
		_, err := u.visit(ctx, do.VerificationURIComplete)
		return "", err
	case do.Paste:
		answer, err := u.visit(ctx, do.URL)
		if err == nil && answer == nil {
			err = errors.New("oauthtest: the provider did not send the browser back")
		}
		if err != nil {
			return "", err
		}
		return answer.URL, nil
	}
	return "", nil
}

func (u *user) visit(ctx context.Context, url string) (*authserver.Answer, error) {
	answer, err := u.browser.Visit(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("oauthtest: %w", err)
	}
	return answer, nil
}
