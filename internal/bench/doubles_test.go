package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is the response of a token endpoint with rotation.
func answer(life time.Duration) io.ReadCloser {
	return io.NopCloser(strings.NewReader(fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"token_type":"Bearer","expires_in":%d}`, rand.Text(), rand.Text(), int(life.Seconds()))))
}
