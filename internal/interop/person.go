package interop

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Person is somebody with a browser that knows HTTP, cookies and forms, and nothing else: enough for a provider's pages without scripts,
// and a hundred times faster than Chromium.
type Person struct {
	Name, Password string

	// program is what a provider's pages do in a browser that runs scripts; next is where they go on, or "".
	program func(ctx context.Context, p *Person, page *url.URL) (next string, err error)

	mu      sync.Mutex
	browser *http.Client
	answers []url.Values // what came back to a program's listener
	asked   []url.Values // the query of every page
	typed   int          // how often the password was
}

// NewPerson is a person in whose browser nobody is signed in.
func NewPerson(name, password string) *Person {
	p := &Person{Name: name, Password: password}
	jar, _ := cookiejar.New(nil) // it has no error to give
	p.browser = &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		p.note(r.URL)
		if q := r.URL.Query(); q.Get("state") != "" && (q.Get("code") != "" || q.Get("error") != "") {
			p.mu.Lock()
			p.answers = append(p.answers, q)
			p.mu.Unlock()
		}
		if len(via) > 15 {
			return errors.New("too many redirects")
		}
		return nil
	}}
	return p
}

// Answers are what came back to programs' listeners by now.
func (p *Person) Answers() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]url.Values(nil), p.answers...)
}

// Requests are the queries of every page so far.
func (p *Person) Requests() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]url.Values(nil), p.asked...)
}

// Typed is how often the password was typed by now.
func (p *Person) Typed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.typed
}

func (p *Person) typePassword() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.typed++
	return p.Password
}

func (p *Person) note(u *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, u.Query())
}

var (
	formTag   = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	fieldTag  = regexp.MustCompile(`(?is)<(?:input|button)\b([^>]*)>`)
	attribute = regexp.MustCompile(`(?is)\b([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))`)
)

// Visit opens page and says yes to whatever is asked, until nothing is.
func (p *Person) Visit(ctx context.Context, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	p.note(req.URL)
	for range 10 {
		resp, err := p.browser.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if p.program != nil {
			next, err := p.program(ctx, p, resp.Request.URL)
			if err != nil {
				return err
			}
			if next != "" {
				if req, err = http.NewRequestWithContext(ctx, http.MethodGet, next, nil); err != nil {
					return err
				}
				continue
			}
		}
		action, values, ok := p.fill(string(body))
		if !ok {
			if resp.StatusCode >= 400 {
				return fmt.Errorf("%s: %s", resp.Request.URL.Path, resp.Status)
			}
			return nil
		}
		target, err := resp.Request.URL.Parse(action)
		if err != nil {
			return err
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(values.Encode())); err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return errors.New("the provider's pages have no end")
}

// fill fills in the first form that is posted. A button that names one of them by its id is pressed with it.
func (p *Person) fill(page string) (action string, values url.Values, ok bool) {
	for _, form := range formTag.FindAllStringSubmatch(page, -1) {
		attrs := attributes(form[1])
		if !strings.EqualFold(attrs["method"], "post") {
			continue
		}
		values = url.Values{}
		for _, field := range fieldTag.FindAllStringSubmatch(page, -1) {
			f := attributes(field[1])
			inside := strings.Contains(form[2], field[0])
			switch {
			case f["name"] == "" || f["name"] == "abort" || !inside && (attrs["id"] == "" || f["form"] != attrs["id"]):
			case f["type"] == "password":
				values.Set(f["name"], p.typePassword())
			case f["name"] == "login" || f["name"] == "username":
				values.Set(f["name"], p.Name)
			default:
				values.Set(f["name"], f["value"])
			}
		}
		return attrs["action"], values, true
	}
	return "", nil, false
}

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		found[strings.ToLower(m[1])] = html.UnescapeString(m[2] + m[3] + m[4])
	}
	return found
}
