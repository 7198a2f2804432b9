package loopback

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/peer"
)

// Decided is closed when a response was accepted, or the sign-in is over.
func Decided(s *Server) <-chan struct{} { return s.decided }

// PagePath returns the path of the final page.
func PagePath(s *Server) string { return s.page }

// Languages returns the languages of the pages.
func Languages() []string {
	var tags []string
	for _, l := range languages {
		tags = append(tags, l.lang)
	}
	return tags
}

// LanguageFor returns the language for an Accept-Language header.
func LanguageFor(accept string) string { return textsFor(accept).lang }

// Check reports whether check accepts a response.
func Check(query string, want Expect) (ok, wrongIssuer bool) {
	_, wrongIssuer, rej := check(query, want)
	return rej.status == 0, wrongIssuer
}

// Filter passes a request through a headerFilter in pieces of size bytes.
func Filter(request string, size int) (kept string, ok bool) {
	var f headerFilter
	for len(request) > 0 {
		piece := []byte(request[:min(size, len(request))])
		request = request[len(piece):]
		n, ok := f.filter(piece)
		if !ok {
			return kept, false
		}
		kept += string(piece[:n])
	}
	return kept, true
}

const (
	MaxConns = maxConns
	Serving  = serving
)

// Open returns the number of open connections that are not pinned.
func Open(s *Server) int {
	s.limit.mu.Lock()
	defer s.limit.mu.Unlock()
	return s.limit.open.Len()
}

// Bound returns the address that is listened on.
func Bound(s *Server) string { return s.bound }

// Settled reports whether no browser waits for a page any more.
func Settled(s *Server) bool {
	select {
	case <-s.settled:
		return true
	default:
		return false
	}
}

// Pages returns every page in one language, by kind.
func Pages(t interface{ Fatal(...any) }, p Page, lang, user string) map[string]string {
	th, err := newTheme(p)
	if err != nil {
		t.Fatal(err)
	}
	th.style = ""
	out := map[string]string{}
	for kind, name := range map[pageKind]string{
		pageDone:    "done",
		pageDenied:  "denied",
		pageOther:   "another user",
		pageFailed:  "failed",
		pageOut:     "signed out",
		pageWaiting: "waiting",
		pageUsed:    "used",
		pageRefused: "refused",
		pageStray:   "stray error",
	} {
		var b bytes.Buffer
		th.render(&b, lang, pageContent{kind: kind, user: user, reload: "/again"})
		out[name] = b.String()
	}
	return out
}

// LastRefused returns why the last request was refused, or "" if none was.
func LastRefused(s *Server) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastRejected.reason
}

// SetOwner changes which user every request comes from. Call it before the Server
// is used.
func SetOwner(s *Server, u peer.User) { SetOwners(s, func() peer.User { return u }) }

// SetOwners is SetOwner with a function that is called for each request.
func SetOwners(s *Server, owner func() peer.User) {
	s.owner = func(netip.AddrPort, netip.AddrPort) peer.User { return owner() }
}

// SetPatience changes patience. Call it before the Server is used.
func SetPatience(s *Server, d time.Duration) { s.patience = d }

// Accept serves one more listener, until it fails or s is closed.
func Accept(s *Server, l net.Listener) { s.accept(l) }
