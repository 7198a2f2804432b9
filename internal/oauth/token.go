// Requests tokens and checks the answer (RFC 6749 §4.1.4, §5.1 and §6).
//
// The answer is read strictly about what matters: one spelling of each member
// (S51), a token type that is the one that was requested, so that nobody
// downgrades a bound token (S52), and a sane lifetime (S53). Access tokens are
// opaque (S54). An error in an answer with status 200 is an error (S50).

package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// maxTokenLifetime replaces a larger expires_in. It keeps hostile numbers out
// of the arithmetic of dates; no access token lives that long.
const maxTokenLifetime = 10 * 365 * 24 * time.Hour

// RequestToken sends r to a token endpoint and returns the tokens.
//
// Errors: those of [Post]; an [*Error] if the server refuses; a
// [*ResponseError] if the answer claims success and fails a check. After a
// ResponseError, and after a fetch.Error with Sent, a code or refresh token may
// be spent.
func RequestToken(ctx context.Context, c *fetch.Client, r Request) (*TokenResponse, error) {
	return requestToken(ctx, c, r, func(members) error { return nil })
}

// requestToken is RequestToken, with a check of its own.
func requestToken(
	ctx context.Context, c *fetch.Client, r Request, check func(members) error,
) (*TokenResponse, error) {
	m, resp, err := answer(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if err := check(m); err != nil {
		return nil, &ResponseError{cause: err}
	}
	want := "Bearer"
	if r.Prove != nil {
		want = "DPoP"
	}
	t, err := m.response(want)
	if err != nil {
		rotated, _ := m.token("refresh_token")
		return nil, &ResponseError{RefreshToken: rotated, cause: err}
	}
	if !resp.IsJSON() && resp.MediaType() != "application/x-www-form-urlencoded" {
		t.Deviations = append(t.Deviations, "the media type is neither JSON nor a form")
	}
	if ahead, dated := aheadOf(resp.Header); dated {
		t.ClockOffset = ahead
	}
	return t, nil
}

// answer sends r and returns what a token endpoint answered, if that claims
// success.
func answer(ctx context.Context, c *fetch.Client, r Request) (members, *fetch.Response, error) {
	resp, err := r.send(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if resp.Status < 200 || resp.Status > 299 {
		return nil, nil, r.Refusal(resp)
	}
	m, err := parseResponse(resp)
	if err != nil {
		return nil, nil, &ResponseError{cause: err}
	}
	if m.has("error") { // GitHub and others refuse with a 200 (S50)
		return nil, nil, r.Refusal(resp)
	}
	return m, resp, nil
}

// ResponseError refuses a token response that claims success. It matches
// wire.ErrInvalidResponse. The message names the field at fault, never its
// value.
type ResponseError struct {
	// RefreshToken is the answer's own, if it could be read. A server that
	// rotates has ended the one that was sent. So this one is to be kept, even
	// though nothing else of the answer is (S59).
	RefreshToken wire.Secret
	cause        error
}

func (e *ResponseError) Error() string { return e.Unwrap().Error() }

// Unwrap returns an error that matches wire.ErrInvalidResponse.
func (e *ResponseError) Unwrap() error {
	return wire.Invalid("the token endpoint's answer is not usable: %w", e.cause)
}

// TokenResponse is a successful answer that passed every check (RFC 6749 §5.1).
// It does not print its tokens.
type TokenResponse struct {
	AccessToken  wire.Secret
	RefreshToken wire.Secret   // zero: none was sent
	IDToken      wire.Secret   // zero: none was sent; not verified
	TokenType    string        // "Bearer" or "DPoP", however it was written
	ExpiresIn    time.Duration // whole seconds, 0 to ten years
	HasExpiry    bool          // false: expires_in was not sent
	// RefreshExpiresIn is how long the refresh token lives, as the server says
	// outside of any specification. 0: it does not say, or makes no sense.
	RefreshExpiresIn time.Duration
	Scope            string
	HasScope         bool // false: scope was not sent, so every requested scope is granted (§5.1)
	// ClockOffset is how far the server's clock is ahead of this machine's, by the
	// answer's Date (RFC 9110 §6.6.1), to about a second. 0: there is no Date.
	ClockOffset time.Duration
	// Deviations say, for the log, how the answer differs from the
	// specification without being refused. They hold nothing of its values.
	Deviations []string
	// Extra holds every other member as encoding/json would. A form's are
	// strings. It may hold secrets of the provider's own making.
	Extra map[string]any
}

// Format implements [fmt.Formatter], because Extra may hold secrets.
func (r TokenResponse) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.text()) }

// LogValue implements [slog.LogValuer].
func (r TokenResponse) LogValue() slog.Value { return slog.StringValue(r.text()) }

func (r TokenResponse) text() string { return r.TokenType + " tokens " + wire.Redacted }

// members are an answer's, from JSON or from a form. A member that is null
// counts as not sent, because several providers write it like that.
type members map[string]any

// parseResponse reads JSON or a form, which GitHub sends by default. Careless
// servers give any media type to both, so the body decides. A page is neither:
// of HTML nothing is read, whatever is in it.
func parseResponse(resp *fetch.Response) (members, error) {
	mt, body := resp.MediaType(), jsonText(resp)
	switch {
	case isPage(resp):
		return nil, errors.New("it is a page; check the endpoint's URL")
	case bytes.HasPrefix(body, []byte("{")):
		var m members
		if err := wire.UnmarshalJSON(body, &m); err != nil {
			return nil, err
		}
		return m, nil
	case mt == "application/x-www-form-urlencoded", mt == "text/plain":
		return parseForm(body)
	}
	// Of another type it is a form only if it answers the question: any text
	// can be parsed as one.
	if m, err := parseForm(body); err == nil && (m.has("access_token") || m.has("error")) {
		return m, nil
	}
	return nil, errors.New("it is neither a JSON object nor a form; check the endpoint's URL")
}

// parseForm reads a form. A name that occurs twice is refused like a duplicate
// in JSON.
func parseForm(body []byte) (members, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("it is a malformed form") // err holds a piece of the body
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

// text returns a member that is a string.
func (m members) text(name string) (string, bool) {
	s, ok := m[name].(string)
	return s, ok
}

// token reads a member of visible ASCII characters and spaces (appendix A.12,
// A.17). "" counts as not sent. What the token holds is the server's business
// (S54).
func (m members) token(name string) (wire.Secret, error) {
	if m[name] == nil {
		return wire.Secret{}, nil
	}
	s, ok := m.text(name)
	if !ok {
		return wire.Secret{}, fmt.Errorf("%s is %s, not a string", name, wire.JSONKind(m[name]))
	}
	if !isVSCHAR(s) {
		return wire.Secret{}, fmt.Errorf("%s holds characters that a token cannot have", name)
	}
	return wire.NewSecret(s), nil
}

// response checks a success. want is the token type that the request was made
// for (S52).
func (m members) response(want string) (*TokenResponse, error) {
	r := &TokenResponse{TokenType: want}
	for name, to := range map[string]*wire.Secret{
		"access_token": &r.AccessToken, "refresh_token": &r.RefreshToken, "id_token": &r.IDToken,
	} {
		var err error
		if *to, err = m.token(name); err != nil {
			return nil, err
		}
	}
	if r.AccessToken.IsZero() {
		return nil, errors.New("access_token is missing")
	}
	if err := m.checkType(want); err != nil {
		return nil, err
	}
	if !m.has("token_type") {
		r.Deviations = append(r.Deviations, "token_type is missing; Bearer is assumed")
	}
	var err error
	if r.ExpiresIn, r.HasExpiry, err = m.lifetime("expires_in"); err != nil {
		return nil, err
	}
	if r.Scope, r.HasScope, err = m.scope("scope"); err != nil {
		return nil, err
	}
	for _, name := range []string{"refresh_token_expires_in", "refresh_expires_in"} { // Keycloak's
		if life, _, err := m.lifetime(name); err == nil && r.RefreshExpiresIn == 0 {
			r.RefreshExpiresIn = life
		}
	}
	r.Extra = maps.Clone(m)
	for _, name := range []string{
		"access_token", "refresh_token", "id_token", "token_type", "expires_in", "scope",
	} {
		delete(r.Extra, name)
	}
	return r, nil
}

// checkType checks token_type, which is case-insensitive. A token of another
// type would be sent in a manner that its server does not mean, or lose its
// binding to the key (S52). If it is missing (LinkedIn, VK), nothing is lost by
// Bearer, unless a bound token was asked for.
func (m members) checkType(want string) error {
	kind, isText := m.text("token_type")
	kind = strings.TrimSpace(kind)
	switch {
	case !m.has("token_type") && want == "Bearer":
	case !m.has("token_type"):
		return errors.New("token_type is missing, though a token bound by DPoP was asked for")
	case !isText:
		return fmt.Errorf("token_type is %s, not a string", wire.JSONKind(m["token_type"]))
	case strings.EqualFold(kind, want):
	case strings.EqualFold(kind, "Bearer"):
		return errors.New("token_type is Bearer, though a token bound by DPoP was asked for")
	case strings.EqualFold(kind, "DPoP"):
		return errors.New("token_type is DPoP, though no proof was sent; turn DPoP on")
	default:
		return unknownType(kind)
	}
	return nil
}

// unknownType names the type, unless it could be a token, which would be longer.
func unknownType(kind string) error {
	if kind = errorCode(kind, 20); kind == "" {
		return errors.New("token_type is unknown")
	}
	return fmt.Errorf("token_type is %q, which is unknown; report it to the provider", kind)
}

// lifetime reads seconds as a number or a string, with or without a fraction.
// Providers send all four (S53).
func (m members) lifetime(name string) (time.Duration, bool, error) {
	if !m.has(name) {
		return 0, false, nil
	}
	seconds, ok := number(m[name])
	if !ok {
		return 0, false, fmt.Errorf("%s is %s, not a number", name, wire.JSONKind(m[name]))
	}
	seconds = math.Floor(min(max(seconds, 0), maxTokenLifetime.Seconds()))
	return time.Duration(seconds) * time.Second, true, nil
}

// scope reads a scope string. Twitch sends a list.
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
		return "", false, fmt.Errorf("%s is %s, not a string", name, wire.JSONKind(v))
	}
	if !isNQSCHAR(s) {
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
