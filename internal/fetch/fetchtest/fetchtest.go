// Package fetchtest serves a [fetch.Client] from a handler in memory. Unlike a
// server of net/http/httptest it needs no socket, so it works in a
// testing/synctest bubble. TLS, resets, and compression by the transport do not
// exist here; package fetch tests them itself.
package fetchtest

import (
	"net/http"
	"net/http/httptest"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// Client returns a client that gets every answer from h.
func Client(h http.HandlerFunc) *fetch.Client {
	return &fetch.Client{Transport: transport(h)}
}

// JSON returns a client that gets body as application/json for every request,
// with the given status.
func JSON(status int, body string) *fetch.Client { return Body(status, "application/json", body) }

// Body is JSON with another media type; "" means none.
func Body(status int, mediaType, body string) *fetch.Client {
	return Client(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // no sniffing
		if mediaType != "" {
			w.Header().Set("Content-Type", mediaType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// transport honours the request's context as a network's transport does.
type transport http.HandlerFunc

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t(w, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}
