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

	"github.com/nativeoauth/nativeoauth/internal/peer"
)

// handle serves every request. It compares the path as it was sent. Decoding,
// cleaning or redirecting it first, as http.ServeMux does, would give the
// callback more than one spelling.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if r.ContentLength != 0 {
		// ReadHeaderTimeout does not cover the body, which net/http reads and
		// discards if the handler does not want it.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	}
	switch {
	// A DNS name that resolves to 127.0.0.1 makes a web page same-origin with
	// this listener. Its name is then in the Host header (DNS rebinding).
	case !slices.Contains(s.hosts, r.Host):
		s.refuse(w, r, rejection{http.StatusMisdirectedRequest,
			"its Host is not the redirect URI's", stray})
	case same(path, s.ticket):
		s.handleTicket(w, r)
	case same(path, s.page):
		s.handlePage(w, r)
	case path == s.path:
		s.handleCallback(w, r, query)
	default:
		s.refuse(w, r, rejection{http.StatusNotFound,
			"it was not for the redirect URI's path", stray})
	}
}

// same compares in constant time. The paths of the ticket and of the page are
// secrets that other local users must not find out by trying.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// navigation reports whether the browser is opening a page in a tab. Scripts,
// images, frames and prefetches of other sites are not, and the Fetch Metadata
// headers tell them apart. A page cannot forge these headers.
//
// Old browsers and other clients send none of them, which is accepted. A
// WebSocket handshake of Chromium has none either, hence the check for Upgrade.
func navigation(h http.Header) bool {
	return h.Get("Upgrade") == "" &&
		absentOr(h, "Sec-Fetch-Mode", "navigate") && absentOr(h, "Sec-Fetch-Dest", "document") &&
		h.Get("Sec-Purpose") == "" && h.Get("Purpose") == "" && h.Get("X-Moz") == ""
}

func absentOr(h http.Header, name, want string) bool {
	values := h.Values(name)
	return len(values) == 0 || len(values) == 1 && values[0] == want
}

// maxTickets is how often the ticket redirects the user of this process. It is
// enough for a launcher and a link scanner that check the URL, the browser, and a
// reload.
const maxTickets = 5

// handleTicket redirects to the authorization URL. Other users can see the ticket
// in the arguments of the browser's launcher (S4). Another user's request is
// refused if the system can tell. If it cannot, the ticket is worthless after it
// has been used once. A request that is refused does not use it up.
//
// Requests of this process's own user may repeat it, because something else may
// request the ticket before the browser does. That gives nothing away: such a
// requester can read this process's memory, and the state in it.
func (s *Server) handleTicket(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, r, rejection{http.StatusMethodNotAllowed,
			"the ticket was requested with a method other than GET", stray})
		return
	case !navigation(r.Header):
		s.refuse(w, r, rejection{http.StatusForbidden,
			"the ticket was not requested by a user opening a page", atCallback})
		return
	}
	sender := s.sender(r)
	if s.foreign(sender) {
		s.refuse(w, r, rejection{http.StatusForbidden, foreignTicket, withState})
		return
	}
	if !s.awaitURL(w, r) {
		return
	}
	s.mu.Lock()
	usable := s.started && !s.over &&
		(s.tickets == 0 || sender == peer.SameUser && s.tickets < maxTickets)
	if usable {
		s.visit()
		s.tickets++
		s.redirecting.Add(1)
		defer s.redirecting.Done()
	}
	location := s.authURL
	s.mu.Unlock()
	if !usable {
		s.refuse(w, r, rejection{http.StatusGone, "the ticket was used before", stray})
		return
	}
	s.headers(w)
	w.Header().Set("Location", location)
	s.write(w, http.StatusFound, nil)
}

// awaitURL waits until it is known where the ticket redirects, if the sign-in was
// started without that. If it returns false, it has answered: with the waiting page,
// which loads the ticket again, or with the failure page, because the sign-in ended
// before a browser came.
func (s *Server) awaitURL(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	failed := s.started && s.over && s.response == nil && s.tickets == 0
	waits := s.started && !s.over && s.authURL == ""
	if waits {
		s.redirecting.Add(1)
		defer s.redirecting.Done()
	}
	s.mu.Unlock()
	if !failed && !waits {
		return true
	}
	pin(r.Context())
	if failed {
		s.show(w, r, http.StatusGone, pageContent{kind: pageFailed})
		s.visit()
		return false
	}
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case <-s.ready:
		return true
	case <-s.decided:
		s.show(w, r, http.StatusOK, pageContent{kind: pageFailed})
		s.visit()
	case <-timer.C:
		s.show(w, r, http.StatusOK, pageContent{kind: pageWaiting, reload: s.prefix + s.ticket})
	case <-r.Context().Done():
	}
	return false
}

const (
	foreignTicket = "another user of this computer requested the ticket; " +
		"if that is meant, set AllowOtherUsers"
	foreignAnswer = "another user of this computer sent it; " +
		"if that is meant, set AllowOtherUsers"
)

// handleCallback serves a request for the redirect URI. Everything is checked
// before take, because take cannot be undone: a request that fails a check must
// not cost the browser its turn.
func (s *Server) handleCallback(w http.ResponseWriter, r *http.Request, query string) {
	s.mu.Lock()
	started, want := s.started, s.want
	s.mu.Unlock()
	if !started {
		s.refuse(w, r, rejection{http.StatusNotFound,
			"it came before the sign-in was started", stray})
		return
	}
	query, rej := s.parameters(w, r, query)
	if rej.status != 0 {
		s.refuse(w, r, rej)
		return
	}
	params, wrongIssuer, rej := check(query, want)
	if rej.status != 0 && !wrongIssuer {
		s.refuse(w, r, rej)
		return
	}
	// The owner of a connection takes a system call to find. Junk does not get
	// that far.
	if s.foreign(s.sender(r)) {
		s.refuse(w, r, rejection{http.StatusForbidden, foreignAnswer, withState})
		return
	}
	pin(r.Context())
	if !s.take(params, wrongIssuer, true) {
		s.refuse(w, r, rejection{http.StatusGone,
			"the sign-in had its answer, or was over", stray})
		return
	}
	s.hold(w, r)
}

// parameters returns the raw parameters of a request for the redirect URI: from
// its query or, with Config.FormPost, from its body.
func (s *Server) parameters(
	w http.ResponseWriter, r *http.Request, query string,
) (string, rejection) {
	switch {
	case r.Method == http.MethodGet && r.ContentLength == 0:
		if !navigation(r.Header) {
			return "", rejection{http.StatusForbidden,
				"it was not a user opening a page (but a prefetch, script, image or frame)",
				atCallback}
		}
		return query, rejection{}
	case r.Method == http.MethodPost && s.cfg.FormPost:
		return s.form(w, r, query)
	}
	// A provider that redirects its login form with a 307 makes the browser post
	// the user's password here (RFC 9700 §4.12). The body is not read.
	w.Header().Set("Allow", http.MethodGet)
	if s.cfg.FormPost {
		w.Header().Set("Allow", "GET, POST")
	}
	return "", rejection{http.StatusMethodNotAllowed,
		"it had another method than GET, or a body", atCallback}
}

// form returns the raw parameters of a posted form (OAuth 2.0 Form Post Response
// Mode). Its media type is the only one that a provider's form has. Parameters in
// both places are refused, because the two could contradict each other.
func (s *Server) form(
	w http.ResponseWriter, r *http.Request, query string,
) (string, rejection) {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case !navigation(r.Header):
		return "", rejection{http.StatusForbidden,
			"it was not a user submitting a form", atCallback}
	case err != nil || mt != "application/x-www-form-urlencoded":
		return "", rejection{http.StatusUnsupportedMediaType, "it was not a form", atCallback}
	case query != "":
		return "", bad(atCallback, "it has parameters in the URL and in a form")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHeader))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return "", rejection{http.StatusRequestEntityTooLarge, "its form is too large", atCallback}
	}
	if err != nil {
		return "", bad(atCallback, "its form did not arrive whole")
	}
	// The browser is held from here on, for longer than the deadline of handle.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return string(body), rejection{}
}

// sender returns which user of this computer sent the request. A connection from
// another computer has no owner here, and package peer does not know the owner of
// every local one. Both are [peer.Unknown].
func (s *Server) sender(r *http.Request) peer.User {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return peer.Unknown
	}
	remote, err := net.ResolveTCPAddr("tcp", r.RemoteAddr) // an IP address: nothing is looked up
	if err != nil {
		return peer.Unknown
	}
	return s.owner(local.AddrPort(), remote.AddrPort())
}

// foreign reports whether requests of sender are refused (S90).
func (s *Server) foreign(sender peer.User) bool {
	return sender == peer.OtherUser && !s.cfg.AllowOtherUsers
}

// take accepts a response, and reports false if the sign-in is over already: the
// first response is the only one (S15). If the issuer is wrong, params is nil,
// and the sign-in ends without a response. browser says that a browser waits for
// the page.
func (s *Server) take(params url.Values, wrongIssuer, browser bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over, s.pageOwed = true, browser
	if wrongIssuer {
		s.err = fmt.Errorf("loopback: %w (RFC 9207); nothing was exchanged: "+
			"start the sign-in again, and report it if it happens again", ErrIssuer)
		s.ending = pageContent{kind: pageFailed}
		close(s.finished)
	} else {
		s.response = &Response{Params: params, server: s, signOut: s.want.SignOut}
	}
	close(s.decided)
	return true
}

// finish sets how the sign-in ended. Only the first call has an effect.
func (s *Server) finish(ending pageContent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.finished:
	default:
		s.ending = ending
		close(s.finished)
	}
}

// hold keeps the browser waiting until the sign-in ends, or for patience, and
// then redirects it to the page. The redirect takes the code out of the address
// bar and the history (RFC 9700 §4.2.4).
func (s *Server) hold(w http.ResponseWriter, r *http.Request) {
	if _, gone := s.await(r); gone {
		s.settle()
		return
	}
	s.headers(w)
	// Without a fragment in Location, the browser would keep the one that the
	// provider set, which may hold tokens (RFC 9110 §10.2.2).
	w.Header().Set("Location", s.prefix+s.page+"#")
	s.write(w, http.StatusSeeOther, nil)
}

// await waits until the sign-in has ended, but not longer than patience. gone
// means that the browser has left, or that Close does not wait for it any more.
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

// handlePage serves the final page, or the waiting page, which reloads itself,
// if the sign-in takes longer than patience.
func (s *Server) handlePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, r, rejection{http.StatusMethodNotAllowed,
			"the page was requested with a method other than GET", stray})
		return
	}
	pin(r.Context())
	ended, gone := s.await(r)
	if gone {
		return
	}
	content := pageContent{kind: pageWaiting, reload: s.prefix + s.page}
	if ended {
		s.mu.Lock()
		content = s.ending
		s.mu.Unlock()
	}
	s.show(w, r, http.StatusOK, content)
	if ended {
		s.settle()
	}
}

// refuse answers a request that has no effect, and remembers why. The response
// repeats nothing of the request. A user gets a page only for mistakes that a
// user can make; the rest, such as a flood of junk, gets a line of text.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, rej rejection) {
	s.note(rej)
	switch rej.status {
	case http.StatusBadRequest, http.StatusForbidden:
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			content := pageContent{kind: pageRefused}
			if rej.reason == errorWithoutState {
				content.kind = pageStray
			}
			s.show(w, r, rej.status, content)
			return
		}
	case http.StatusGone:
		s.show(w, r, rej.status, pageContent{kind: pageUsed})
		return
	}
	s.headers(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.write(w, rej.status, []byte(http.StatusText(rej.status)+"\n"))
}

// note remembers why a request was refused, and sends the message to Notices that
// goes with it.
func (s *Server) note(rej rejection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rej.relevance >= s.lastRejected.relevance {
		s.lastRejected = rej
	}
	text := notice(rej.reason)
	if text == "" || s.over || s.noticed[text] {
		return
	}
	s.noticed[text] = true
	s.notices <- text
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, content pageContent) {
	var b bytes.Buffer
	s.theme.render(&b, r.Header.Get("Accept-Language"), content)
	s.headers(w)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", s.theme.policy)
	s.write(w, status, b.Bytes())
}

// headers sets the headers of every response. The browser must not cache it,
// frame it (clickjacking), guess its type, pass on its address, run a script in
// it, or let another window or site read it (S19).
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

// write sends the whole response before it returns, so that a Close that follows
// does not cut it off.
func (s *Server) write(w http.ResponseWriter, status int, body []byte) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(readTimeout)) // a held response's has passed
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_ = rc.Flush()
}
