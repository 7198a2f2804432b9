// Reads WWW-Authenticate headers (RFC 9110 §11.6.1) and what a protected
// resource says in them: RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3 and RFC 9728
// §5.1.
//
// A challenge that breaks the grammar, or that names a parameter twice, is left
// out together with the rest of its header field. Its end is not certain then,
// and another reader might see another end (S42).

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

// maxChallenges bounds what one answer can make us keep; real ones carry one to
// three.
const maxChallenges = 16

// Challenge is one challenge of a header. Scheme and the names in Params are in
// lower case. Values are as sent, without their quotes. Params is nil if there
// are none, or if the scheme carries a token68 instead.
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

// parseChallenges reads one field. It is a list of
//
//	challenge = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
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

// challengeParser reads a field from left to right.
type challengeParser struct{ rest string }

// challenge reads one challenge. ok is false if it breaks the grammar.
func (p *challengeParser) challenge() (c Challenge, ok bool) {
	c = Challenge{Scheme: strings.ToLower(p.token())}
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

// atParam reports whether a parameter comes next, and not the scheme of another
// challenge.
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

// quoted reads a quoted-string and takes its quotes and backslashes away.
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

// token68 reads one, with its padding, if it is the whole of the challenge.
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

// token reads a token (RFC 9110 §5.6.2); "" if there is none.
func (p *challengeParser) token() string {
	rest := strings.TrimLeft(p.rest, tokenSet)
	t := p.rest[:len(p.rest)-len(rest)]
	p.rest = rest
	return t
}

// take skips c if it comes next.
func (p *challengeParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// spaces skips white space, and reports whether there was any.
func (p *challengeParser) spaces() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	any := len(rest) < len(p.rest)
	p.rest = rest
	return any
}

// commas skips list separators; empty list elements are allowed (RFC 9110
// §5.6.1.2).
func (p *challengeParser) commas() { p.rest = strings.TrimLeft(p.rest, " \t,") }

// end reports whether the list element ends here.
func (p *challengeParser) end() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	return rest == "" || rest[0] == ','
}

const (
	alnum      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	tokenSet   = alnum + "!#$%&'*+-.^_`|~"
	tokenSet68 = alnum + "-._~+/"
)

func quotable(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

// Demand is what a protected resource demands of a client that uses access
// tokens.
type Demand struct {
	Scheme           string // [BearerScheme] or [DPoPScheme]
	Error            string // an error code of RFC 6750 §3.1, 9449 §7.1 or 9470 §3; "": none
	Description      string // one line that is safe to show
	Scope            []string
	ACRValues        []string
	MaxAge           time.Duration // if HasMaxAge
	HasMaxAge        bool
	ResourceMetadata string // a URL as sent: unchecked
}

// PickChallenge returns the demand of the challenge of scheme prefer, else of
// the other one of the two schemes. ok is false if there is neither. Of several
// challenges with one scheme, the first with an error code counts.
// resource_metadata may stand beside any scheme (RFC 9728 §5.1). A value that
// breaks its own syntax counts as absent.
func PickChallenge(all []Challenge, prefer string) (d Demand, ok bool) {
	best, ok := bestChallenge(all, prefer)
	if !ok {
		return Demand{}, false
	}
	p := best.Params
	d = Demand{
		Scheme: best.Scheme, Error: errorCode(p["error"], 64),
		Description: wire.SafeText(p["error_description"], 0),
		Scope:       challengeWords(p["scope"]), ACRValues: challengeWords(p["acr_values"]),
		ResourceMetadata: p["resource_metadata"],
	}
	// The largest uint32 of seconds is 136 years, which fits a Duration.
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

// bestChallenge returns the challenge that PickChallenge reads.
func bestChallenge(all []Challenge, prefer string) (best Challenge, ok bool) {
	rank := 0
	for _, c := range all {
		if c.Scheme != BearerScheme && c.Scheme != DPoPScheme {
			continue
		}
		r := 1
		if c.Params["error"] != "" {
			r++
		}
		if c.Scheme == prefer {
			r += 2
		}
		if r > rank {
			best, rank = c, r
		}
	}
	return best, rank > 0
}

// challengeWords splits a list of scope tokens (RFC 6749 §3.3) or acr values.
// An ill-formed word is left out.
func challengeWords(s string) []string {
	var out []string
	for w := range strings.FieldsSeq(s) {
		if isNQCHAR(w) {
			out = append(out, w)
		}
	}
	return out
}
