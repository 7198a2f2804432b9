package authserver

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of what one request may send. A legitimate request needs a fraction.
const (
	maxBody  = 64 << 10 // bytes of a body
	maxQuery = 16 << 10 // bytes of a URL's query
	maxParam = 8 << 10  // bytes of one parameter, and of a DPoP proof
)

// endpoint is one of the server's endpoints: what its requests have in common,
// and the function that answers them. It counts the requests and lets a test
// hold them up.
type endpoint struct {
	methods []string
	input   input
	handle  handler

	next     http.Handler // adapt, or what Config.Misbehave made of it
	requests atomic.Int64
	delay    atomic.Int64 // nanoseconds
	held     atomic.Pointer[chan struct{}]
}

// input says what the adapter reads of a request before it calls the handler.
type input int

const (
	// unread means that the handler reads the request.
	unread input = iota
	// fromBrowser means the form of a POST or the query of a GET. Errors are
	// pages for the user.
	fromBrowser
	// fromClient means a form by a client, which authenticates itself. Errors
	// are JSON, as with unread.
	fromClient
)

// handler answers the requests of one endpoint. It returns a reply or an error.
type handler func(*request) (*reply, *oauthError)

// request is a request as a handler gets it.
type request struct {
	*http.Request
	params url.Values
	client *Client     // the authenticated client; nil unless input is fromClient
	header http.Header // of the response, for what is sent with any reply: cookies, nonces
}

// reply is a whole response. No reply may be cached.
type reply struct {
	status int
	header http.Header // keys in canonical form
	body   []byte
}

// send writes the reply. Headers that the handler set before stay.
func (a *reply) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// oauthError is an error response (RFC 6749 §4.1.2.1, §5.2). nil means that
// there was no error, so functions return *oauthError and never an error that
// holds a nil one.
type oauthError struct {
	status      int
	code        string
	description string
	challenge   string // the WWW-Authenticate header; "" for none
}

// fail returns an error with status 400.
func fail(code, description string) *oauthError {
	return &oauthError{http.StatusBadRequest, code, description, ""}
}

func invalidRequest(description string) *oauthError { return fail("invalid_request", description) }
func invalidGrant(description string) *oauthError   { return fail("invalid_grant", description) }

// serverError returns an error of this server's own.
func serverError(description string) *oauthError {
	return &oauthError{http.StatusInternalServerError, "server_error", description, ""}
}

// ServeHTTP counts the request, waits as long as a test demands, and answers.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.requests.Add(1)
	if held := e.held.Load(); held != nil {
		select {
		case <-*held:
		case <-r.Context().Done():
			return
		}
	}
	if d := time.Duration(e.delay.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
	}
	e.next.ServeHTTP(w, r)
}

// adapt does what all endpoints have in common: it checks the method, reads the
// request, calls the handler and sends what it returns.
func (s *Server) adapt(e *endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(e.methods, r.Method) {
			w.Header().Set("Allow", strings.Join(e.methods, ", "))
			text := "this endpoint takes " + strings.Join(e.methods, " or ")
			http.Error(w, text, http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		req := &request{Request: r, header: w.Header()}
		failed := s.read(e.input, req)
		var out *reply
		if failed == nil {
			out, failed = e.handle(req)
		}
		switch {
		case failed == nil:
		case e.input == fromBrowser:
			out = s.failurePage(failed)
		default:
			out = failed.reply()
		}
		out.send(w)
	})
}

// reply is the error response of an endpoint that a program calls.
func (e *oauthError) reply() *reply {
	out, _ := jsonReply(e.status, map[string]string{
		"error": e.code, "error_description": e.description,
	})
	if e.challenge != "" {
		out.header["Www-Authenticate"] = []string{e.challenge}
	}
	return out
}

// jsonReply answers with v as JSON.
func jsonReply(status int, v any) (*reply, *oauthError) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, serverError("the answer cannot be written as JSON")
	}
	return &reply{status, http.Header{"Content-Type": {"application/json"}}, body}, nil
}

// redirect sends the browser to location.
func redirect(status int, location string) *reply {
	return &reply{status, http.Header{"Location": {location}}, []byte("Back to the program.\n")}
}

// withQuery appends parameters to a redirect URI. It must not parse the URI:
// the client compares what it gets with what it registered.
func withQuery(uri string, params url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + params.Encode()
}

// read reads what an endpoint's input says.
func (s *Server) read(in input, r *request) (e *oauthError) {
	switch {
	case in == unread:
		return nil
	case r.Method == http.MethodPost:
		r.params, e = readForm(r.Request)
	case len(r.URL.RawQuery) > maxQuery:
		e = invalidRequest("the URL is too long")
	default:
		r.params, e = parseParams(r.URL.RawQuery)
	}
	if e == nil && in == fromClient {
		r.client, e = s.authenticate(r.Request, r.params)
	}
	return e
}

// readForm reads the parameters of a POST. A POST with parameters in its URL is
// rejected: URLs end up in logs (S55).
func readForm(r *http.Request) (url.Values, *oauthError) {
	if r.URL.RawQuery != "" {
		return nil, invalidRequest("parameters belong in the body, not in the URL")
	}
	if !hasMediaType(r, "application/x-www-form-urlencoded") {
		return nil, invalidRequest("the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, invalidRequest("the body cannot be read, or is too large")
	}
	return parseParams(string(body))
}

// hasMediaType reports whether the body has this type, whatever its parameters.
func hasMediaType(r *http.Request, want string) bool {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && mt == want
}

// parseParams reads parameters strictly. Each may occur once (RFC 6749 §3.1),
// except resource (RFC 8707 §2). A parameter without a value counts as left
// out.
func parseParams(raw string) (url.Values, *oauthError) {
	all, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalidRequest("the parameters are malformed")
	}
	for name, values := range all {
		if len(values) > 1 && name != "resource" {
			return nil, invalidRequest("a parameter is repeated")
		}
		for _, v := range values {
			if len(v) > maxParam {
				return nil, invalidRequest("a parameter is too long")
			}
		}
		if len(values) == 1 && values[0] == "" {
			delete(all, name)
		}
	}
	return all, nil
}

// missing returns the error of the first parameter that is not there.
func missing(p url.Values, names ...string) *oauthError {
	for _, name := range names {
		if !p.Has(name) {
			return invalidRequest(name + " is missing")
		}
	}
	return nil
}
