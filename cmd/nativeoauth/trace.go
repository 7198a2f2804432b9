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

// tracer is a RoundTripper that tells each request and answer of a flow as it happens. What is not known to be harmless is masked, also where a server
// repeats it among what is: a trace is made to be shown to others.
type tracer struct {
	base    *http.Transport
	console *console // nil: not told there
	file    *os.File // nil: none; JSON lines

	mu    sync.Mutex
	start time.Time
	count int
	known []string // what was masked so far, in each spelling
}

// traceEvent is one line of --trace-file.
type traceEvent struct {
	Time       time.Time           `json:"time"`
	Event      string              `json:"event"` // request, answer, failure, browser, step
	Number     int                 `json:"number,omitempty"`
	Method     string              `json:"method,omitempty"`
	URL        string              `json:"url,omitempty"`
	Status     int                 `json:"status,omitempty"`
	DurationMS float64             `json:"duration_ms,omitempty"`
	Header     map[string][]string `json:"header,omitempty"`
	Values     []traceValue        `json:"values,omitempty"`
	Text       string              `json:"text,omitempty"`
}

type traceValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const maxTraceBody = 1 << 20

func (t *tracer) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.count++
	number := t.count
	t.mu.Unlock()
	t.tell(func() traceEvent {
		return traceEvent{Event: "request", Number: number, Method: req.Method, URL: t.url(req.URL), Header: t.header(req.Header), Values: t.request(req)}
	})
	began := time.Now()
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		took := ms(time.Since(began))
		t.tell(func() traceEvent {
			return traceEvent{Event: "failure", Number: number, DurationMS: took, Text: t.text(err.Error(), 300)}
		})
		return nil, err
	}
	// The beginning of the body is looked at, and put back.
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxTraceBody))
	resp.Body = &replayed{io.MultiReader(bytes.NewReader(head), failing{err}, resp.Body), resp.Body}
	took := ms(time.Since(began))
	t.tell(func() traceEvent {
		return traceEvent{Event: "answer", Number: number, Status: resp.StatusCode, DurationMS: took, Header: t.header(resp.Header), Values: t.body(resp.Header, head)}
	})
	return resp, nil
}

// replayed is a body of which a part was read ahead.
type replayed struct {
	io.Reader
	body io.Closer
}

func (r *replayed) Close() error { return r.body.Close() }

// failing ends a body with the error that reading ahead met.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// browser tells what the person's browser is sent to.
func (t *tracer) browser(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	t.tell(func() traceEvent {
		return traceEvent{Event: "browser", URL: t.url(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}), Values: t.form(u.Query())}
	})
}

func (t *tracer) step(name string) {
	t.tell(func() traceEvent { return traceEvent{Event: "step", Text: name} })
}

// tell writes what see returns. It is asked twice: what it masks the first time is masked the second time wherever it is repeated.
func (t *tracer) tell(see func() traceEvent) {
	see()
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
	if t.console == nil {
		return
	}
	at := fmt.Sprintf("%7.3fs ", e.Time.Sub(t.start).Seconds())
	const indent = "            "
	switch e.Event {
	case "request":
		t.console.say("%s → %s %s", at, t.console.bold(e.Method), e.URL)
	case "answer":
		t.console.say("%s ← %s  %.2f ms", at, t.console.bold(fmt.Sprint(e.Status)+" "+http.StatusText(e.Status)), e.DurationMS)
	case "failure":
		t.console.say("%s ✗ %s  %.2f ms", at, e.Text, e.DurationMS)
	case "browser":
		t.console.say("%s ⇒ the browser, to %s", at, e.URL)
	case "step":
		t.console.say("%s   %s", at, t.console.dim(e.Text))
	}
	var lines []traceValue
	for _, name := range []string{"Authorization", "Dpop", "Dpop-Nonce", "Www-Authenticate", "Location", "Retry-After", "Content-Type"} {
		for _, v := range e.Header[name] {
			lines = append(lines, traceValue{name + ":", v})
		}
	}
	for _, v := range e.Values {
		lines = append(lines, traceValue{v.Name + " =", v.Value})
	}
	for _, v := range lines {
		t.console.say("%s%s", indent, wire.SafeText(v.Name+" "+v.Value, max(40, t.console.width()-len(indent))))
	}
}

// Values that say nothing secret, in forms, URLs and JSON. All others are masked.
var harmless = []string{
	"grant_type", "response_type", "response_mode", "client_id", "redirect_uri", "scope", "resource", "audience", "code_challenge_method",
	"token_type", "expires_in", "interval", "token_type_hint", "prompt", "max_age", "acr_values", "display", "ui_locales", "access_type",
	"error", "error_description", "iss", "issuer", "jwks_uri", "verification_uri", "active",
	"client_name", "application_type", "subject_type", "op_policy_uri", "op_tos_uri", "service_documentation", "refresh_expires_in", "ext_expires_in",
}

func (t *tracer) mask(name, value string) string {
	if slices.Contains(harmless, name) || strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_supported") {
		return t.text(value, 300)
	}
	return t.masked(value)
}

// masked says how long a value is, and remembers it.
func (t *tracer) masked(value string) string {
	if value == "" {
		return ""
	}
	if len(value) >= 6 { // a shorter one is no secret, and may stand in any text
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, v := range []string{value, url.QueryEscape(value), url.PathEscape(value)} {
			if !slices.Contains(t.known, v) {
				t.known = append(t.known, v)
			}
		}
		slices.SortFunc(t.known, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	}
	return fmt.Sprintf("[masked, %d characters]", len(value))
}

// credentials masks those of an Authorization header: under Basic, the client secret is in them once more.
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

// text is wire.SafeText of what a server may have put together: what was masked elsewhere is masked in it too.
func (t *tracer) text(text string, max int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, value := range t.known {
		text = strings.ReplaceAll(text, value, "[masked]")
	}
	return wire.SafeText(text, max)
}

// url shows the place, the names of the parameters, and what is harmless of them.
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

// header keeps the headers that matter to a flow.
func (t *tracer) header(h http.Header) map[string][]string {
	out := map[string][]string{}
	for name, values := range h {
		for _, v := range values {
			switch name {
			case "Content-Type", "Accept", "Cache-Control", "Retry-After", "Www-Authenticate", "Date":
				v = t.text(v, 300)
			case "Authorization":
				scheme, rest, _ := strings.Cut(v, " ")
				v = t.text(scheme, 20) + " " + t.credentials(rest)
			case "Location":
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

func (t *tracer) request(req *http.Request) []traceValue {
	if req.GetBody == nil {
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

// body are the names and masked values of a form or a JSON object; of anything else, its size.
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

func sortValues(values []traceValue) {
	sort.Slice(values, func(i, j int) bool { return values[i].Name < values[j].Name })
}

func (t *tracer) close() {
	t.base.CloseIdleConnections()
	if t.file == nil {
		return
	}
	if err := t.file.Close(); err != nil && t.console != nil {
		t.console.warn("the trace file: %v", err)
	}
}
