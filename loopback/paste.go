package loopback

import (
	"errors"
	"strings"
)

// Paste accepts the response from the user instead of the browser: the URL at
// which the browser ended, or the query of it. Use it if the browser runs on
// another computer and cannot reach the listener.
//
// The text is checked like a request, and [Server.Wait] returns the first
// response of either kind. If Paste returns an error, the error says why the
// text was refused, without repeating it, and the sign-in goes on. There are two
// exceptions: the sign-in is over if the error matches [ErrIssuer], or
// [os.ErrClosed]. Paste fails before [Server.Start].
//
// The scheme of the address may be http or https, or missing: a browser may hide
// it, or upgrade it to https. The state protects the sign-in all the same.
func (s *Server) Paste(text string) error {
	s.mu.Lock()
	started, want := s.started, s.want
	s.mu.Unlock()
	if !started {
		return errors.New("loopback: Paste before Start")
	}
	text = strings.TrimSpace(text)
	if len(text) > maxPaste {
		return errors.New("loopback: the pasted text is too long; " +
			"paste the address at which the browser ended")
	}
	query := text
	if before, after, found := strings.Cut(text, "?"); found {
		if before != "" && schemeless(before) != schemeless(s.redirectURI) {
			return errors.New("loopback: the pasted address is not the redirect URI " +
				"of this sign-in; paste the address at which the browser ended")
		}
		query = after
	}
	query, _, _ = strings.Cut(query, "#")
	params, wrongIssuer, rej := check(query, want)
	if rej.status != 0 && !wrongIssuer {
		return errors.New("loopback: the pasted text is not the awaited answer: " + rej.reason)
	}
	if !s.take(params, wrongIssuer, false) {
		return s.closedError()
	}
	if wrongIssuer {
		return s.err
	}
	return nil
}

// maxPaste is the number of bytes of a pasted text. It is what TerminalUI reads of
// a line, and more than a browser's address bar holds in practice.
const maxPaste = 64 << 10

// schemeless returns a URL without http:// or https://, in any case.
func schemeless(u string) string {
	scheme, rest, found := strings.Cut(u, "://")
	if found && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		return rest
	}
	return u
}
