// Package loopback catches the answer to an authorization request on this computer: a listener on an ephemeral port of
// a loopback address (RFC 8252 §7.3), for the length of one sign-in, and the page the person sees at its end.
//
//	server, err := loopback.Listen(ctx, loopback.Config{})
//	defer server.Close()
//	ticket, err := server.Start(authURL, loopback.Expect{State: state}) // authURL holds server.RedirectURI()
//	// open ticket in the browser
//	response, err := server.Wait(ctx)
//	code, err := response.Code()
//	// exchange the code, check the tokens, then
//	response.Finish("alice@example.com", nil)
//
// Any program on the computer, and any web page in its browser, can send requests to the listener. So one that is not the
// awaited answer is refused and changes nothing: the sign-in goes on waiting. The first answer with the right state
// is taken, once. Its browser is held until [Response.Finish] says how the sign-in ended, and is then sent on to a page without
// parameters, so that no code stays in its history.
//
// # What is opened
//
// The authorization URL holds the state, and a launcher's arguments are visible to every user of the computer. So the browser is
// given a ticket: a URL of the listener that works once and redirects to the authorization URL. A request from
// another user of the computer is refused, where the system tells whose it is (Linux, Windows).
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
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

var (
	// ErrIssuer is matched by Wait's error where an answer had the right state and named the wrong issuer, or none
	// where one must be named (RFC 9207 §2.4): the sign-in is over, and its code must not be sent anywhere.
	ErrIssuer = errors.New("the answer is not from the issuer that was asked")
	// ErrPortTaken is matched by Listen's error where another program has the fixed port.
	ErrPortTaken = errors.New("the port is taken")
	// ErrNoLoopback is matched by Listen's error where no loopback address can be bound.
	ErrNoLoopback = errors.New("no loopback address to listen on")
)

// Config says where to listen and what the page looks like. The zero Config is the right one for most programs:
// a free port of 127.0.0.1, else of [::1], path /callback.
type Config struct {
	// Addr is the "ip:port" to bind, port 0 being a free one; "" as above. An address that is not loopback
	// needs RedirectURI: such a listener is reachable from the network.
	Addr string
	// Path is the redirect URI's path as registered with the provider; "": RedirectURI's, else /callback. With a fixed port, give each
	// issuer a path of its own, by which their answers are told apart (RFC 8252 §8.10).
	Path string
	// Localhost writes the redirect URI with the name "localhost", for providers that take no IP address (RFC 8252
	// §8.3 advises against it). The port is then held on 127.0.0.1 and [::1] both, as the name may mean either.
	Localhost bool
	// RedirectURI is the URL under which the browser reaches the listener, where that is not the address bound: a port
	// mapped into a container, a remote editor's proxy. https, or http on a loopback address. Its path must end
	// with Path; what is before it is the part that the proxy takes away.
	RedirectURI string
	// FormPost also takes the answer as a POST (OAuth 2.0 Form Post Response Mode).
	FormPost bool
	// AllowOtherUsers takes the browser's requests whichever of the computer's users sends them. The zero value takes those
	// of this process's user, root, and the user who called sudo, wherever the system tells.
	AllowOtherUsers bool
	// Page customises what the person sees.
	Page Page
}

// Limits of a listener.
const (
	maxConns    = 512
	maxHeader   = 16 << 10 // bytes, of request line and headers, and of a posted form
	readTimeout = 5 * time.Second
	// patience is how long a browser is held before it is shown that the sign-in is still under way.
	patience = 5 * time.Second
	// farewell is how long Close lets a browser load its page.
	farewell = time.Second
)

// Server is a listener for one sign-in. It is safe for concurrent use.
type Server struct {
	cfg         Config
	redirectURI string
	origin      string   // scheme and authority as the browser sees them
	prefix      string   // of paths as the browser sees them; a proxy takes it away
	bound       string   // the address listened on
	hosts       []string // the Host headers that are ours
	path        string   // of the callback, here
	ticket      string   // path
	page        string   // path
	look        *look
	patience    time.Duration

	gate *gate
	http *http.Server
	done sync.WaitGroup // listeners and connections

	visited  chan struct{} // closed: the ticket was used
	answered chan struct{} // closed: response or err is set
	finished chan struct{} // closed: outcome is set
	settled  chan struct{} // closed: the browser has its page, or has gone away
	closing  chan struct{}

	settle func()
	shut   func() error

	mu       sync.Mutex
	authURL  string
	want     Expect
	started  bool
	over     bool // no answer is taken any more
	owed     bool // a browser waits for the page
	response *Response
	err      error
	outcome  outcome
	last     refusal
}

// Listen binds the listener and begins to answer: 404 to everything, until [Server.Start]. ctx bounds Listen only. Its
// errors match [ErrPortTaken] and [ErrNoLoopback]; another is a mistake in cfg, which it names.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		patience: patience,
		ticket:   "/" + rand.Text(),
		page:     "/" + rand.Text(),
		visited:  make(chan struct{}),
		answered: make(chan struct{}),
		finished: make(chan struct{}),
		settled:  make(chan struct{}),
		closing:  make(chan struct{}),
	}
	s.settle = sync.OnceFunc(func() { close(s.settled) })
	s.shut = sync.OnceValue(s.close)
	public, err := s.paths()
	if err != nil {
		return nil, err
	}
	if s.look, err = newLook(cfg.Page); err != nil {
		return nil, err
	}
	listeners, err := bind(ctx, cfg)
	if err != nil {
		return nil, err
	}
	bound := listeners[0].Addr().(*net.TCPAddr)
	s.bound = bound.AddrPort().String()
	switch {
	case public != nil:
		s.origin = wire.Origin(public)
		s.redirectURI = cfg.RedirectURI
		s.hosts = []string{strings.TrimPrefix(s.origin, public.Scheme+"://")}
		if bound.IP.IsLoopback() {
			s.hosts = append(s.hosts, s.bound) // a proxy may rewrite it
		}
	case cfg.Localhost:
		s.hosts = []string{fmt.Sprintf("localhost:%d", bound.Port)}
	default:
		s.hosts = []string{s.bound}
	}
	if public == nil {
		if bound.Port == 80 { // browsers leave it out
			s.hosts = append(s.hosts, strings.TrimSuffix(s.hosts[0], ":80"))
		}
		s.origin = "http://" + s.hosts[0]
		s.redirectURI = s.origin + s.path
	}
	s.serve(listeners)
	return s, nil
}

// paths checks Path and RedirectURI against each other; public is nil where there is no RedirectURI.
func (s *Server) paths() (public *url.URL, err error) {
	s.path = s.cfg.Path
	if s.cfg.RedirectURI != "" {
		public, err = wire.URLPolicy{LoopbackHTTP: true}.Parse(s.cfg.RedirectURI)
		if err != nil {
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.RedirectURI", "%w", err))
		}
		if public.RawQuery != "" || public.ForceQuery {
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.RedirectURI",
				"it has a query, which is for the answer's parameters; leave it out"))
		}
		if s.path == "" {
			s.path = public.EscapedPath()
		}
		var found bool
		if s.prefix, found = strings.CutSuffix(public.EscapedPath(), s.path); !found {
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.RedirectURI",
				"its path does not end with the path that the listener answers at (%s)", s.path))
		}
	}
	if s.path == "" {
		s.path = "/callback"
	}
	if !validPath(s.path) || s.prefix != "" && !validPath(s.prefix) {
		return nil, fmt.Errorf("loopback: %w", wire.Field("Config.Path",
			"it must begin with / and hold only A-Z a-z 0-9 - . _ ~ and single slashes"))
	}
	return public, nil
}

func validPath(p string) bool {
	if p == "" || p[0] != '/' || strings.Contains(p, "//") {
		return false
	}
	for _, segment := range strings.Split(p, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(p, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~/", r))
	})
}

// serve answers on the listeners until Close.
func (s *Server) serve(listeners []net.Listener) {
	s.gate = newGate(maxConns)
	s.http = &http.Server{
		Handler:                      http.HandlerFunc(s.handle),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a request like any other
		ReadHeaderTimeout:            readTimeout,
		WriteTimeout:                 readTimeout,
		MaxHeaderBytes:               maxHeader - 4096, // net/http adds as much
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext:                  pinnable,
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
		s.done.Go(func() { _ = s.http.Serve(s.gate.guard(l)) })
	}
}

// RedirectURI returns the redirect_uri of the authorization request, and of the token request, where it must be the same.
func (s *Server) RedirectURI() string { return s.redirectURI }

// Start begins the sign-in: authURL is where the ticket leads (https, or http on a loopback address), and want what its answer must
// hold. It works once; before it, every request is answered by 404. Open the ticket in the browser; where a URL is printed
// for a person to open by hand, print authURL, which works on its own.
func (s *Server) Start(authURL string, want Expect) (ticketURL string, err error) {
	u, err := parseAuthURL(authURL)
	switch {
	case err != nil:
		return "", err
	case want.State == "":
		return "", errors.New("loopback: Expect.State is empty; make one of at least 128 random bits for each sign-in")
	case want.RequireIssuer && want.Issuer == "":
		return "", errors.New("loopback: Expect.RequireIssuer without an Issuer to compare with")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return "", s.closedError()
	case s.started:
		return "", errors.New("loopback: this Server was started before; a sign-in has a Server of its own")
	}
	s.started, s.authURL, s.want = true, u.String(), want
	return s.origin + s.prefix + s.ticket, nil
}

func parseAuthURL(authURL string) (*url.URL, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(authURL)
	if err != nil {
		return nil, fmt.Errorf("loopback: the authorization URL: %w", err)
	}
	return u, nil
}

// Renew gives the ticket another authorization URL, of the same sign-in and state. A pushed request is kept by the provider for a minute or so
// (RFC 9126 §2.2), and a browser may take longer to open.
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
	s.authURL = u.String()
	return nil
}

// Visited is closed when a browser has asked for the ticket, and was sent on with it.
func (s *Server) Visited() <-chan struct{} { return s.visited }

func (s *Server) ticketUsed() bool {
	select {
	case <-s.visited:
		return true
	default:
		return false
	}
}

// Wait returns the answer. A provider's refusal is one too: [Response.Code] tells. Its error matches [ErrIssuer], the error of
// ctx, or os.ErrClosed after [Server.Close], and says why the last request was refused, if one was. When ctx ends, so does
// the sign-in: what comes later is refused. Every later Wait returns the same.
func (s *Server) Wait(ctx context.Context) (*Response, error) {
	select {
	case <-s.answered:
	case <-ctx.Done():
		s.end(context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.response, s.err
}

// end ends the sign-in without an answer, unless it has one.
func (s *Server) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over, s.err = true, fmt.Errorf("loopback: no answer came from the browser: %w; %s", cause, s.progress())
		close(s.answered)
	}
}

// progress says how far the browser came, so that a person learns why the sign-in did not finish.
func (s *Server) progress() string {
	switch {
	case s.last.why != "":
		return "the last request refused: " + s.last.why
	case s.ticketUsed():
		return "the browser was sent to the provider, and did not come back"
	case s.started:
		return "the browser did not ask for the sign-in page; check that one was opened"
	}
	return "the sign-in was not started"
}

func (s *Server) closedError() error { return fmt.Errorf("loopback: %w", os.ErrClosed) }

// Close frees the port and ends every connection and goroutine of the Server. A browser whose answer was taken gets its page first, which
// takes at most a second: the failure page, if [Response.Finish] was not called. It is safe to call more than once.
func (s *Server) Close() error { return s.shut() }

func (s *Server) close() error {
	s.end(os.ErrClosed)
	s.finish(outcome{kind: pageFailed})
	s.mu.Lock()
	owed := s.owed
	s.mu.Unlock()
	if owed {
		timer := time.NewTimer(farewell)
		select {
		case <-s.settled:
		case <-timer.C:
		}
		timer.Stop()
	}
	close(s.closing)
	err := s.http.Close()
	s.gate.close()
	s.done.Wait()
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// String names the listener; no state, code or ticket is printed (also by %+v and %#v).
func (s *Server) String() string { return "loopback.Server(" + s.redirectURI + ")" }

// Format implements [fmt.Formatter], as String does.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
