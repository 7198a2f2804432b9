// Decides which URLs from a server may be opened or called (RFC 3986; S2, S39).
//
// A URL that a server names is handed to a browser, to a launcher's command
// line, or to net/http. Each of them reads doubtful spellings in its own
// manner, so that one of them could go to another host than the one that was
// checked. Such spellings are refused.

package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrUnsafeURL is matched by every refusal here. Its message names the fault,
// never the URL, which may hold a state or a code.
var ErrUnsafeURL = errors.New("unsafe URL")

// URLPolicy says what is allowed besides https. The zero URLPolicy allows
// nothing else.
type URLPolicy struct {
	LoopbackHTTP bool // http://127.0.0.0/8, http://[::1] and http://localhost
	Fragment     bool
}

// Parse parses and checks raw. It must be an absolute https URL (or as the
// policy says) with a host. It must not have userinfo, an opaque part, control
// characters, spaces, backslashes or an invalid port. url.Parse alone accepts
// every one of them. Errors match [ErrUnsafeURL].
func (p URLPolicy) Parse(raw string) (*url.URL, error) {
	if err := checkSpelling(raw); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, unsafe("it cannot be parsed")
	}
	switch {
	case u.Opaque != "" || !strings.HasPrefix(strings.ToLower(raw), u.Scheme+"://"):
		return nil, unsafe("it has no // after the scheme")
	case u.Hostname() == "":
		return nil, unsafe("it has no host")
	case u.User != nil: // https://good.example@evil.example looks like the good one
		return nil, unsafe("it holds a user name or password")
	case (u.Fragment != "" || strings.Contains(raw, "#")) && !p.Fragment:
		return nil, unsafe("it has a fragment")
	}
	if err := checkPort(u); err != nil {
		return nil, err
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && p.LoopbackHTTP && IsLoopback(u.Hostname()):
	case u.Scheme == "http":
		return nil, unsafe("it is http, but https is needed")
	default:
		return nil, unsafe("its scheme is not https")
	}
	return u, nil
}

// checkSpelling refuses characters that a browser and url.Parse read
// differently, and a dash in front, which a launcher would take for an option.
func checkSpelling(raw string) error {
	for _, r := range raw {
		switch {
		case r <= ' ', r == 0x7f, r == '\\', r >= 0x80 && r <= 0x9f,
			r == '\u2028', r == '\u2029', r == '\ufffd':
			return unsafe("it holds a space, a control character or a backslash")
		}
	}
	if strings.HasPrefix(raw, "-") {
		return unsafe("it begins with a dash")
	}
	return nil
}

// checkPort refuses an empty port and one that cannot be dialled.
func checkPort(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return unsafe("its port is empty")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return unsafe("its port is not between 1 and 65535")
		}
	}
	return nil
}

// IsLoopback reports whether host is "localhost" or a literal loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

// LowerHost folds the case of A to Z alone. What else Unicode folds leads to
// another host: İ becomes i there, and another name in IDNA.
func LowerHost(host string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, host)
}

// Origin returns the scheme, host and port of u. The case is folded and the
// default port left out, so that equal origins are equal strings (RFC 6454
// §6.1).
func Origin(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), LowerHost(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

func unsafe(why string) error { return fmt.Errorf("%w: %s", ErrUnsafeURL, why) }
