package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/neutral"
	"github.com/nativeoauth/nativeoauth/internal/strictjson"
)

// tracer is a RoundTripper that tells each request and answer of a flow as it happens. What is not known to be harmless is masked: a trace is made to be
// shown to others.
type tracer struct {
	base   *http.Transport
	person *person  // nil: not told there
	file   *os.File // nil: none; JSON lines

	mu    sync.Mutex
	start time.Time
	count int
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
	t.tell(traceEvent{
		Event: "request", Number: number, Method: req.Method, URL: maskedURL(req.URL), Header: maskedHeader(req.Header), Values: requestValues(req),
	})
	began := time.Now()
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		t.tell(traceEvent{Event: "failure", Number: number, DurationMS: ms(time.Since(began)), Text: neutral.Text(err.Error(), 300)})
		return nil, err
	}
	// The beginning of the body is looked at, and put back.
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxTraceBody))
	resp.Body = &replayed{io.MultiReader(bytes.NewReader(head), failing{err}, resp.Body), resp.Body}
	t.tell(traceEvent{
		Event: "answer", Number: number, Status: resp.StatusCode, DurationMS: ms(time.Since(began)),
		Header: maskedHeader(resp.Header), Values: bodyValues(resp.Header, head),
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
	t.tell(traceEvent{Event: "browser", URL: maskedURL(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}), Values: formValues(u.Query())})
}

func (t *tracer) step(name string) { t.tell(traceEvent{Event: "step", Text: name}) }

func (t *tracer) tell(e traceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Time = time.Now()
	if t.start.IsZero() {
		t.start = e.Time
	}
	if t.file != nil {
		_ = json.NewEncoder(t.file).Encode(e) // a full disk is no reason to end a login
	}
	if t.person == nil {
		return
	}
	at := fmt.Sprintf("%7.3fs ", e.Time.Sub(t.start).Seconds())
	const indent = "            "
	switch e.Event {
	case "request":
		t.person.say("%s → %s %s", at, t.person.bold(e.Method), e.URL)
	case "answer":
		t.person.say("%s ← %s  %.2f ms", at, t.person.bold(fmt.Sprint(e.Status)+" "+http.StatusText(e.Status)), e.DurationMS)
	case "failure":
		t.person.say("%s ✗ %s  %.2f ms", at, e.Text, e.DurationMS)
	case "browser":
		t.person.say("%s ⇒ the browser, to %s", at, e.URL)
	case "step":
		t.person.say("%s   %s", at, t.person.dim(e.Text))
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
		t.person.say("%s%s", indent, neutral.Text(v.Name+" "+v.Value, max(40, t.person.width()-len(indent))))
	}
}

// Values that say nothing secret, in forms, URLs and JSON. All others are masked.
var harmless = []string{
	"grant_type", "response_type", "response_mode", "client_id", "redirect_uri", "scope", "resource", "audience", "code_challenge_method",
	"token_type", "expires_in", "interval", "token_type_hint", "prompt", "max_age", "acr_values", "display", "ui_locales", "access_type",
	"error", "error_description", "iss", "issuer", "jwks_uri", "verification_uri", "active",
	"client_name", "application_type", "subject_type", "op_policy_uri", "op_tos_uri", "service_documentation", "refresh_expires_in", "ext_expires_in",
}

func mask(name, value string) string {
	if slices.Contains(harmless, name) || strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_supported") {
		return neutral.Text(value, 300)
	}
	return masked(value)
}

func masked(value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf("[masked, %d characters]", len(value))
}

// maskedURL shows the place, the names of the parameters, and what is harmless of them.
func maskedURL(u *url.URL) string {
	out := neutral.Text(u.Scheme+"://"+u.Host+u.EscapedPath(), 500)
	if values := formValues(u.Query()); len(values) > 0 {
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = v.Name + "=" + v.Value
		}
		out += "?" + strings.Join(parts, "&")
	}
	return out
}

// maskedHeader keeps the headers that matter to a flow.
func maskedHeader(h http.Header) map[string][]string {
	out := map[string][]string{}
	for name, values := range h {
		for _, v := range values {
			switch name {
			case "Content-Type", "Accept", "Cache-Control", "Retry-After", "Www-Authenticate", "Date":
				v = neutral.Text(v, 300)
			case "Authorization":
				scheme, rest, _ := strings.Cut(v, " ")
				v = neutral.Text(scheme, 20) + " " + masked(rest)
			case "Location":
				u, err := url.Parse(v)
				if err != nil {
					v = masked(v)
					break
				}
				v = maskedURL(u)
			case "Dpop", "Dpop-Nonce", "Cookie", "Set-Cookie":
				v = masked(v)
			default:
				continue
			}
			out[name] = append(out[name], v)
		}
	}
	return out
}

func requestValues(req *http.Request) []traceValue {
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
	return bodyValues(req.Header, data)
}

// bodyValues are the names and masked values of a form or a JSON object; of anything else, its size.
func bodyValues(h http.Header, data []byte) []traceValue {
	if len(data) == 0 {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(data)); err == nil {
			return formValues(form)
		}
	}
	if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		var object map[string]any
		if strictjson.Unmarshal(data, &object) == nil {
			return jsonValues(object)
		}
	}
	return []traceValue{{"body", fmt.Sprintf("[%d bytes]", len(data))}}
}

func formValues(form url.Values) []traceValue {
	var out []traceValue
	for name, values := range form {
		for _, v := range values {
			out = append(out, traceValue{neutral.Text(name, 60), mask(name, v)})
		}
	}
	sortValues(out)
	return out
}

func jsonValues(object map[string]any) []traceValue {
	var out []traceValue
	for name, v := range object {
		text := ""
		switch v := v.(type) {
		case nil:
			text = "null"
		case string:
			text = mask(name, v)
		case bool:
			text = fmt.Sprint(v)
		case []any:
			text = fmt.Sprintf("[%d entries]", len(v))
			if strings.HasSuffix(name, "_supported") {
				var words []string
				for _, e := range v {
					words = append(words, fmt.Sprint(e))
				}
				text = neutral.Text(strings.Join(words, " "), 300)
			}
		case map[string]any:
			text = fmt.Sprintf("{%d members}", len(v))
		default: // a number
			text = mask(name, fmt.Sprint(v))
		}
		out = append(out, traceValue{neutral.Text(name, 60), text})
	}
	sortValues(out)
	return out
}

func sortValues(values []traceValue) {
	slices.SortFunc(values, func(a, b traceValue) int { return strings.Compare(a.Name, b.Name) })
}

func (t *tracer) close() {
	t.base.CloseIdleConnections()
	if t.file == nil {
		return
	}
	if err := t.file.Close(); err != nil && t.person != nil {
		t.person.warn("the trace file: %v", err)
	}
}
