package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// LogoutOptions say what else ends with a session.
type LogoutOptions struct {
	// EndSession ends the provider's own session too, in the browser (OpenID Connect RP-Initiated Logout).
	EndSession bool
	// ReturnPath is the path of a post_logout_redirect_uri on this machine that the client has registered: Logout then waits, for as long as ctx
	// or for two minutes, until the browser comes back with the right state. "": the browser stays with the provider, and what the person does
	// there is not known.
	ReturnPath string
	// IDTokenHint sends the ID token along, for a provider that ends nothing without. Its claims are then in a URL, and so in the histories and
	// logs of browser and provider; without it the provider is told the client ID and the username.
	IDTokenHint bool
}

// Logout deletes account's session, even one that does not load, and revokes its
// tokens if the provider can. If there is no session, Logout returns nil. nil opts:
// the zero LogoutOptions.
//
// From the first moment on the session is gone for everyone. The deletion outlives
// ctx, which bounds the revocation and the browser's part. [ErrNotRevoked] means
// that the session was deleted here, but the provider did not confirm it; it also
// matches [errors.ErrUnsupported] if the provider has no revocation. With EndSession,
// an error of the browser's part comes after the session is gone here;
// [errors.ErrUnsupported] without ErrNotRevoked means that the provider cannot end
// its own session. Any other error means that the session may still be here.
func (c *Client) Logout(ctx context.Context, account string, opts *LogoutOptions) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	a, err := c.account(account)
	if err != nil {
		return err
	}
	var end *signOut
	var endErr error
	if opts != nil && opts.EndSession {
		end, endErr = c.signOut(ctx, a, opts)
	}
	notRevoked, err := c.deleteSession(ctx, a)
	if err != nil {
		return err
	}
	if notRevoked != nil {
		notRevoked = fmt.Errorf("%w: %w", ErrNotRevoked, notRevoked)
	}
	if endErr == nil && end != nil {
		endErr = end.run(ctx)
	}
	if endErr != nil {
		endErr = fmt.Errorf("signed out here; the provider's own session may go on: %w", endErr)
	}
	return errors.Join(notRevoked, endErr)
}

// deleteWait is how long a Logout whose ctx has ended waits for the deletion, which
// needs no network.
const deleteWait = 2 * time.Second

// deleteSession revokes and deletes what is stored. If ctx ends first, the work goes
// on in the background, under the lock, and the error says so.
func (c *Client) deleteSession(ctx context.Context, a *session.Account) (notRevoked, err error) {
	type ended struct{ notRevoked, err error }
	done, gone := make(chan ended, 1), make(chan struct{})
	c.mu.Lock()
	if c.leaving == nil {
		c.leaving = map[*session.Account][]chan struct{}{}
	}
	c.leaving[a] = append(c.leaving[a], gone)
	c.mu.Unlock()
	c.working.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.leaving[a] = slices.DeleteFunc(c.leaving[a], func(g chan struct{}) bool { return g == gone })
			close(gone)
		}()
		var e ended
		e.notRevoked, e.err = c.keeper.Logout(c.life, ctx, a.Key, a.Drop)
		done <- e
	})
	var e ended
	select {
	case e = <-done:
	case <-ctx.Done():
		select {
		case e = <-done:
		case <-time.After(deleteWait):
			return nil, fmt.Errorf("the session%s may still be here; it is being deleted in the background: %w",
				quoted(a.Name), ctx.Err())
		}
	}
	if e.err != nil {
		return nil, fmt.Errorf("the session%s was not deleted: %w", quoted(a.Name), e.err)
	}
	c.log.Info("the session was signed out", "event", "logout", "account", a.Name, "revoked", e.notRevoked == nil)
	return e.notRevoked, nil
}

// logoutEnded waits until every logout of a that has begun in this client has ended:
// one that still waits for the refresh lock would delete what a login stores
// meanwhile.
func (c *Client) logoutEnded(ctx context.Context, a *session.Account) error {
	c.mu.Lock()
	begun := slices.Clone(c.leaving[a])
	c.mu.Unlock()
	for _, gone := range begun {
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("the session%s is still being signed out: %w", quoted(a.Name), ctx.Err())
		}
	}
	return nil
}

// signOut is the browser's part of a logout.
type signOut struct {
	client  *Client
	request oidc.EndSessionRequest
	path    string
}

// signOut prepares what is known only while the session is here.
func (c *Client) signOut(ctx context.Context, a *session.Account, opts *LogoutOptions) (*signOut, error) {
	seen, err := c.keeper.Read(ctx, a.Key)
	g := seen.Grant
	if err != nil || g == nil { // it goes all the same
		g = &session.Grant{Issuer: c.issuer, ClientID: c.cfg.ClientID}
	}
	p, err := c.providers.get(ctx, g.Issuer)
	if err != nil {
		return nil, err
	}
	if p.doc.EndSessionEndpoint == "" {
		return nil, unsupported("the provider has no end_session_endpoint")
	}
	hint := g.Username
	if hint == "" {
		hint = g.Subject
	}
	request := oidc.EndSessionRequest{Endpoint: p.doc.EndSessionEndpoint, ClientID: g.ClientID, LogoutHint: hint}
	if opts.IDTokenHint {
		request.IDTokenHint = g.IDToken
	}
	return &signOut{c, request, opts.ReturnPath}, nil
}

// returnWait bounds the wait for a browser whose return ctx does not bound.
const returnWait = 2 * time.Minute

func (s *signOut) run(ctx context.Context) error {
	c := s.client
	var srv *loopback.Server
	if s.path != "" {
		cfg := c.cfg.Loopback
		cfg.Path, cfg.RedirectURI, cfg.FormPost = s.path, "", false
		var err error
		if srv, err = c.listen(ctx, cfg); err != nil {
			return err
		}
		defer c.release(srv)
		s.request.RedirectURI = srv.RedirectURI()
	}
	pending, err := oidc.NewEndSession(s.request)
	if errors.Is(err, wire.ErrUnsafeURL) {
		return invalid("%w", err)
	}
	if err != nil {
		return err
	}
	address := pending.URL()
	if srv != nil {
		if address, err = srv.Start(address, loopback.Expect{State: pending.State(), SignOut: true}); err != nil {
			return err
		}
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, returnWait)
			defer cancel()
		}
	}
	if err := s.open(ctx, address, pending.URL()); err != nil {
		return err
	}
	if srv == nil {
		return nil
	}
	resp, err := srv.Wait(ctx)
	if err != nil {
		return err
	}
	resp.Finish("", nil)
	return nil
}

func (s *signOut) open(ctx context.Context, address, byHand string) error {
	ui := s.client.cfg.UI
	open := ui.OpenURL
	if open == nil {
		open = browser.Open
	}
	err := open(ctx, address)
	if err == nil {
		return nil
	}
	if ui.Instruct == nil {
		return fmt.Errorf("%w: %w", ErrNoBrowser, err)
	}
	_, err = ui.Instruct(ctx, Instructions{URL: byHand})
	return err
}
