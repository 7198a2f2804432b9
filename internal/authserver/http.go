package authserver

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxBody  = 64 << 10
	maxQuery = 16 << 10
	maxParam = 8 << 10
)

// gate counts an endpoint's requests and lets a test hold them up.
type gate struct {
	next     http.Handler
	requests atomic.Int64
	delay    atomic.Int64
	held     atomic.Pointer[chan struct{}]
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.requests.Add(1)
	if held := g.held.Load(); held != nil {
		select {
		case <-*held:
		case <-r.Context().Done():
			return
		}
	}
	if d := time.Duration(g.delay.Load()); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

// refusal is an error that is answered with (RFC 6749 §4.1.2.1, §5.2). nil is none.
type refusal struct {
	status      int
	code        string
	description string
	basic       bool // answer with a Basic challenge (RFC 6749 §5.2)
}

func refuse(code, description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: code, description: description}
}

func invalidRequest(description string) *refusal { return refuse("invalid_request", description) }
func invalidGrant(description string) *refusal   { return refuse("invalid_grant", description) }

// answerRefusal is the refusal of every endpoint that a program calls.
func answerRefusal(w http.ResponseWriter, e *refusal) {
	if e.basic {
		w.Header().Set("WWW-Authenticate", `Basic realm="authserver", charset="UTF-8"`)
	}
	answer(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}

// answer sends JSON that nobody may keep.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// allow answers 405 unless r's method is one of methods.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "this endpoint takes "+strings.Join(methods, " or "), http.StatusMethodNotAllowed)
	return false
}

// readForm reads the parameters of a POST. Those in the URL do not count, they are refused: a URL ends up in logs (S55).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	if r.URL.RawQuery != "" {
		return nil, invalidRequest("parameters belong in the body, not in the URL")
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/x-www-form-urlencoded" {
		return nil, invalidRequest("the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, invalidRequest("the body cannot be read, or is too large")
	}
	return parseParams(string(body))
}

// readQuery reads the parameters of a GET.
func readQuery(r *http.Request) (url.Values, *refusal) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, invalidRequest("the URL is too long")
	}
	return parseParams(r.URL.RawQuery)
}

// parseParams reads parameters strictly: each once (RFC 6749 §3.1), but for resource (RFC 8707 §2); one without a value
// counts as left out.
func parseParams(raw string) (url.Values, *refusal) {
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
