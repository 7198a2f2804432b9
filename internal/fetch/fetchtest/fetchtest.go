// Package fetchtest serves a [fetch.Client] from a handler in memory, as net/http/httptest does a network one. It works in a
// testing/synctest bubble. What it cannot show (TLS, resets, compression by the transport) is tested in package fetch itself.
package fetchtest

import (
	"net/http"
	"net/http/httptest"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// Client returns a client whose every request is answered by h.
func Client(h http.HandlerFunc) *fetch.Client {
	return &fetch.Client{Transport: transport(h)}
}

// JSON returns a client whose every answer is body as application/json with the given status.
func JSON(status int, body string) *fetch.Client { return Body(status, "application/json", body) }

// Body is JSON with a media type; "": none.
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
