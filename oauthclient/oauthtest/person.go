package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// person plays the person and the browser of one Config.
type person struct {
	server *Server

	mu     sync.Mutex
	window *authserver.Browser
	failed error // why the browser could not be brought to the end, until instruct has told it
}

// open goes where a browser would.
func (p *person) open(ctx context.Context, url string) error {
	way, err := p.visit(ctx, url)
	p.mu.Lock()
	p.failed = err
	p.mu.Unlock()
	if err != nil || way == nil {
		return err
	}
	// The program holds this request until the login is over, and the page after it is loaded even later: beyond ctx.
	p.server.visits.Go(func() { _ = way.Go(p.server.ctx) })
	return nil
}

// instruct does what a person would where no browser was opened. If one was and came to grief at the provider, it says so: the login
// need not wait for its timeout.
func (p *person) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	p.mu.Lock()
	failed := p.failed
	p.failed = nil
	p.mu.Unlock()
	switch {
	case do.Opened:
		return "", nil
	case failed != nil:
		return "", failed
	case do.Refused != nil:
		return "", fmt.Errorf("oauthtest: what was pasted was refused: %w", do.Refused)
	case do.VerificationURIComplete != "":
		_, err := p.visit(ctx, do.VerificationURIComplete)
		return "", err
	case do.Paste:
		way, err := p.visit(ctx, do.URL)
		if err != nil {
			return "", err
		}
		if way == nil {
			return "", errors.New("oauthtest: the provider did not send the browser back")
		}
		return way.URL, nil
	}
	return "", nil
}

func (p *person) visit(ctx context.Context, url string) (*authserver.Way, error) {
	p.mu.Lock()
	if p.window == nil {
		window, err := p.server.auth.NewBrowser(p.server.client)
		if err != nil {
			p.mu.Unlock()
			return nil, fmt.Errorf("oauthtest: %w", err)
		}
		p.window = window
	}
	window := p.window
	p.mu.Unlock()
	way, err := window.Visit(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("oauthtest: %w", err)
	}
	return way, nil
}
