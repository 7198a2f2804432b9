package interop

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// User is authserver's scripted user, with an account at one of the real
// providers. It is enough for pages that need no scripts, and a hundred times
// faster than Chromium. The tests that are about a browser drive a real one
// (package browser).
type User struct {
	*authserver.User

	mu      sync.Mutex
	asked   []url.Values // the queries of all requests of the browser
	passed  int          // how often the password was sent
	leaving bool         // no password is sent
}

// NewUser returns a user in whose browser nobody is signed in.
func NewUser(issuer, name, password string) *User {
	u := &User{User: authserver.NewUser(issuer, name)}
	u.Password = password
	// These providers limit their cookies to paths.
	u.Client.Jar, _ = cookiejar.New(nil) // it never fails
	u.Client.Transport = u
	return u
}

// RoundTrip implements [http.RoundTripper]. It notes what the browser sends.
func (u *User) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := u.note(r, body); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(r)
}

// note remembers a request. It returns an error if the user does not send it.
func (u *User) note(r *http.Request, body []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if bytes.Contains(body, []byte("password")) { // as a form or as JSON
		if u.leaving {
			return errors.New("the user is leaving, and does not sign in again")
		}
		u.passed++
	}
	u.asked = append(u.asked, r.URL.Query())
	return nil
}

// Leave says whether the user is about to sign out, and so does not fill in a
// page that asks for the password.
func (u *User) Leave(leaving bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaving = leaving
}

// Requests returns the queries of all requests so far.
func (u *User) Requests() []url.Values {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]url.Values(nil), u.asked...)
}

// Answers returns the authorization responses that came back to programs so
// far.
func (u *User) Answers() (answers []url.Values) {
	for _, q := range u.Requests() {
		if q.Get("state") != "" && (q.Get("code") != "" || q.Get("error") != "") {
			answers = append(answers, q)
		}
	}
	return answers
}

// Typed returns how often the user typed the password so far.
func (u *User) Typed() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.passed
}
