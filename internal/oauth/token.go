package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxTokenLifetime is what a larger expires_in counts as. It keeps hostile numbers out of date arithmetic; no access token lives so long.
const maxTokenLifetime = 10 * 365 * 24 * time.Hour

// TokenResponse is a successful answer that passed every check (RFC 6749 §5.1). It does not print its tokens.
type TokenResponse struct {
	AccessToken  wire.Secret
	RefreshToken wire.Secret   // zero: none was sent
	IDToken      wire.Secret   // zero: none was sent; not verified
	TokenType    string        // "Bearer" or "DPoP", however it was written
	ExpiresIn    time.Duration // whole seconds, 0 to ten years
	HasExpiry    bool          // false: expires_in was not sent
	Scope        string
	HasScope     bool // false: scope was not sent, so all that was asked is granted (§5.1)
	// Extra holds every other member as encoding/json would; a form's are strings. It may hold secrets of the provider's own making.
	Extra map[string]any
}

// Format implements [fmt.Formatter], because Extra may hold secrets.
func (r TokenResponse) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.text()) }

// LogValue implements [slog.LogValuer].
func (r TokenResponse) LogValue() slog.Value { return slog.StringValue(r.text()) }

func (r TokenResponse) text() string { return r.TokenType + " tokens [redacted]" }

// members are an answer's, from JSON or from a form. A member that is null counts as not sent, as several providers write it.
type members map[string]any

// parseResponse reads a body by its media type: JSON, or a form as GitHub answers by default. The types that a careless server gives to
// JSON are read as JSON; an HTML page is not.
func parseResponse(resp *fetch.Response) (members, error) {
	mt := resp.MediaType()
	start := strings.TrimLeft(string(resp.Body[:min(len(resp.Body), 64)]), " \t\r\n")
	object := strings.HasPrefix(start, "{")
	switch {
	case mt == "application/x-www-form-urlencoded", mt == "text/plain" && !object:
		return parseForm(resp.Body)
	case resp.IsJSON(), mt == "" && object, mt == "text/plain", mt == "text/json", mt == "text/javascript", mt == "application/javascript":
		var m members
		if err := wire.UnmarshalJSON(resp.Body, &m); err != nil {
			return nil, err
		}
		if m == nil {
			return nil, errors.New("it is null")
		}
		return m, nil
	case mt == "":
		return nil, errors.New("it has no media type")
	}
	return nil, errors.New("it is neither JSON nor a form; check the endpoint's URL")
}

func parseForm(body []byte) (members, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("it is a malformed form") // the cause holds a piece of the body
	}
	m := members{}
	for name, values := range form {
		if len(values) != 1 {
			return nil, errors.New("a name occurs twice")
		}
		m[name] = values[0]
	}
	return m, nil
}

// has reports whether name was sent with something in it.
func (m members) has(name string) bool { return m[name] != nil && m[name] != "" }

func (m members) text(name string) (string, bool) {
	s, ok := m[name].(string)
	return s, ok
}

// token reads a member of visible ASCII characters and spaces (appendix A.12, A.17). "" counts as not sent.
func (m members) token(name string) (wire.Secret, error) {
	if m[name] == nil {
		return wire.Secret{}, nil
	}
	s, ok := m.text(name)
	if !ok {
		return wire.Secret{}, fmt.Errorf("%s is no string", name)
	}
	if strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) >= 0 {
		return wire.Secret{}, fmt.Errorf("%s holds characters that a token cannot have", name)
	}
	return wire.NewSecret(s), nil
}

// response checks a success; want is the token type that the request was made for (S52).
func (m members) response(want string) (*TokenResponse, error) {
	r := &TokenResponse{TokenType: want}
	for name, to := range map[string]*wire.Secret{"access_token": &r.AccessToken, "refresh_token": &r.RefreshToken, "id_token": &r.IDToken} {
		var err error
		if *to, err = m.token(name); err != nil {
			return nil, err
		}
	}
	if r.AccessToken.IsZero() {
		return nil, errors.New("access_token is missing")
	}
	switch kind, _ := m.text("token_type"); {
	case kind == "":
		return nil, errors.New("token_type is missing")
	case strings.EqualFold(kind, want):
	case strings.EqualFold(kind, "Bearer"):
		return nil, errors.New("token_type is Bearer, though a token bound by DPoP was asked for")
	case strings.EqualFold(kind, "DPoP"):
		return nil, errors.New("token_type is DPoP, though no proof was sent; turn DPoP on")
	default:
		return nil, errors.New("token_type is unknown")
	}
	var err error
	if r.ExpiresIn, r.HasExpiry, err = m.lifetime("expires_in"); err != nil {
		return nil, err
	}
	if r.Scope, r.HasScope, err = m.scope("scope"); err != nil {
		return nil, err
	}
	r.Extra = map[string]any{}
	for name, value := range m {
		switch name {
		case "access_token", "refresh_token", "id_token", "token_type", "expires_in", "scope":
		default:
			r.Extra[name] = value
		}
	}
	return r, nil
}

// lifetime reads seconds as a number or a string, with or without a fraction: providers send all four (S53).
func (m members) lifetime(name string) (time.Duration, bool, error) {
	if !m.has(name) {
		return 0, false, nil
	}
	var seconds float64
	switch v := m[name].(type) {
	case float64:
		seconds = v
	case string:
		// A JSON number's grammar, so neither "inf" nor "0x10" nor "1_0" is one.
		if !json.Valid([]byte(v)) || strings.Trim(v, "+-.eE0123456789") != "" {
			return 0, false, fmt.Errorf("%s is no number", name)
		}
		seconds, _ = strconv.ParseFloat(v, 64) // out of range gives ±Inf, which is clamped
	default:
		return 0, false, fmt.Errorf("%s is no number", name)
	}
	seconds = math.Floor(min(max(seconds, 0), maxTokenLifetime.Seconds()))
	return time.Duration(seconds) * time.Second, true, nil
}

// scope reads a scope string; Twitch sends a list.
func (m members) scope(name string) (string, bool, error) {
	var s string
	switch v := m[name].(type) {
	case nil:
		return "", false, nil
	case string:
		s = v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			part, ok := v[i].(string)
			if !ok {
				return "", false, fmt.Errorf("%s is no string", name)
			}
			parts[i] = part
		}
		s = strings.Join(parts, " ")
	default:
		return "", false, fmt.Errorf("%s is no string", name)
	}
	if strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) >= 0 {
		return "", false, fmt.Errorf("%s holds characters that a scope cannot have", name)
	}
	return s, true, nil
}

// GrantedScopes returns the scopes that r grants: those asked for if it does not
// say (RFC 6749 §5.1). GitHub joins them with commas, which a scope may contain. So
// a text that was not asked for as it stands, while each of its parts was, is a list.
func (r *TokenResponse) GrantedScopes(asked []string) []string {
	if !r.HasScope {
		return slices.Clone(asked)
	}
	var scopes []string
	for _, s := range strings.Fields(r.Scope) {
		parts := strings.Split(s, ",")
		unasked := func(p string) bool { return !slices.Contains(asked, p) }
		if slices.Contains(asked, s) || slices.ContainsFunc(parts, unasked) {
			parts = []string{s}
		}
		scopes = append(scopes, parts...)
	}
	return scopes
}
