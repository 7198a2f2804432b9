package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// playPerson opens address as a browser would, signs in as alice, allows what is asked, and looks at the page it ends at.
func playPerson(ctx context.Context, address string) error {
	transport := &http.Transport{} // no proxy: everything is on this machine
	defer transport.CloseIdleConnections()
	web := &http.Client{Jar: cookies{}, Transport: transport, Timeout: time.Minute}
	visit := func(req *http.Request) (page string, at *url.URL, err error) {
		resp, err := web.Do(req)
		if err != nil {
			return "", nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return "", nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return "", nil, fmt.Errorf("a page answered %s", resp.Status)
		}
		return string(body), resp.Request.URL, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	page, at, err := visit(req)
	if err != nil {
		return err
	}
	action, ok := attribute(page, `<form method="post" action="`)
	interaction, also := attribute(page, `name="interaction" value="`)
	if !ok || !also {
		return errors.New("the provider's page has no form to sign in with")
	}
	to, err := at.Parse(action)
	if err != nil {
		return err
	}
	form := url.Values{"interaction": {interaction}, "username": {"alice"}, "action": {"allow"}}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, _, err = visit(req)
	return err
}

// attribute is the value in quotes that follows start in the page of the demo's provider: the only one that is ever read here.
func attribute(page, start string) (string, bool) {
	_, rest, ok := strings.Cut(page, start)
	value, _, closed := strings.Cut(rest, `"`)
	return html.UnescapeString(value), ok && closed
}

// cookies are those of the demo's provider, by name: the person visits nobody else, and net/http/cookiejar weighs 60 kB.
type cookies map[string]*http.Cookie

func (c cookies) SetCookies(_ *url.URL, set []*http.Cookie) {
	for _, cookie := range set {
		c[cookie.Name] = cookie
	}
}

func (c cookies) Cookies(*url.URL) []*http.Cookie { return slices.Collect(maps.Values(c)) }
