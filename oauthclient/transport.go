package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/challenge"
	"github.com/nativeoauth/nativeoauth/internal/safeurl"
)

// HTTPClient returns a client that sends the session's token where it belongs and nowhere else: see [Session.Transport]. It is the same each
// time; do not change it.
func (s *Session) HTTPClient() *http.Client {
	s.once.Do(func() { s.http = &http.Client{Transport: s.Transport(nil)} })
	return s.http
}

// Transport returns a RoundTripper that adds the session's token to requests to Config.Origins, over https (or http to this machine) only, and sends
// them through base; nil: Config.Transport.
//
// A request of the program's own to another origin is an error; one that a redirect leads to another origin goes there without the
// token. After a 401 that says invalid_token (RFC 6750 §3.1) the session is refreshed and the request sent once more, if its body can be;
// if that cannot be, the 401 comes back.
func (s *Session) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = s.account.client.cfg.Transport
	}
	return &transport{session: s, base: base}
}

type transport struct {
	session *Session
	base    http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	send, err := t.session.belongs(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if !send {
		plain := req.Clone(req.Context())
		plain.Header.Del("Authorization")
		plain.Header.Del("DPoP")
		return t.base.RoundTrip(plain)
	}
	s := t.session.forRequest(req.URL)
	tok, err := s.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, s, tok)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !tokenRefused(resp) {
		return resp, err
	}
	body, ok := replay(req)
	if !ok {
		return resp, nil
	}
	fresh, err := s.replace(req.Context(), tok)
	if err != nil {
		if body != nil {
			_ = body.Close()
		}
		return resp, nil // a RoundTripper that has a response returns it
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return t.send(req, body, s, fresh)
}

func (t *transport) send(req *http.Request, body io.ReadCloser, s *Session, tok *oauth2.Token) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Body = body
	out.Header.Set("Authorization", tok.TokenType+" "+tok.AccessToken)
	return t.base.RoundTrip(out)
}

// replace returns a token newer than the one that was refused.
func (s *Session) replace(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	h := s.slot.current.Load()
	if h != nil && h.token.AccessToken == refused.AccessToken {
		if err := s.refreshAfter(ctx, h.generation); err != nil {
			return nil, err
		}
	}
	tok, err := s.Token(ctx)
	if err == nil && tok.AccessToken == refused.AccessToken {
		return nil, errors.New("the provider issues the refused token again")
	}
	return tok, err
}

func tokenRefused(resp *http.Response) bool {
	demand, ok := challenge.Pick(challenge.Parse(resp.Header), "")
	return ok && demand.Error == "invalid_token"
}

func replay(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// belongs reports whether the token goes with req: false where a redirect led it elsewhere, an error where the program itself sent it
// where the token must not go (S46).
func (s *Session) belongs(req *http.Request) (bool, error) {
	c := s.account.client
	if req.Response == nil { // the program's own request
		if err := c.checkOrigin(req.URL); err != nil {
			return false, err
		}
		return true, nil
	}
	// A chain that has once left for a place without the token does not get it back: who sent it there also chose where it goes on.
	first := req
	for r := req; ; r = r.Response.Request {
		if c.checkOrigin(r.URL) != nil {
			return false, nil
		}
		if first = r; r.Response == nil || r.Response.Request == nil {
			break
		}
	}
	if len(c.origins()) > 0 {
		return true, nil
	}
	for r := req; r != first; r = r.Response.Request {
		if safeurl.Origin(r.URL) != safeurl.Origin(first.URL) {
			return false, nil
		}
	}
	return true, nil
}

// origins are where tokens go; nil: wherever the program itself calls.
func (c *Client) origins() []string {
	var origins []string
	for _, list := range [][]string{c.cfg.Origins, c.cfg.Resources} {
		for _, raw := range list {
			if u, err := url.Parse(raw); err == nil {
				origins = append(origins, safeurl.Origin(u))
			}
		}
		if len(origins) > 0 {
			break
		}
	}
	return origins
}

func (c *Client) checkOrigin(u *url.URL) error {
	if u.Scheme != "https" && (u.Scheme != "http" || !safeurl.IsLoopback(u.Hostname())) {
		return fmt.Errorf("the session's token is not sent over %s; use https", u.Scheme)
	}
	if allowed := c.origins(); len(allowed) > 0 && !slices.Contains(allowed, safeurl.Origin(u)) {
		return fmt.Errorf("the session's token is not for %s; add it to Config.Origins if it is", safeurl.Origin(u))
	}
	return nil
}

// forRequest returns the session for the resource that u is under, if any (RFC 8707): the longest of Config.Resources that it begins with.
func (s *Session) forRequest(u *url.URL) *Session {
	if s.slot.resource != "" || len(s.slot.scopes) > 0 || s.err != nil {
		return s
	}
	best, length := "", 0
	for _, raw := range s.account.client.cfg.Resources {
		r, err := url.Parse(raw)
		if err != nil || safeurl.Origin(r) != safeurl.Origin(u) || !under(r.Path, u.Path) {
			continue
		}
		if len(r.Path)+1 > length {
			best, length = raw, len(r.Path)+1
		}
	}
	if best == "" {
		return s
	}
	return s.For(best)
}

func under(base, path string) bool {
	if base == "" || base == "/" || path == base {
		return true
	}
	if base[len(base)-1] != '/' {
		base += "/"
	}
	return len(path) >= len(base) && path[:len(base)] == base
}
