// Decides which URLs from a server may be opened or called (S2, S39).

package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrUnsafeURL is matched by every refusal here. Its message names the fault, never the URL,
// which may hold a state or a code.
var ErrUnsafeURL = errors.New("unsafe URL")

// URLPolicy says what is allowed besides https.
type URLPolicy struct {
	LoopbackHTTP bool // http://127.0.0.0/8, http://[::1] and http://localhost
	Fragment     bool
}

// Parse parses and checks raw: absolute https (or as Policy says), with a host, without userinfo, opaque
// part, control characters, spaces or backslashes, and with a valid port. url.Parse alone accepts every one of them.
func (p URLPolicy) Parse(raw string) (*url.URL, error) {
	for _, r := range raw {
		if r <= ' ' || r == 0x7f || r == '\\' || (r >= 0x80 && r <= 0x9f) || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return nil, unsafe("it holds a space, a control character or a backslash")
		}
	}
	if strings.HasPrefix(raw, "-") {
		return nil, unsafe("it begins with a dash")
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
	case u.User != nil:
		return nil, unsafe("it holds a user name or password")
	case (u.Fragment != "" || strings.Contains(raw, "#")) && !p.Fragment:
		return nil, unsafe("it has a fragment")
	}
	if strings.HasSuffix(u.Host, ":") {
		return nil, unsafe("its port is empty")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, unsafe("its port is not between 1 and 65535")
		}
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && p.LoopbackHTTP && IsLoopback(u.Hostname()):
	case u.Scheme == "http":
		return nil, unsafe("it is http, where https is needed")
	default:
		return nil, unsafe("its scheme is not https")
	}
	return u, nil
}

// IsLoopback reports whether host is "localhost" or the literal of a loopback address.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

// Origin returns the scheme, host and port of u with the case folded and the default port left out, so
// that equal origins are equal strings (RFC 6454 §6.1).
func Origin(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

func unsafe(why string) error { return fmt.Errorf("%w: %s", ErrUnsafeURL, why) }
