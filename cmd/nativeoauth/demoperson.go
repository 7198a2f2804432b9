package main

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
	"time"
)

// The form of the demo's provider, which is the only one that is ever filled in here.
var (
	formAction      = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInteraction = regexp.MustCompile(`name="interaction" value="([^"]*)"`)
)

// playPerson opens address as a browser would, signs in as alice, allows what is asked, and looks at the page it ends at.
func playPerson(ctx context.Context, address string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{} // no proxy: everything is on this machine
	defer transport.CloseIdleConnections()
	web := &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}
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
	action, interaction := formAction.FindStringSubmatch(page), formInteraction.FindStringSubmatch(page)
	if action == nil || interaction == nil {
		return errors.New("the provider's page has no form to sign in with")
	}
	to, err := at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		return err
	}
	form := url.Values{"interaction": {html.UnescapeString(interaction[1])}, "username": {"alice"}, "action": {"allow"}}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, _, err = visit(req)
	return err
}
