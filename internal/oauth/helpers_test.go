package oauth_test

import (
	"errors"
	"net/http"
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
