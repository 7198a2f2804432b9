package loopback

import (
	"bytes"
	"time"
)

// Answered is closed when the login is decided.
func Answered(s *Server) <-chan struct{} { return s.answered }

// Policy is the page's Content-Security-Policy.
func Policy(s *Server) string { return s.look.policy }

// PagePath is where the browser is sent at the end.
func PagePath(s *Server) string { return s.page }

// Languages are those of the pages.
func Languages() []string {
	var tags []string
	for _, l := range languages {
		tags = append(tags, l.lang)
	}
	return tags
}

// LanguageFor is the one an Accept-Language header gets.
func LanguageFor(accept string) string { return textsFor(accept).lang }

// Check is what decides on an answer's parameters; ok: taken.
func Check(query string, want Expect) (ok, wrongIssuer bool) {
	_, wrongIssuer, no := check(query, want)
	return no.status == 0, wrongIssuer
}

const (
	// MaxConns is the bound of open connections.
	MaxConns = maxConns
	// Serving is how long a request that has arrived is left in peace.
	Serving = serving
)

// Open is the number of open connections that nobody pinned.
func Open(s *Server) int {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return s.gate.open.Len()
}

// Bound is the address that is listened on.
func Bound(s *Server) string { return s.bound }

// Settled reports that no browser waits for a page any more.
func Settled(s *Server) bool {
	select {
	case <-s.settled:
		return true
	default:
		return false
	}
}

// Pages are all pages in one language, by kind.
func Pages(t interface{ Fatal(...any) }, p Page, lang, user string) map[string]string {
	l, err := newLook(p)
	if err != nil {
		t.Fatal(err)
	}
	l.style = ""
	out := map[string]string{}
	for kind, name := range map[pageKind]string{pageDone: "done", pageDenied: "denied", pageFailed: "failed", pageOut: "signed out", pageWaiting: "waiting", pageUsed: "used", pageRefused: "refused"} {
		var b bytes.Buffer
		l.render(&b, lang, outcome{kind: kind, user: user, again: "/again"})
		out[name] = b.String()
	}
	return out
}

// LastRefused says why the last request was refused; "": none was.
func LastRefused(s *Server) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.why
}

// SetPatience is for a Server that nobody uses yet.
func SetPatience(s *Server, d time.Duration) { s.patience = d }
