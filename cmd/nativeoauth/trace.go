package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// tracer is a RoundTripper that shows each request and response of a login as it
// happens. A trace is made to be shown to others, so every value is masked unless it
// is known to be harmless (S66). A masked value is also masked in the texts that a
// server may repeat it in. A tracer is safe for concurrent use.
type tracer struct {
	base    *http.Transport
	console *console // nil: the trace is not shown
	file    *os.File // receives JSON lines; nil: there is no file

	mu    sync.Mutex
	start time.Time // of the first event; zero: there was none
	count int       // of requests
	known []string  // the values that were masked so far, in each encoding, longest first
}

// traceEvent is one line of --trace-file.
type traceEvent struct {
	// Time is that of the line.
	Time time.Time `json:"time"`
	// Event is request, answer, failure, browser or step.
	Event string `json:"event"`
	// Number joins an answer or a failure to its request.
	Number int    `json:"number,omitempty"`
	Method string `json:"method,omitempty"`
	URL    string `json:"url,omitempty"`
	Status int    `json:"status,omitempty"`
	// DurationMS ends when the headers and up to 1 MiB of the body have come.
	DurationMS float64 `json:"duration_ms,omitempty"`
	// Header has only what matters to a login, see (*tracer).header.
	Header map[string][]string `json:"header,omitempty"`
	// Values are those of the body, or of the query that the browser gets.
	Values []traceValue `json:"values,omitempty"`
	// Text is the name of a step, or the error of a failure.
	Text string `json:"text,omitempty"`
}

// traceValue is a member of a form, a URL or a JSON object. A list keeps their order,
// which a map would not.
type traceValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const maxTraceBody = 1 << 20 // bytes; the SDK refuses longer bodies of a provider

// RoundTrip sends the request with base, and traces it and its response.
func (t *tracer) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.count++
	number := t.count
	t.mu.Unlock()
	t.tell(func() traceEvent {
		return traceEvent{
			Event: "request", Number: number, Method: req.Method, URL: t.url(req.URL),
			Header: t.header(req.Header), Values: t.request(req),
		}
	})
	began := time.Now()
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		took := ms(time.Since(began))
		t.tell(func() traceEvent {
			text := t.text(err.Error(), 300)
			return traceEvent{Event: "failure", Number: number, DurationMS: took, Text: text}
		})
		return nil, err
	}
	// The beginning of the body is read for the trace, and put back for the reader of
	// the response.
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxTraceBody))
	resp.Body = &replayed{io.MultiReader(bytes.NewReader(head), failing{err}, resp.Body), resp.Body}
	took := ms(time.Since(began))
	t.tell(func() traceEvent {
		return traceEvent{
			Event: "answer", Number: number, Status: resp.StatusCode, DurationMS: took,
			Header: t.header(resp.Header), Values: t.body(resp.Header, head),
		}
	})
	return resp, nil
}

// replayed is a body with a beginning that was read before.
type replayed struct {
	io.Reader
	body io.Closer
}

// Close closes the body of the response.
func (r *replayed) Close() error { return r.body.Close() }

// failing is a reader that returns the error of the earlier read.
type failing struct{ err error }

// Read returns io.EOF if the earlier read met no error, so that the rest follows.
func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// ms returns d in milliseconds, to a hundredth.
func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// browser traces the authorization URL, which the user's browser opens.
func (t *tracer) browser(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	t.tell(func() traceEvent {
		return traceEvent{
			Event:  "browser",
			URL:    t.url(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}),
			Values: t.form(u.Query()),
		}
	})
}

// step traces a step of the login.
func (t *tracer) step(name string) {
	t.tell(func() traceEvent { return traceEvent{Event: "step", Text: name} })
}

// tell writes the event that see returns. It calls see twice: a value that the first
// call masks is then masked in every other text of the same event.
func (t *tracer) tell(see func() traceEvent) {
	see() // for what it masks
	e := see()
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Time = time.Now()
	if t.start.IsZero() {
		t.start = e.Time
	}
	if t.file != nil {
		_ = json.NewEncoder(t.file).Encode(e) // a full disk is no reason to end a login
	}
	if t.console != nil {
		t.show(e)
	}
}

// show writes an event for a user.
func (t *tracer) show(e traceEvent) {
	at := fmt.Sprintf("%7.3fs ", e.Time.Sub(t.start).Seconds())
	const indent = "            "
	switch e.Event {
	case "request":
		t.console.say("%s → %s %s", at, t.console.bold(e.Method), e.URL)
	case "answer":
		status := fmt.Sprint(e.Status) + " " + http.StatusText(e.Status)
		t.console.say("%s ← %s  %.2f ms", at, t.console.bold(status), e.DurationMS)
	case "failure":
		t.console.say("%s ✗ %s  %.2f ms", at, e.Text, e.DurationMS)
	case "browser":
		t.console.say("%s ⇒ the browser, to %s", at, e.URL)
	case "step":
		t.console.say("%s   %s", at, t.console.dim(e.Text))
	}
	var lines []traceValue
	for _, name := range []string{
		"Authorization", "Dpop", "Dpop-Nonce", "Www-Authenticate", "Location", "Retry-After",
		"Content-Type",
	} {
		for _, v := range e.Header[name] {
			lines = append(lines, traceValue{name + ":", v})
		}
	}
	for _, v := range e.Values {
		lines = append(lines, traceValue{v.Name + " =", v.Value})
	}
	for _, v := range lines {
		width := max(40, t.console.width()-len(indent))
		t.console.say("%s%s", indent, wire.SafeText(v.Name+" "+v.Value, width))
	}
}

// harmless names the members of forms, URLs and JSON that have no secret value. All
// others are masked. A new parameter is thus masked until it is added here.
var harmless = []string{
	"grant_type", "response_type", "response_mode", "client_id", "redirect_uri", "scope",
	"resource", "audience", "code_challenge_method", "token_type", "expires_in", "interval", "token_type_hint",
	"prompt", "max_age", "acr_values", "display", "ui_locales", "access_type", "error",
	"error_description", "iss", "issuer", "jwks_uri", "verification_uri", "active", "client_name",
	"application_type", "subject_type", "op_policy_uri", "op_tos_uri", "service_documentation",
	"refresh_expires_in", "ext_expires_in",
}

// mask returns the value of a harmless member, and else masks it. The metadata of a
// provider (RFC 8414) are public.
func (t *tracer) mask(name, value string) string {
	metadata := strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_supported")
	if metadata || slices.Contains(harmless, name) {
		return t.text(value, 300)
	}
	return t.masked(value)
}

// masked returns the length of a value in place of it, and remembers the value.
func (t *tracer) masked(value string) string {
	if value == "" {
		return ""
	}
	if len(value) >= 6 { // a shorter one is not a secret, and could be part of any word
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, v := range []string{value, url.QueryEscape(value), url.PathEscape(value)} {
			if !slices.Contains(t.known, v) {
				t.known = append(t.known, v)
			}
		}
		// A value may be part of another: the longest is replaced first. Not
		// slices.SortFunc, which would be compiled once more for strings: 10 kB.
		sort.Slice(t.known, func(i, j int) bool { return len(t.known[i]) > len(t.known[j]) })
	}
	return fmt.Sprintf("[masked, %d characters]", len(value))
}

// credentials masks the credentials of an Authorization header. Those of Basic
// contain the client secret, which is remembered by itself too.
func (t *tracer) credentials(value string) string {
	if pair, err := base64.StdEncoding.DecodeString(value); err == nil {
		_, secret, _ := strings.Cut(string(pair), ":")
		t.masked(secret)
		if plain, err := url.QueryUnescape(secret); err == nil {
			t.masked(plain)
		}
	}
	return t.masked(value)
}

// text is wire.SafeText for a text that a server may have composed. It also masks
// what was masked elsewhere.
func (t *tracer) text(text string, max int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, value := range t.known {
		text = strings.ReplaceAll(text, value, "[masked]")
	}
	return wire.SafeText(text, max)
}

// url returns a URL with the values of its parameters masked.
func (t *tracer) url(u *url.URL) string {
	out := t.text(u.Scheme+"://"+u.Host+u.EscapedPath(), 500)
	if values := t.form(u.Query()); len(values) > 0 {
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = v.Name + "=" + v.Value
		}
		out += "?" + strings.Join(parts, "&")
	}
	return out
}

// header returns the headers that matter to a login, with secrets masked.
func (t *tracer) header(h http.Header) map[string][]string {
	out := map[string][]string{}
	for name, values := range h {
		for _, v := range values {
			switch name {
			// Any other header is left out, and those with a credential are masked.
			case "Content-Type", "Accept", "Cache-Control", "Retry-After", "Www-Authenticate",
				"Date":
				v = t.text(v, 300)
			case "Authorization":
				scheme, rest, _ := strings.Cut(v, " ")
				v = t.text(scheme, 20) + " " + t.credentials(rest)
			case "Location":
				// A redirect of the provider may have the code in its URL.
				u, err := url.Parse(v)
				if err != nil {
					v = t.masked(v)
					break
				}
				v = t.url(u)
			case "Dpop", "Dpop-Nonce", "Cookie", "Set-Cookie":
				v = t.masked(v)
			default:
				continue
			}
			out[name] = append(out[name], v)
		}
	}
	return out
}

// request returns the members of a request's body. It reads a copy of the body.
func (t *tracer) request(req *http.Request) []traceValue {
	if req.GetBody == nil { // no body, or one that can be read only once
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxTraceBody))
	if err != nil {
		return nil
	}
	return t.body(req.Header, data)
}

// body returns the members of a form or of a JSON object, with secrets masked. Of any
// other body it returns the size.
func (t *tracer) body(h http.Header, data []byte) []traceValue {
	if len(data) == 0 {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(data)); err == nil {
			return t.form(form)
		}
	}
	if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		var object map[string]any
		if wire.UnmarshalJSON(data, &object) == nil {
			return t.json(object)
		}
	}
	return []traceValue{{"body", fmt.Sprintf("[%d bytes]", len(data))}}
}

// form returns the members of a form or of a URL's query.
func (t *tracer) form(form url.Values) []traceValue {
	var out []traceValue
	for name, values := range form {
		for _, v := range values {
			out = append(out, traceValue{t.text(name, 60), t.mask(name, v)})
		}
	}
	sortValues(out)
	return out
}

// json returns the members of an object. Lists and objects in it are only counted,
// except for the lists of a provider's metadata.
func (t *tracer) json(object map[string]any) []traceValue {
	var out []traceValue
	for name, v := range object {
		text := ""
		switch v := v.(type) {
		case nil:
			text = "null"
		case string:
			text = t.mask(name, v)
		case bool:
			text = fmt.Sprint(v)
		case []any:
			text = fmt.Sprintf("[%d entries]", len(v))
			if strings.HasSuffix(name, "_supported") {
				var words []string
				for _, e := range v {
					words = append(words, fmt.Sprint(e))
				}
				text = t.text(strings.Join(words, " "), 300)
			}
		case map[string]any:
			text = fmt.Sprintf("{%d members}", len(v))
		default: // a number
			text = t.mask(name, fmt.Sprint(v))
		}
		out = append(out, traceValue{t.text(name, 60), text})
	}
	sortValues(out)
	return out
}

// sortValues sorts by name, so that two traces can be compared.
func sortValues(values []traceValue) {
	sort.Slice(values, func(i, j int) bool { return values[i].Name < values[j].Name })
}

// close closes the trace file. The tracer must not be used afterwards.
func (t *tracer) close() {
	t.base.CloseIdleConnections()
	if t.file == nil {
		return
	}
	if err := t.file.Close(); err != nil && t.console != nil {
		t.console.warn("the trace file may be incomplete: %v", err)
	}
}
