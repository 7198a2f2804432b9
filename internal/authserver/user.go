package authserver

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// User plays a user with a browser. The browser follows redirects, keeps
// cookies, sends the headers of a navigation, and fills in the forms of sign-in
// pages. It runs no scripts.
//
// oauthtest, the command's demo and the interoperability tests all sign in with
// it, at this server and at others. A User is safe for concurrent use if Script
// is, and if its fields no longer change.
type User struct {
	// Name is typed into sign-in forms, and Password if a form has a field for
	// one. With Name "" the User signs in at servers with an AutoUser only: it
	// leaves a form alone that has anything to decide.
	Name, Password string
	// Deny makes the User press the button that denies instead of the one that
	// allows.
	Deny bool
	// Client is the browser. Its Jar keeps the cookies of one provider only.
	Client http.Client
	// Script, if not nil, does what the JavaScript of a page would do. It
	// returns the address that the page goes on to, or "" to leave the page to
	// the User.
	Script func(ctx context.Context, page *url.URL) (next string, err error)

	provider string // the issuer's origin
}

// NewUser returns a user of the provider with this issuer. Their browser has no
// cookies yet.
func NewUser(issuer, name string) *User {
	u := &User{Name: name, provider: origin(issuer)}
	u.Client.Jar = &cookies{kept: map[string]*http.Cookie{}}
	u.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return u
}

// maxSteps bounds the pages and redirects of one sign-in. Real providers need
// up to ten.
const maxSteps = 20

var errTooManySteps = errors.New("too many redirects")

// Answer is the authorization response on its way back to the program.
type Answer struct {
	// URL is the redirect URI. It has the parameters of the response, except in
	// form_post mode.
	URL  string
	form url.Values // of a POST; nil for a GET
	from string     // the origin of the page that led here
	user *User
}

// Visit opens address: the page that a login opens, or one of the provider's.
// It goes on until the provider sends the browser back to the program.
//
// It does not yet deliver this answer, because the program holds that request
// until the login is over; [Answer.Deliver] does. A visit that begins at the
// provider and ends on a page there returns a nil Answer and no error.
func (u *User) Visit(ctx context.Context, address string) (*Answer, error) {
	at := &Answer{URL: address, user: u}
	for range maxSteps {
		next, status, err := at.follow(ctx)
		switch {
		case next == nil && !failed(status) && origin(address) == u.provider:
			return nil, nil
		case next == nil:
			return nil, err
		case origin(next.URL) != u.provider:
			return next, nil
		}
		at = next
	}
	return nil, errTooManySteps
}

// Deliver sends the answer to the program and follows it to its closing page.
// It returns an error if that page is one of an error. A nil Answer does
// nothing.
func (a *Answer) Deliver(ctx context.Context) error {
	for range maxSteps {
		if a == nil {
			return nil
		}
		next, status, err := a.follow(ctx)
		if next == nil && failed(status) {
			return err
		}
		a = next
	}
	return errTooManySteps
}

// SignIn does Visit and Deliver.
func (u *User) SignIn(ctx context.Context, address string) error {
	answer, err := u.Visit(ctx, address)
	if err != nil {
		return err
	}
	return answer.Deliver(ctx)
}

// failed reports whether a status of follow's is an error.
func failed(status int) bool { return status == 0 || status >= http.StatusBadRequest }

// stayed describes the page on which a visit ended. It quotes one of this
// server's pages.
func stayed(status int, page string) error {
	heading, rest := between(page, "<h1>", "</h1>")
	text, _ := between(rest, "<p>", "</p>")
	return fmt.Errorf("the browser stayed on a page, with status %d: %s",
		status, html.UnescapeString(heading+": "+text))
}

// origin returns the origin of an address, or "" if it is no URL.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return wire.Origin(u)
}

// between returns the text between before and the next after, and the rest.
// Both are "" if text does not contain before.
func between(text, before, after string) (inner, rest string) {
	_, text, _ = strings.Cut(text, before)
	inner, rest, _ = strings.Cut(text, after)
	return inner, rest
}

// follow loads a's URL and returns where the response leads. If it leads
// nowhere, next is nil and err describes the page. status is 0 if there is no
// response.
func (a *Answer) follow(ctx context.Context) (next *Answer, status int, err error) {
	req, err := a.request(ctx)
	if err != nil {
		return nil, 0, err
	}
	resp, err := a.user.Client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, 0, err
	}
	next = &Answer{user: a.user, from: wire.Origin(req.URL)}
	location, err := resp.Location()
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
	case err == nil:
		next.URL = location.String()
		return next, resp.StatusCode, nil
	case a.user.Script != nil:
		if next.URL, err = a.user.Script(ctx, req.URL); err != nil {
			return nil, 0, err
		}
		if next.URL != "" {
			return next, resp.StatusCode, nil
		}
		fallthrough
	default:
		action, form, ok := a.user.fill(string(body))
		if to, err := req.URL.Parse(action); ok && err == nil {
			next.URL, next.form = to.String(), form
			return next, resp.StatusCode, nil
		}
	}
	return nil, resp.StatusCode, stayed(resp.StatusCode, string(body))
}

// request returns the request that a browser would send: servers check the
// headers that tell a navigation from a script's request.
func (a *Answer) request(ctx context.Context) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if a.form != nil {
		method, body = http.MethodPost, strings.NewReader(a.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, a.URL, body)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{
		"Accept":          {"text/html,application/xhtml+xml,*/*;q=0.8"},
		"Accept-Language": {"en"},
		"Sec-Fetch-Dest":  {"document"},
		"Sec-Fetch-Mode":  {"navigate"},
		"Sec-Fetch-Site":  {"none"},
		"Sec-Fetch-User":  {"?1"},
	}
	if a.form != nil {
		// A form that sends itself to another site does so without a click, and
		// under the pages' Referrer-Policy without its origin.
		site, origin := "same-origin", a.from
		if a.from != wire.Origin(req.URL) {
			site, origin = "cross-site", "null"
			req.Header.Del("Sec-Fetch-User")
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", site)
		req.Header.Set("Origin", origin)
	}
	return req, nil
}

// fill fills in a page's form. ok is false if the page has none that is posted,
// or if the form has something to decide and there is no Name. All fields of
// the page count: a sign-in page has one form, and some providers put its
// buttons outside of it.
func (u *User) fill(page string) (action string, form url.Values, ok bool) {
	// Compiled here, because the command should not pay for it at each start.
	tags := regexp.MustCompile(`(?is)<(form|input|button)\b([^>]*)>`)
	buttons := []string{"allow", "confirm"} // as on this server's pages, and on better-auth's
	if u.Deny {
		buttons = []string{"deny"}
	}
	form = url.Values{}
	for _, tag := range tags.FindAllStringSubmatch(page, -1) {
		attr := attributes(tag[2])
		name := attr["name"]
		switch kind := strings.ToLower(tag[1]); {
		case kind == "form":
			action, ok = attr["action"], strings.EqualFold(attr["method"], "post")
		case name == "":
		case u.Name == "" && attr["type"] != "hidden":
			return "", nil, false
		case attr["type"] == "password":
			form.Set(name, u.Password)
		case name == "login" || name == "username" || name == "user":
			form.Set(name, u.Name)
		case kind == "input" || slices.Contains(buttons, attr["value"]):
			form.Set(name, attr["value"])
		}
	}
	return action, form, ok
}

// attributes returns the attributes of an HTML tag, with their names in lower
// case.
func attributes(tag string) map[string]string {
	found := map[string]string{}
	attribute := regexp.MustCompile(`(?is)\b([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))`)
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		found[strings.ToLower(m[1])] = html.UnescapeString(m[2] + m[3] + m[4])
	}
	return found
}

// cookies keeps the cookies of one provider, by name. net/http/cookiejar would
// add 60 kB to the command.
type cookies struct {
	mu   sync.Mutex
	kept map[string]*http.Cookie
}

// SetCookies implements [http.CookieJar].
func (c *cookies) SetCookies(_ *url.URL, set []*http.Cookie) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cookie := range set {
		c.kept[cookie.Name] = cookie
		if cookie.MaxAge < 0 {
			delete(c.kept, cookie.Name)
		}
	}
}

// Cookies implements [http.CookieJar].
func (c *cookies) Cookies(*url.URL) []*http.Cookie {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.kept))
}
