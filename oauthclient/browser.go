package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
)

// ways are the means by which the user is reached.
type ways struct {
	// open opens a page in a browser here; nil: there is none. failed is called if
	// that turns out later.
	open func(ctx context.Context, url string, failed func(error)) error
	// paste means that the user may open the URL elsewhere and paste the one it ends
	// at.
	paste bool
	// device means that a device code is offered beside that, if the provider has
	// device codes.
	device bool
	// deviceAlone means that a device code is the only way.
	deviceAlone bool
}

// ways finds the ways by the flow that was chosen, or by what is there.
func (l *login) ways() (ways, error) {
	ui, doc := l.client.cfg.UI, l.provider.doc
	w := ways{open: browser.Watch, paste: ui.Instruct != nil}
	can := browser.Capabilities{Opener: ui.OpenURL != nil, Instruct: w.paste, Device: doc.DeviceAuthorizationEndpoint != ""}
	if can.Opener {
		w.open = func(ctx context.Context, url string, _ func(error)) error { return ui.OpenURL(ctx, url) }
	} else {
		can.NoBrowser = browser.Available()
	}
	var choice browser.Methods
	switch l.opts.Flow {
	case FlowBrowser:
		choice = browser.Methods{Browser: can.Opener || can.NoBrowser == nil}
	case FlowPaste:
		choice = browser.Methods{Paste: w.paste, Why: "the paste flow was chosen"}
	case FlowDevice:
		choice = browser.Methods{Device: w.paste, Why: "the device flow was chosen"}
	default:
		choice = browser.Detect(browser.Source{}).Choose(can)
		l.client.log.Info("the ways to sign in",
			"browser", choice.Browser, "paste", choice.Paste, "device", choice.Device, "why", choice.Why)
	}
	w.device = choice.Device
	switch {
	case choice.None() && can.NoBrowser != nil && w.paste: // the chosen flow left nothing else
		return ways{}, fmt.Errorf("%w: %w", ErrNoBrowser, can.NoBrowser)
	case choice.None() && can.NoBrowser != nil:
		return ways{}, fmt.Errorf("%w: %w; hand Config.UI a TerminalUI to sign in with a browser on another machine",
			ErrNoBrowser, can.NoBrowser)
	case choice.None():
		return ways{}, fmt.Errorf("%w: %s, and UI.Instruct is nil; hand Config.UI a TerminalUI, or choose FlowBrowser",
			ErrNoBrowser, choice.Why)
	case !choice.Browser && !choice.Paste, choice.Device && doc.AuthorizationEndpoint == "":
		w.deviceAlone = true
	case !choice.Browser:
		w.open = nil
	}
	return w, nil
}

// browserPrompt is the authorization code flow with a loopback redirect (RFC 8252
// §7.3). The listener is there before anything is shown.
type browserPrompt struct {
	login       *login
	ways        ways
	transaction *transaction
	server      *loopback.Server
	ticket      string // the one-time address that the browser is opened at (S4)
	request     authRequest
	device      chan *devicePrompt // brings the device code, or nothing; nil: none is offered
	instructed  chan struct{}      // closed when it is too late for a device code
	moved       chan *provider     // brings where the ticket leads from now on
	unopened    chan struct{}      // closed when it is known that no browser was opened
	answered    bool
	failed      bool // the request could not be made, or led nowhere
}

// notMade means that the authorization request could not be made. It ends the login.
type notMade struct{ error }

func (l *login) promptBrowser(ctx context.Context, w ways) (prompt, error) {
	c, p := l.client, l.provider
	if p.doc.AuthorizationEndpoint == "" {
		return nil, unsupported("the provider has no authorization_endpoint")
	}
	if err := p.checkPKCE(); err != nil {
		return nil, err
	}
	srv, err := c.listen(ctx, c.cfg.Loopback)
	if err != nil {
		return nil, err
	}
	b := &browserPrompt{login: l, ways: w, server: srv, instructed: make(chan struct{}), moved: make(chan *provider), unopened: make(chan struct{})}
	b.request.made = make(chan struct{})
	if err := b.start(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// start makes the ticket that leads to the authorization request. It sends nothing: a
// request that is pushed is made by push.
func (b *browserPrompt) start(ctx context.Context) (err error) {
	l, doc := b.login, b.login.provider.doc
	if b.transaction, err = l.newTransaction(b.server.RedirectURI()); err != nil {
		return err
	}
	if doc.PushedAuthorizationRequestEndpoint == "" {
		if b.request.url, _, err = b.transaction.url(ctx); err != nil {
			return err
		}
		close(b.request.made)
	}
	b.ticket, err = b.server.Start(b.request.url, loopback.Expect{
		State: b.transaction.state.Reveal(), Issuer: l.provider.issuer,
		// Yesterday's metadata do not decide that: see finish.
		RequireIssuer: doc.AuthorizationResponseIssParameterSupported && !l.provider.cached,
	})
	if err != nil {
		return invalid("authorization_endpoint: %w", err)
	}
	if b.ways.device && doc.DeviceAuthorizationEndpoint != "" {
		b.device = make(chan *devicePrompt)
	}
	return nil
}

// lateBrowser is how long a browser that was opened may take to load the page that says
// that the sign-in has failed meanwhile.
const lateBrowser = 3 * time.Second

// close stops listening. After an answer the browser still loads its page. So does one
// that was starting while the sign-in failed; only its first request is served.
func (b *browserPrompt) close() {
	c := b.login.client
	switch {
	case b.answered:
		c.release(b.server, 0, nil)
	case b.failed && b.ways.open != nil:
		c.release(b.server, lateBrowser, b.unopened)
	default:
		_ = b.server.Close()
	}
}

// errConfirmed ends the wait for the browser if the device code was confirmed first.
var errConfirmed = errors.New("confirmed with the device code")

// wait opens the browser, shows the other ways, and returns what came first.
func (b *browserPrompt) wait(ctx context.Context) (*answer, error) {
	c := b.login.client
	prompting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// While the user is busy. It does not end when the browser comes back: the
	// verification then waits for the same fetch instead of beginning another.
	c.working.Go(func() { b.login.provider.fetchKeys(ctx) })
	c.working.Go(func() { b.warm(ctx, prompting) })
	c.cfg.UI.progress(StepUser)
	c.working.Go(func() { b.push(prompting, cancel) })
	c.working.Go(func() { b.follow(prompting, cancel) })
	c.working.Go(func() { b.show(prompting, cancel) })
	c.working.Go(func() { b.pass(prompting) })
	confirmed := make(chan *answer, 1)
	if b.device != nil {
		c.working.Go(func() { b.offerDevice(prompting, cancel, confirmed) })
	}

	resp, err := b.server.Wait(prompting)
	var failed *notMade
	switch {
	case errors.Is(err, errConfirmed):
		return <-confirmed, nil
	case errors.As(err, &failed):
		b.failed = true
		return nil, failed.error
	case errors.Is(err, loopback.ErrIssuer):
		return nil, invalid("%w", err)
	case err != nil:
		return nil, err
	}
	b.answered = true
	code, err := resp.Code()
	if err != nil {
		var refused *loopback.Error
		if errors.As(err, &refused) {
			err = &Error{Endpoint: "authorization", Code: refused.Code, Description: refused.Description}
		}
		resp.Finish("", err)
		return nil, err
	}
	tell := func(user string, err error) {
		if errors.Is(err, ErrAccountMismatch) {
			err = loopback.ErrOtherUser // the page has words for it
		}
		resp.Finish(user, err)
	}
	return &answer{transaction: b.transaction, code: code, named: resp.Params.Has("iss"), tell: tell}, nil
}

// show opens the browser and tells the user what else can be done. A launcher may
// take its time while the browser is long back, so nobody waits for it.
func (b *browserPrompt) show(prompting context.Context, cancel context.CancelCauseFunc) {
	c := b.login.client
	do := Instructions{Paste: b.ways.paste}
	unopened := sync.OnceFunc(func() { close(b.unopened) })
	failed := func(err error) {
		if !errors.Is(err, context.Canceled) { // or the launcher may have started before
			unopened()
		}
		select {
		case <-b.server.Visited(): // whatever the launcher thinks
		case <-prompting.Done():
		default:
			c.log.Warn("the browser was not opened", "err", err)
			if c.cfg.UI.Instruct == nil {
				cancel(fmt.Errorf("%w: %w", ErrNoBrowser, err))
			}
		}
	}
	if b.ways.open != nil {
		c.working.Go(func() { b.keepTicket(prompting) })
		if prompting.Err() != nil {
			unopened()
			return
		}
		err := b.ways.open(prompting, b.ticket, failed)
		if do.Opened = err == nil; err != nil {
			failed(err)
		}
	}
	if c.cfg.UI.Instruct == nil {
		return
	}
	select {
	case <-b.request.made:
	case <-prompting.Done():
		return
	}
	do.URL, do.URLExpiry = b.request.url, b.request.expiry
	do.Expiry, _ = prompting.Deadline()
	if d := b.awaitDevice(prompting); d != nil {
		d.instruct(&do)
	}
	if prompting.Err() == nil {
		b.instruct(prompting, cancel, do)
	}
}

// deviceWait is how long the instructions wait for a device code. They are of use
// without one.
const deviceWait = 5 * time.Second

// awaitDevice returns the device code; nil: there is none, or it takes too long.
func (b *browserPrompt) awaitDevice(prompting context.Context) *devicePrompt {
	defer close(b.instructed)
	if b.device == nil {
		return nil
	}
	select {
	case d := <-b.device:
		return d
	case <-time.After(deviceWait):
		b.login.client.log.Warn("no device code is offered: the provider does not answer")
	case <-prompting.Done():
	}
	return nil
}

// pass passes the listener's messages on to the log and to the user.
func (b *browserPrompt) pass(prompting context.Context) {
	c := b.login.client
	for {
		select {
		case <-prompting.Done():
			return
		case message := <-b.server.Notices():
			c.log.Warn("a request of the browser was refused", "why", message)
			if c.cfg.UI.Notice != nil {
				c.cfg.UI.Notice(message)
			}
		}
	}
}

// offerDevice gets a device code beside the browser, and waits until it is confirmed.
func (b *browserPrompt) offerDevice(
	prompting context.Context, cancel context.CancelCauseFunc, confirmed chan<- *answer,
) {
	c := b.login.client
	d, err := b.login.startDevice(prompting)
	if err != nil {
		c.log.Warn("no device code is offered", "err", err)
		close(b.device)
		return
	}
	select {
	case b.device <- d:
	case <-b.instructed: // nobody has seen it
		return
	case <-prompting.Done():
		return
	}
	resp, err := d.poll(prompting)
	switch {
	case err == nil:
		confirmed <- d.answer(resp)
		if cancel(errConfirmed); !errors.Is(context.Cause(prompting), errConfirmed) {
			c.log.Info("the device code was confirmed after the browser's answer; its tokens are not used")
		}
	case errors.Is(err, ErrAccessDenied): // the user said no there: that is an answer too
		cancel(err)
	case prompting.Err() == nil:
		c.log.Info("the device code is no longer of use", "err", err)
	}
}

// warm opens the connection that the exchange will use, so that it takes one round
// trip.
func (b *browserPrompt) warm(ctx, prompting context.Context) {
	l := b.login
	select {
	case <-b.request.made:
	case <-prompting.Done():
		return
	}
	p := l.fresh(ctx)
	endpoint, err := url.Parse(p.doc.TokenEndpoint)
	if err != nil || l.connected(p, wire.Origin(endpoint)) {
		return
	}
	// Whatever the server answers to this, the connection is open then.
	if req, err := fetch.NewRequest(http.MethodHead, wire.Origin(endpoint)+"/", nil); err == nil {
		_, _ = p.fetch.Do(ctx, req)
	}
}

// connected reports whether this login has connected to origin already, for the
// metadata or to push its request.
func (l *login) connected(p *provider, origin string) bool {
	pushed, err := url.Parse(p.doc.PushedAuthorizationRequestEndpoint)
	if err == nil && pushed.Host != "" && wire.Origin(pushed) == origin {
		return true
	}
	place := p.issuer
	if p.cfg.Deviations.MetadataURL != "" {
		place = p.cfg.Deviations.MetadataURL
	}
	u, err := url.Parse(place)
	return err == nil && wire.Origin(u) == origin && p.cfg.Endpoints == nil && p.fetchedAt.After(l.started)
}

// fetchKeys fetches the keys unless they are there.
func (p *provider) fetchKeys(ctx context.Context) {
	if p.keys == nil || !p.cfg.openID() {
		return
	}
	if err := p.keys.Prefetch(ctx); err != nil && ctx.Err() == nil {
		p.log.Info("the provider's keys could not be fetched ahead", "err", err)
	}
}

// instruct tells the user what to do by hand, and gives what is pasted to the
// listener, which checks it as it checks a browser's answer.
func (b *browserPrompt) instruct(ctx context.Context, cancel context.CancelCauseFunc, do Instructions) {
	for {
		pasted, err := b.login.client.cfg.UI.Instruct(ctx, do)
		if ctx.Err() != nil || err == nil && pasted == "" {
			return
		}
		if err != nil {
			cancel(err)
			return
		}
		if do.Refused = b.server.Paste(pasted); do.Refused == nil || errors.Is(do.Refused, loopback.ErrIssuer) {
			return
		}
	}
}

// listen waits first for the listeners that release holds, if they may be on the
// port that is wanted.
func (c *Client) listen(ctx context.Context, cfg loopback.Config) (*loopback.Server, error) {
	if _, port, err := net.SplitHostPort(cfg.Addr); err == nil && port != "0" {
		c.mu.Lock()
		earlier := slices.Clone(c.listeners)
		c.mu.Unlock()
		for _, gone := range earlier {
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	}
	return loopback.Listen(ctx, cfg)
}

// release closes srv while the program goes on: the browser still loads its page. It
// may take until late to ask for it, unless unopened is closed. Client.Close waits for
// it.
func (c *Client) release(srv *loopback.Server, late time.Duration, unopened <-chan struct{}) {
	gone := make(chan struct{})
	c.mu.Lock()
	c.listeners = append(c.listeners, gone)
	c.mu.Unlock()
	c.working.Go(func() {
		if late > 0 {
			select {
			case <-srv.Visited():
			case <-unopened:
			case <-time.After(late):
			}
		}
		_ = srv.Close()
		close(gone)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.listeners = slices.DeleteFunc(c.listeners, func(g chan struct{}) bool { return g == gone })
	})
}
