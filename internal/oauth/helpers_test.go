package oauth_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// unreachable is a network that is down.
func unreachable() http.RoundTripper {
	return roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("down") })
}

// oneAnswer is a transport that gives one answer and keeps the requests. ctype ""
// means JSON.
type oneAnswer struct {
	status      int
	ctype, body string

	bodies [][]byte
	header http.Header // of the latest request
}

func (a *oneAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.bodies, a.header = append(a.bodies, b), r.Header
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", cmp.Or(a.ctype, "application/json"))
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	return w.Result(), nil
}

// form returns the body of request n as a form.
func (a *oneAnswer) form(n int) url.Values {
	form, _ := url.ParseQuery(string(a.bodies[n]))
	return form
}

// object returns the body of the latest request as a JSON object.
func (a *oneAnswer) object() (m map[string]any) {
	_ = json.Unmarshal(a.bodies[len(a.bodies)-1], &m)
	return m
}
