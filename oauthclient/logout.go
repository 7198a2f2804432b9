package oauthclient

import (
	"context"
	"crypto/rand"
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
	// EndSession also ends the provider's own session, in the browser (OpenID
	// Connect RP-Initiated Logout). The browser is opened at a one-time ticket, as
	// at a login.
	EndSession bool
	// ReturnPath is the path of a post_logout_redirect_uri on this machine that the
	// client has registered. Logout waits until the browser comes back with the
	// right state, for as long as ctx, or for two minutes if ctx has no deadline.
	// If it is "", the browser stays with the provider. Logout then returns as soon
	// as the browser is on its way there, after 30 seconds at the latest, and what
	// the user does there is not known.
	ReturnPath string
	// IDTokenHint sends the ID token too, for a provider that requires it. Its
	// claims are then in a URL, and so in the histories and logs of browser and
	// provider. Without it, the provider gets the client ID and the username.
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
//
// With [Config].Workload or [Config].IdentityProvider, Logout revokes the tokens in
// memory. A Session that goes on obtains others.
func (c *Client) Logout(ctx context.Context, account string, opts *LogoutOptions) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.done()
	if !c.cfg.keeps() {
		return c.workloadLogout(ctx, account, opts)
	}
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

// deleteWait is how long a Logout waits after the end of its ctx for the deletion, which
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

const (
	// returnWait bounds the wait for the browser if ctx has no deadline.
	returnWait = 2 * time.Minute
	// ticketWait bounds the wait for a browser that starts, if it is not to return.
	ticketWait = 30 * time.Second
)

// run sends the browser to the provider. The browser is opened at a one-time
// ticket: the URL itself holds the username, and perhaps the ID token, and other
// local users can read the arguments of a launcher (S91).
func (s *signOut) run(ctx context.Context) error {
	c := s.client
	cfg := c.cfg.Loopback
	cfg.Path, cfg.RedirectURI, cfg.FormPost = s.path, "", false
	if s.path == "" { // nothing comes back, so a fixed port is not needed
		cfg.Addr = ""
	}
	srv, err := c.listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.release(srv, 0, nil)
	expect := loopback.Expect{State: rand.Text(), SignOut: true}
	if s.path != "" {
		s.request.RedirectURI = srv.RedirectURI()
	}
	pending, err := oidc.NewEndSession(s.request)
	if errors.Is(err, wire.ErrUnsafeURL) {
		return invalid("%w", err)
	}
	if err != nil {
		return err
	}
	wait := ticketWait
	if s.path != "" {
		expect.State, wait = pending.State(), returnWait
	}
	ticket, err := srv.Start(pending.URL(), expect)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok || s.path == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	opened, err := s.open(ctx, ticket, pending.URL())
	if err != nil {
		return err
	}
	if s.path == "" {
		if !opened {
			return nil // the user has the URL
		}
		return visited(ctx, srv)
	}
	resp, err := srv.Wait(ctx)
	if err != nil {
		return err
	}
	resp.Finish("", nil)
	return nil
}

// visited waits until the browser has used the ticket. After that the listener is
// not needed any more.
func visited(ctx context.Context, srv *loopback.Server) error {
	select {
	case <-srv.Visited():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the browser did not open the provider's page: %w",
			ErrNoBrowser, context.Cause(ctx))
	}
}

// open opens the ticket in the browser. If that fails, it shows the user the URL
// byHand, and opened is false.
func (s *signOut) open(ctx context.Context, ticket, byHand string) (opened bool, err error) {
	ui := s.client.cfg.UI
	open := ui.OpenURL
	if open == nil {
		open = browser.Open
	}
	err = open(ctx, ticket)
	if err == nil {
		return true, nil
	}
	if ui.Instruct == nil {
		return false, fmt.Errorf("%w: %w", ErrNoBrowser, err)
	}
	_, err = ui.Instruct(ctx, Instructions{URL: byHand})
	return false, err
}
