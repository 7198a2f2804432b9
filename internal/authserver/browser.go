package authserver

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Browser plays the person's browser at a server with an AutoUser: it follows redirects, keeps cookies, sends the headers of
// a navigation, and runs nothing. It is safe for concurrent use.
type Browser struct {
	provider string // origin
	client   http.Client
}

// NewBrowser returns a browser without cookies. transport nil: http.DefaultTransport.
func (s *Server) NewBrowser(transport http.RoundTripper) (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	return &Browser{provider: wire.Origin(u), client: http.Client{
		Transport:     transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Way is where a provider sends a browser at the end: back to the program.
type Way struct {
	// URL is the redirect URI with the answer; in form_post mode without it.
	URL  string
	form url.Values
	b    *Browser
}

// Visit opens address, which is a login's ticket or a page of the provider, and goes on until the provider sends it back to the program. It
// does not yet go there, because a program holds that request until the login is over: [Way.Go] does. nil without an
// error: it began at the provider and ended on a page there.
func (b *Browser) Visit(ctx context.Context, address string) (*Way, error) {
	first, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("this is no URL")
	}
	way := &Way{URL: address, b: b}
	for range 10 {
		resp, page, err := way.request(ctx)
		if err != nil {
			return nil, err
		}
		next := way.follow(resp, page)
		if next == nil {
			if wire.Origin(first) == b.provider && resp.StatusCode < 400 {
				return nil, nil
			}
			return nil, fmt.Errorf("the browser stayed on a page, with status %d: %s", resp.StatusCode, pageText(page))
		}
		u, err := url.Parse(next.URL)
		if err != nil {
			return nil, errors.New("the redirect leads to no URL")
		}
		if wire.Origin(u) != b.provider {
			return next, nil
		}
		way = next
	}
	return nil, errors.New("too many redirects")
}

// Go delivers the answer and follows where the program leads: to its closing page.
func (w *Way) Go(ctx context.Context) error {
	for range 10 {
		resp, page, err := w.request(ctx)
		if err != nil {
			return err
		}
		if w = w.follow(resp, page); w == nil {
			return nil
		}
	}
	return errors.New("too many redirects")
}

func (w *Way) request(ctx context.Context) (*http.Response, string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if w.form != nil {
		method, body = http.MethodPost, strings.NewReader(w.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, w.URL, body)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Accept-Language", "en")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Site", "none")
	req.Header.Set("Sec-Fetch-User", "?1")
	if w.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		req.Header.Set("Origin", "null")
		req.Header.Del("Sec-Fetch-User")
	}
	resp, err := w.b.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp, string(page), err
}

// follow returns where an answer leads; nil: it is the end.
func (w *Way) follow(resp *http.Response, page string) *Way {
	if location, err := resp.Location(); err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return &Way{URL: location.String(), b: w.b}
	}
	action, rest, ok := between(page, `<form method="post" action="`, `">`)
	if !ok || !strings.Contains(page, "<script>"+submitScript+"</script>") {
		return nil
	}
	form := url.Values{}
	for {
		var name, value string
		if name, rest, ok = between(rest, `<input type="hidden" name="`, `" value="`); !ok {
			return &Way{URL: html.UnescapeString(action), form: form, b: w.b}
		}
		value, rest, _ = strings.Cut(rest, `">`)
		form.Add(html.UnescapeString(name), html.UnescapeString(value))
	}
}

// between returns what stands between before and the next after, and what follows.
func between(text, before, after string) (inner, rest string, ok bool) {
	_, text, ok = strings.Cut(text, before)
	if !ok {
		return "", "", false
	}
	return strings.Cut(text, after)
}

// pageText is what one of this server's pages says.
func pageText(page string) string {
	heading, rest, _ := between(page, "<h1>", "</h1>")
	text, _, ok := between(rest, "<p>", "</p>")
	if !ok {
		return "(not a page of this server)"
	}
	return html.UnescapeString(heading + ": " + text)
}
