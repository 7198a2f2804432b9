package loopback

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Config says on which address to listen and how the page looks. The zero Config
// is right for most programs: a free port of 127.0.0.1, or of [::1] if there is
// no IPv4, and the path /callback.
type Config struct {
	// Addr is the "ip:port" to bind. Port 0 means a free port. If empty, a free
	// port of 127.0.0.1 or [::1] is used. An address that is not a loopback
	// address is reachable from the network; it is an error unless RedirectURI
	// is set too.
	Addr string
	// Ports are the ports to try, in this order, for a provider that compares the
	// port: a redirect URI is registered for each, and a port that another
	// program occupies is skipped. Addr's port must then be 0, and RedirectURI
	// empty. nil: the port is Addr's.
	Ports []uint16
	// Path is the path of the redirect URI as registered with the provider. If
	// empty, it is the path of RedirectURI, or /callback. With a fixed port,
	// give each issuer its own path, which tells their responses apart
	// (RFC 8252 §8.10).
	Path string
	// Localhost writes "localhost" instead of the IP address in the redirect
	// URI, for providers that do not accept an IP address. RFC 8252 §8.3 advises
	// against it. The port is then bound on both 127.0.0.1 and [::1], because
	// the name can mean either.
	Localhost bool
	// RedirectURI is the URL under which the browser reaches the listener, if
	// that is not the bound address: a port mapped into a container, or the
	// proxy of a remote editor. It must be https, or http on a loopback address.
	// Its path must end with Path; what comes before is the prefix that the
	// proxy removes. If empty, the redirect URI is made from the bound address.
	RedirectURI string
	// FormPost also accepts the response as a POST (OAuth 2.0 Form Post Response
	// Mode). If false, every POST is refused without reading its body.
	FormPost bool
	// AllowOtherUsers accepts requests from any local user. If false, requests
	// of other users are refused if the system can tell (Linux, Windows).
	// Requests of root, and of the user that called sudo, are always accepted.
	AllowOtherUsers bool
	// Page adapts the page that the user sees. The zero Page is complete.
	Page Page
}

// paths checks Path and RedirectURI against each other and sets s.path and
// s.prefix. public is the parsed RedirectURI, or nil if there is none.
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

// validPath reports whether p has only one spelling. Requests are compared with
// it byte by byte, so a path that browsers or proxies normalize would never
// match.
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
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune("-._~/", r))
	})
}
