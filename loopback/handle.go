package loopback

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// handle answers every request. Paths are compared as they came: nothing is decoded, cleaned or redirected first.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if r.ContentLength != 0 {
		// Whether the body is read or thrown away by net/http: not for longer than this.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	}
	switch {
	case !slices.Contains(s.hosts, r.Host): // DNS rebinding
		s.refuse(w, r, refusal{http.StatusMisdirectedRequest, "its Host is not the redirect URI's", stray})
	case same(path, s.ticket):
		s.handleTicket(w, r)
	case same(path, s.page):
		s.handlePage(w, r)
	case path == s.path:
		s.handleCallback(w, r, query)
	default:
		s.refuse(w, r, refusal{http.StatusNotFound, "it was not for the redirect URI's path", stray})
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// navigation tells whether a person's browser is going to a page: not a script, image or frame, nor a guess ahead. Where the
// Sec-Fetch headers are absent, nothing is known; a WebSocket's handshake is a GET without them in Chromium.
func navigation(h http.Header) bool {
	return h.Get("Upgrade") == "" && among(h, "Sec-Fetch-Mode", "navigate") && among(h, "Sec-Fetch-Dest", "document") &&
		h.Get("Sec-Purpose") == "" && h.Get("Purpose") == "" && h.Get("X-Moz") == ""
}

func among(h http.Header, name, want string) bool {
	values := h.Values(name)
	return len(values) == 0 || len(values) == 1 && values[0] == want
}

func (s *Server) handleTicket(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, r, refusal{http.StatusMethodNotAllowed, "the ticket was asked for with another method than GET", stray})
		return
	case !navigation(r.Header):
		s.refuse(w, r, refusal{http.StatusForbidden, "the ticket was asked for by something other than a person's browser", callback})
		return
	case s.foreign(r):
		s.refuse(w, r, refusal{http.StatusForbidden, foreignTicket, answer})
		return
	}
	s.mu.Lock()
	usable := s.started && !s.ticketUsed() && !s.over
	if usable {
		close(s.visited)
	}
	location := s.authURL
	s.mu.Unlock()
	if !usable {
		s.refuse(w, r, refusal{http.StatusGone, "the ticket was used before", stray})
		return
	}
	s.headers(w)
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusFound)
}

const (
	foreignTicket = "another user of this computer asked for the ticket; if that is meant, set AllowOtherUsers"
	foreignAnswer = "another user of this computer sent it; if that is meant, set AllowOtherUsers"
)

func (s *Server) handleCallback(w http.ResponseWriter, r *http.Request, query string) {
	s.mu.Lock()
	started, want := s.started, s.want
	s.mu.Unlock()
	if !started {
		s.refuse(w, r, refusal{http.StatusNotFound, "it came before the sign-in was started", stray})
		return
	}
	query, no := s.parameters(w, r, query)
	if no.status != 0 {
		s.refuse(w, r, no)
		return
	}
	params, wrongIssuer, no := check(query, want)
	if no.status != 0 && !wrongIssuer {
		s.refuse(w, r, no)
		return
	}
	if s.foreign(r) {
		s.refuse(w, r, refusal{http.StatusForbidden, foreignAnswer, answer})
		return
	}
	pin(r.Context())
	if !s.take(params, wrongIssuer, true) {
		s.refuse(w, r, refusal{http.StatusGone, "the sign-in had its answer, or was over", stray})
		return
	}
	s.hold(w, r)
}

// parameters returns the raw parameters of a request to the callback, from its query or, where that is asked for, its body.
func (s *Server) parameters(w http.ResponseWriter, r *http.Request, query string) (string, refusal) {
	switch {
	case r.Method == http.MethodGet && r.ContentLength == 0:
		if !navigation(r.Header) {
			return "", refusal{http.StatusForbidden, "it was not a person's browser going to a page (prefetch, script, image or frame)", callback}
		}
		return query, refusal{}
	case r.Method == http.MethodPost && s.cfg.FormPost:
		mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case !navigation(r.Header):
			return "", refusal{http.StatusForbidden, "it was not a person's browser posting a form", callback}
		case err != nil || mt != "application/x-www-form-urlencoded":
			return "", refusal{http.StatusUnsupportedMediaType, "it was not a form", callback}
		case query != "":
			return "", refusal{http.StatusBadRequest, "it has parameters in the URL and in a form", callback}
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHeader))
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return "", refusal{http.StatusRequestEntityTooLarge, "its form is too large", callback}
		}
		if err != nil {
			return "", refusal{http.StatusBadRequest, "its form did not arrive whole", callback}
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		return string(body), refusal{}
	}
	// Also a 307 of the provider, by which a browser posts the person's password again: the body is not looked at.
	w.Header().Set("Allow", http.MethodGet)
	if s.cfg.FormPost {
		w.Header().Set("Allow", "GET, POST")
	}
	return "", refusal{http.StatusMethodNotAllowed, "it had another method than GET, or a body", callback}
}

// foreign reports a request of another user of this computer. Only a connection from this computer has an owner here.
func (s *Server) foreign(r *http.Request) bool {
	if s.cfg.AllowOtherUsers {
		return false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	remote, err := net.ResolveTCPAddr("tcp", r.RemoteAddr) // literals: nothing is looked up
	if err != nil {
		return false
	}
	return owner(local.AddrPort(), remote.AddrPort()) == stranger
}

// take makes the first answer the answer. params is nil where the issuer was wrong.
func (s *Server) take(params url.Values, wrongIssuer, browser bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over, s.owed = true, browser
	if wrongIssuer {
		s.err = fmt.Errorf("loopback: %w (RFC 9207); nothing was exchanged: start the sign-in again, and report it if it happens again", ErrIssuer)
		s.outcome = outcome{kind: pageFailed}
		close(s.finished)
	} else {
		s.response = &Response{Params: params, server: s, signOut: s.want.SignOut}
	}
	close(s.answered)
	return true
}

// Paste takes the answer from a person instead of the browser: the URL at which the browser ended, on a computer from which the
// listener cannot be reached, or its query alone. It is checked as a request is, and the first answer of either kind is the one [Server.Wait]
// returns. An error says why the text was refused, and does not repeat it; the sign-in goes on, unless it matches [ErrIssuer].
func (s *Server) Paste(text string) error {
	s.mu.Lock()
	started, want := s.started, s.want
	s.mu.Unlock()
	if !started {
		return errors.New("loopback: Paste before Start")
	}
	text = strings.TrimSpace(text)
	if len(text) > maxHeader {
		return errors.New("loopback: the pasted text is too long; paste the address at which the browser ended")
	}
	query := text
	if before, after, found := strings.Cut(text, "?"); found {
		if before != "" && before != s.redirectURI {
			return errors.New("loopback: the pasted address is not the redirect URI of this sign-in; paste the address at which the browser ended")
		}
		query = after
	}
	query, _, _ = strings.Cut(query, "#")
	params, wrongIssuer, no := check(query, want)
	if no.status != 0 && !wrongIssuer {
		return errors.New("loopback: the pasted text is not the awaited answer: " + no.why)
	}
	if !s.take(params, wrongIssuer, false) {
		return s.closedError()
	}
	if wrongIssuer {
		return s.err
	}
	return nil
}

// finish sets how the sign-in ended; the first call counts.
func (s *Server) finish(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.finished:
	default:
		s.outcome = o
		close(s.finished)
	}
}

// hold keeps the browser with the answer until the sign-in ends, or for a while, and then sends it to the page.
func (s *Server) hold(w http.ResponseWriter, r *http.Request) {
	if _, gone := s.await(r); gone {
		s.settle()
		return
	}
	s.headers(w)
	// The empty fragment keeps the browser from carrying over one that the provider set, with whatever it holds.
	w.Header().Set("Location", s.prefix+s.page+"#")
	s.write(w, http.StatusSeeOther, nil)
}

// await waits until the sign-in has ended, for at most patience.
func (s *Server) await(r *http.Request) (ended, gone bool) {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case <-s.finished:
		return true, false
	case <-timer.C:
		return false, false
	case <-r.Context().Done():
	case <-s.closing:
	}
	return false, true
}

func (s *Server) handlePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, r, refusal{http.StatusMethodNotAllowed, "the page was asked for with another method than GET", stray})
		return
	}
	pin(r.Context())
	ended, gone := s.await(r)
	if gone {
		return
	}
	o := outcome{kind: pageWaiting, again: s.prefix + s.page}
	if ended {
		s.mu.Lock()
		o = s.outcome
		s.mu.Unlock()
	}
	s.show(w, r, http.StatusOK, o)
	if ended {
		s.settle()
	}
}

// refuse answers a request that changes nothing, and remembers why.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, no refusal) {
	s.mu.Lock()
	if no.weight >= s.last.weight {
		s.last = no
	}
	s.mu.Unlock()
	switch no.status {
	case http.StatusBadRequest, http.StatusForbidden: // what a person may come to see; junk is answered with less
		if no.weight > stray && strings.Contains(r.Header.Get("Accept"), "text/html") {
			s.show(w, r, no.status, outcome{kind: pageRefused})
			return
		}
	case http.StatusGone:
		s.show(w, r, no.status, outcome{kind: pageUsed})
		return
	}
	s.headers(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.write(w, no.status, []byte(http.StatusText(no.status)+"\n"))
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, o outcome) {
	var b bytes.Buffer
	s.look.render(&b, r.Header.Get("Accept-Language"), o)
	s.headers(w)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", s.look.policy)
	h.Set("Vary", "Accept-Language")
	s.write(w, status, b.Bytes())
}

// headers are those of every answer: nothing is kept, framed, sniffed, passed on or run.
func (s *Server) headers(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", bareCSP)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// write sends the whole answer before it returns, so that a Close that follows cuts nothing off.
func (s *Server) write(w http.ResponseWriter, status int, body []byte) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(readTimeout)) // a held one's has passed
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_ = rc.Flush()
}
