package loopback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/peer"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

var (
	// ErrIssuer matches the error of [Server.Wait] and [Server.Paste] if a
	// response had the right state but named the wrong issuer, or none although
	// Expect.RequireIssuer is set (RFC 9207 §2.4). The sign-in is over, and the
	// code must not be sent anywhere: an attacker may have mixed up two
	// authorization servers (RFC 9700 §4.4).
	ErrIssuer = errors.New("the answer is not from the issuer that was asked")
	// ErrPortTaken matches the error of [Listen] if another program has the
	// fixed port. Nothing is shown to the user before the port is bound.
	ErrPortTaken = errors.New("the port is taken")
	// ErrNoLoopback matches the error of [Listen] if no loopback address can be
	// bound, for instance in a sandbox.
	ErrNoLoopback = errors.New("no loopback address to listen on")
)

// Limits of a listener. They keep a local program from exhausting the memory or
// the file descriptors of this one (S17).
const (
	// maxConns is the number of open connections.
	maxConns = 512
	// maxHeader is the number of bytes that are kept of the request line and the
	// headers (see headerFilter), and of a posted form. All connections together
	// hold at most maxConns × maxHeader = 8 MiB of headers.
	maxHeader = 16 << 10
	// readTimeout is the time for a request to arrive, and for a response to be
	// written.
	readTimeout = 5 * time.Second
	// patience is how long a browser is held before it is told that the sign-in
	// is still in progress. Users reload a page that loads for longer.
	patience = 5 * time.Second
	// farewell is how long Close lets a browser load its page.
	farewell = time.Second
)

// Server is a listener for one sign-in. Make one with [Listen], and close it.
// The zero Server is not usable. Its methods may be called concurrently.
type Server struct {
	cfg         Config
	redirectURI string
	origin      string   // scheme and authority, as the browser sees them
	prefix      string   // of every path, as the browser sees it; a proxy removes it
	bound       string   // the address that is listened on
	hosts       []string // the Host headers that are accepted
	path        string   // of the redirect URI, without prefix
	ticket      string   // path of the ticket; unguessable
	page        string   // path of the final page; unguessable
	theme       *theme
	patience    time.Duration                                // the constant, except in tests
	owner       func(local, remote netip.AddrPort) peer.User // peer.Owner, except in tests

	limit       *connLimit
	http        *http.Server
	done        sync.WaitGroup // of listeners and connections
	redirecting sync.WaitGroup // of the response to the ticket, which Close does not cut off

	notices  chan string   // one of each text, so that a sender never waits
	ready    chan struct{} // closed when authURL is set
	visited  chan struct{} // closed when the ticket has been used
	decided  chan struct{} // closed when response or err is set
	finished chan struct{} // closed when ending is set
	settled  chan struct{} // closed when the browser has its page, or has gone away
	closing  chan struct{} // closed by Close, to let go of held browsers

	visit  func()       // closes visited, once
	settle func()       // closes settled, once
	shut   func() error // Close, once

	mu           sync.Mutex
	authURL      string
	want         Expect
	started      bool
	over         bool // no response is accepted any more
	pageOwed     bool // a browser waits for the page
	response     *Response
	err          error
	ending       pageContent
	lastRejected rejection
	tickets      int             // how often the ticket has redirected
	noticed      map[string]bool // the texts that were sent to notices
}

// Listen binds the listener and begins to serve. Until [Server.Start], every
// request gets a 404. ctx applies to Listen only; the listener lives until
// [Server.Close].
//
// An error matches [ErrPortTaken] or [ErrNoLoopback] or is ctx's own. Any other
// error is a mistake in cfg; its message names the field.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		patience: patience,
		owner:    peer.Owner,
		noticed:  map[string]bool{},
		notices:  make(chan string, maxNotices),
		ticket:   "/" + rand.Text(),
		page:     "/" + rand.Text(),
		ready:    make(chan struct{}),
		visited:  make(chan struct{}),
		decided:  make(chan struct{}),
		finished: make(chan struct{}),
		settled:  make(chan struct{}),
		closing:  make(chan struct{}),
	}
	s.visit = sync.OnceFunc(func() { close(s.visited) })
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	s.shut = sync.OnceValue(s.close)
	public, err := s.paths()
	if err != nil {
		return nil, err
	}
	if s.theme, err = newTheme(cfg.Page); err != nil {
		return nil, err
	}
	listeners, err := bind(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.setAddress(listeners[0].Addr().(*net.TCPAddr), public)
	s.serve(listeners)
	return s, nil
}

// setAddress sets the redirect URI and the Host headers that go with it. public
// is the parsed Config.RedirectURI, or nil.
func (s *Server) setAddress(bound *net.TCPAddr, public *url.URL) {
	s.bound = bound.AddrPort().String()
	if public != nil {
		s.origin = wire.Origin(public)
		s.redirectURI = s.cfg.RedirectURI
		s.hosts = []string{strings.TrimPrefix(s.origin, public.Scheme+"://")}
		if bound.IP.IsLoopback() {
			s.hosts = append(s.hosts, s.bound) // a proxy may rewrite the header
		}
		return
	}
	s.hosts = []string{s.bound}
	if s.cfg.Localhost {
		s.hosts = []string{fmt.Sprintf("localhost:%d", bound.Port)}
	}
	if bound.Port == 80 { // browsers leave out the default port
		s.hosts = append(s.hosts, strings.TrimSuffix(s.hosts[0], ":80"))
	}
	s.origin = "http://" + s.hosts[0]
	s.redirectURI = s.origin + s.path
}

// serve answers requests on the listeners until Close.
func (s *Server) serve(listeners []net.Listener) {
	s.limit = newConnLimit(maxConns, s.note)
	s.http = &http.Server{
		Handler:                      http.HandlerFunc(s.handle),
		DisableGeneralOptionsHandler: true, // so that handle also sees "OPTIONS *"
		ReadHeaderTimeout:            readTimeout,
		WriteTimeout:                 readTimeout,
		MaxHeaderBytes:               maxHeader, // headerFilter refuses more, and says so
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext:                  withConn,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.done.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.done.Done()
			}
		},
	}
	s.http.SetKeepAlivesEnabled(false)
	for _, l := range listeners {
		s.done.Go(func() { s.accept(l) })
	}
}

// accept serves l until Close. If l fails for good, the sign-in ends with a
// message: the browser would find a closed port, and the user would wait in vain.
func (s *Server) accept(l net.Listener) {
	if err := s.http.Serve(s.limit.wrap(l)); !errors.Is(err, http.ErrServerClosed) {
		s.end(fmt.Errorf("the listener failed (%w); sign in again", err))
	}
}

// RedirectURI returns the redirect_uri of the authorization request. The token
// request must contain the same value (RFC 6749 §4.1.3).
func (s *Server) RedirectURI() string { return s.redirectURI }

// Start begins the sign-in and returns the ticket, the URL to open in the
// browser. The ticket redirects to authURL, which must be https, or http on a
// loopback address. want says which response is accepted.
//
// The ticket works once. If the system says that the requests come from the user
// of this process (Linux, Windows), it works five times, until a response is
// accepted: a launcher or a link scanner may check the URL before the browser
// gets it.
//
// If authURL is empty, the ticket's page waits until [Server.Renew] has set it. So a
// browser can be opened while a request is still being pushed (RFC 9126).
//
// If you print a URL for the user to open by hand, print authURL, which can be
// opened more than once.
//
// Start works once. It fails if authURL is not safe to open, if want is
// incomplete, or if the Server was started or closed before; the last error
// matches [os.ErrClosed].
func (s *Server) Start(authURL string, want Expect) (ticketURL string, err error) {
	if authURL != "" {
		u, err := parseAuthURL(authURL)
		if err != nil {
			return "", err
		}
		authURL = u.String()
	}
	switch {
	case want.State == "":
		return "", errors.New("loopback: Expect.State is empty; " +
			"make one of at least 128 random bits for each sign-in")
	case want.RequireIssuer && want.Issuer == "":
		return "", errors.New("loopback: Expect.RequireIssuer without an Issuer to compare with")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return "", s.closedError()
	case s.started:
		return "", errors.New("loopback: this Server was started before; " +
			"a sign-in has a Server of its own")
	}
	s.started, s.want = true, want
	s.setAuthURL(authURL)
	return s.origin + s.prefix + s.ticket, nil
}

// setAuthURL sets the URL to which the ticket redirects. The caller holds s.mu.
func (s *Server) setAuthURL(authURL string) {
	if s.authURL == "" && authURL != "" {
		close(s.ready)
	}
	s.authURL = authURL
}

func parseAuthURL(authURL string) (*url.URL, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(authURL)
	if err != nil {
		return nil, fmt.Errorf("loopback: the authorization URL: %w", err)
	}
	return u, nil
}

// Renew replaces the URL to which the ticket redirects. The new URL must belong
// to the same sign-in and have the same state. It is for pushed authorization
// requests, which a provider may forget after a minute (RFC 9126 §2.2), while a
// browser may take longer to open. Renew fails before [Server.Start], and after
// the sign-in is over with an error that matches [os.ErrClosed].
func (s *Server) Renew(authURL string) error {
	u, err := parseAuthURL(authURL)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return s.closedError()
	case !s.started:
		return errors.New("loopback: Renew comes after Start")
	}
	s.setAuthURL(u.String())
	return nil
}

// Notices returns a channel of messages that the user should see while the
// sign-in goes on. Each says, in one or two English sentences, why the browser may
// not get any further and what to do: it tried https, its cookies are too large,
// or an error came back without the state. A message contains nothing that was
// received. Anyone on this computer can cause one, so it never ends the sign-in.
//
// Each message is sent once. The channel is never closed. Messages that nobody
// receives are dropped with the Server.
func (s *Server) Notices() <-chan string { return s.notices }

// Visited returns a channel that is closed when a browser has used the ticket.
// [Server.Renew] has no effect after that. If the sign-in has ended before, the
// ticket's page says so, and the channel is closed when it was loaded.
func (s *Server) Visited() <-chan struct{} { return s.visited }

func (s *Server) ticketUsed() bool {
	select {
	case <-s.visited:
		return true
	default:
		return false
	}
}

// Wait waits for the authorization response and returns it. An error response of
// the provider, such as access_denied, is a response too: [Response.Code]
// returns it as an error.
//
// An error of Wait matches [ErrIssuer], the error of ctx, or [os.ErrClosed] after
// [Server.Close]. It says why the last request was refused, if one was. If ctx
// ends, the sign-in ends with it: a later response is refused. Every later call
// of Wait returns the same result.
func (s *Server) Wait(ctx context.Context) (*Response, error) {
	select {
	case <-s.decided:
	case <-ctx.Done():
		s.end(context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.response, s.err
}

// end ends the sign-in without a response, unless one was accepted.
func (s *Server) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		s.err = fmt.Errorf("loopback: no answer came from the browser: %w; %s", cause, s.progress())
		close(s.decided)
	}
}

// progress says how far the browser came, so that the user learns why the
// sign-in did not finish. The caller holds s.mu.
func (s *Server) progress() string {
	switch {
	case s.lastRejected.reason != "":
		return "the last request refused: " + s.lastRejected.reason
	case s.ticketUsed():
		return "the browser was sent to the provider, and did not come back; " +
			"check that the provider accepts the redirect URI " + s.redirectURI
	case s.started:
		return "the browser did not ask for the sign-in page; check that one was opened"
	}
	return "the sign-in was not started"
}

func (s *Server) closedError() error { return fmt.Errorf("loopback: %w", os.ErrClosed) }

// Close frees the port and ends every connection and goroutine of the Server. If
// a response was accepted, Close first gives its browser up to a second to load
// the page, which is the failure page if [Response.Finish] was not called. A
// second call returns the result of the first.
func (s *Server) Close() error { return s.shut() }

func (s *Server) close() error {
	s.end(os.ErrClosed)
	s.finish(pageContent{kind: pageFailed})
	s.mu.Lock()
	owed := s.pageOwed
	s.mu.Unlock()
	if owed {
		timer := time.NewTimer(farewell)
		select {
		case <-s.settled:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.redirecting.Wait() // the deadline of write bounds it; nothing begins after end
	close(s.closing)
	err := s.http.Close()
	s.limit.close()
	s.done.Wait()
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// String returns the redirect URI, for logs. It contains neither the state nor a
// code or ticket.
func (s *Server) String() string { return "loopback.Server(" + s.redirectURI + ")" }

// Format implements [fmt.Formatter]. Every verb prints what String returns, so
// that %+v and %#v do not print the state.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
