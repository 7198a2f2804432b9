// Reads WWW-Authenticate headers (RFC 9110 §11.6.1) and what a protected resource says in
// them: RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3 and RFC 9728 §5.1.
//
// The header is foreign text. A challenge that breaks the grammar, or that names a parameter twice, is left out together with what
// follows it in the same header field: where it ends can no longer be known, and the next reader might see another end.

package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Schemes, as [Challenge.Scheme] spells them.
const (
	BearerScheme = "bearer"
	DPoPScheme   = "dpop"
)

// maxChallenges bounds what one answer can make us keep; real ones carry one to three.
const maxChallenges = 16

// Challenge is one challenge of a header. Scheme and the names in Params are in lower case; values are as sent, unquoted.
// Params is nil where there are none, or where the scheme carries a token68 instead.
type Challenge struct {
	Scheme string
	Params map[string]string
}

// ParseChallenges reads every WWW-Authenticate field of h, in order.
func ParseChallenges(h http.Header) []Challenge {
	var all []Challenge
	for _, field := range h.Values("WWW-Authenticate") {
		all = append(all, parseChallenges(field)...)
		if len(all) >= maxChallenges {
			return all[:maxChallenges]
		}
	}
	return all
}

// parseChallenges reads one field: #challenge, where challenge = auth-scheme [ 1*SP ( token68 / #auth-param ) ].
func parseChallenges(field string) []Challenge {
	p := challengeParser{rest: field}
	var all []Challenge
	for p.commas(); p.rest != "" && len(all) < maxChallenges; p.commas() {
		c, ok := p.challenge()
		if !ok {
			break
		}
		all = append(all, c)
	}
	return all
}

type challengeParser struct{ rest string }

func (p *challengeParser) challenge() (Challenge, bool) {
	c := Challenge{Scheme: strings.ToLower(p.token())}
	switch {
	case c.Scheme == "":
		return c, false
	case p.end():
		return c, true
	case !p.spaces():
		return c, false
	}
	if p.end() || p.token68() {
		return c, true
	}
	for p.atParam() {
		name, value, ok := p.param()
		if _, twice := c.Params[name]; !ok || twice || !p.end() {
			return c, false
		}
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		c.Params[name] = value
		p.commas()
	}
	return c, c.Params != nil
}

// atParam reports whether a parameter comes next, and not the scheme of another challenge.
func (p *challengeParser) atParam() bool {
	ahead := *p
	name := ahead.token()
	ahead.spaces()
	return name != "" && ahead.take('=')
}

// param reads token BWS "=" BWS ( token / quoted-string ).
func (p *challengeParser) param() (name, value string, ok bool) {
	name = strings.ToLower(p.token())
	p.spaces()
	p.take('=')
	p.spaces()
	if strings.HasPrefix(p.rest, `"`) {
		value, ok = p.quoted()
		return name, value, ok
	}
	value = p.token()
	return name, value, value != ""
}

func (p *challengeParser) quoted() (string, bool) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case c == '\\':
			if i++; i == len(p.rest) || !quotable(p.rest[i]) {
				return "", false
			}
			b.WriteByte(p.rest[i])
		case quotable(c):
			b.WriteByte(c)
		default:
			return "", false
		}
	}
	return "", false
}

// token68 takes one, with its padding, where it is the whole of the challenge.
func (p *challengeParser) token68() bool {
	rest := strings.TrimLeft(p.rest, tokenSet68)
	if len(rest) == len(p.rest) {
		return false
	}
	after := challengeParser{rest: strings.TrimLeft(rest, "=")}
	if !after.end() {
		return false
	}
	*p = after
	return true
}

func (p *challengeParser) token() string {
	n := 0
	for n < len(p.rest) && isTokenChar(p.rest[n]) {
		n++
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}

func (p *challengeParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *challengeParser) spaces() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	any := len(rest) < len(p.rest)
	p.rest = rest
	return any
}

// commas skips list separators; empty list elements are allowed (RFC 9110 §5.6.1.2).
func (p *challengeParser) commas() { p.rest = strings.TrimLeft(p.rest, " \t,") }

// end reports whether the list element ends here.
func (p *challengeParser) end() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	return rest == "" || rest[0] == ','
}

const (
	alnum      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	tokenSet68 = alnum + "-._~+/"
)

func isTokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func quotable(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

// Demand is what a protected resource asks of a client that uses access tokens.
type Demand struct {
	Scheme           string // [Bearer] or [DPoP]
	Error            string // an error code of RFC 6750 §3.1, 9449 §7.1 or 9470 §3; "": none
	Description      string // neutralised
	Scope            []string
	ACRValues        []string
	MaxAge           time.Duration // where HasMaxAge
	HasMaxAge        bool
	ResourceMetadata string // a URL as sent: unchecked
}

// PickChallenge returns the demand of the challenge of scheme prefer, else of the other one of the two schemes. ok: there is one. Of several
// challenges with one scheme, the first with an error code counts. resource_metadata may stand beside any scheme (RFC 9728 §5.1).
// A value that breaks its own syntax counts as absent.
func PickChallenge(all []Challenge, prefer string) (d Demand, ok bool) {
	var best *Challenge
	rank := 0
	for i, c := range all {
		r := 0
		if c.Scheme == BearerScheme || c.Scheme == DPoPScheme {
			r = 1
			if c.Params["error"] != "" {
				r++
			}
			if c.Scheme == prefer {
				r += 2
			}
		}
		if r > rank {
			best, rank = &all[i], r
		}
	}
	if best == nil {
		return Demand{}, false
	}
	p := best.Params
	d = Demand{
		Scheme: best.Scheme, Error: challengeError(p["error"]), Description: wire.SafeText(p["error_description"], 0),
		Scope: challengeWords(p["scope"]), ACRValues: challengeWords(p["acr_values"]), ResourceMetadata: p["resource_metadata"],
	}
	// As a uint32 of seconds it fits a Duration, and is 136 years.
	if n, err := strconv.ParseUint(p["max_age"], 10, 32); err == nil {
		d.MaxAge, d.HasMaxAge = time.Duration(n)*time.Second, true
	}
	for _, c := range all {
		if d.ResourceMetadata == "" {
			d.ResourceMetadata = c.Params["resource_metadata"]
		}
	}
	return d, true
}

// challengeError returns s if it is an error code (RFC 6749 §5.2: printable ASCII but for " and \) of sane length.
func challengeError(s string) string {
	if len(s) > 64 || !eachByte(s, func(c byte) bool { return c == ' ' || isWordChar(c) }) {
		return ""
	}
	return s
}

// challengeWords splits a list of scope tokens (RFC 6749 §3.3) or acr values; an ill-formed word is left out.
func challengeWords(s string) []string {
	var out []string
	for w := range strings.FieldsSeq(s) {
		if eachByte(w, isWordChar) {
			out = append(out, w)
		}
	}
	return out
}

// isWordChar: NQCHAR of RFC 6749, appendix A.
func isWordChar(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '\\' }

func eachByte(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
