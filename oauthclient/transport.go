package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
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
// if that cannot be, the 401 comes back. So it does, for some seconds, from an API that refused a token that was new.
func (s *Session) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = s.account.client.cfg.Transport
	}
	return &transport{session: s, base: base}
}

type transport struct {
	session  *Session
	base     http.RoundTripper
	provider bool // for the provider's own endpoints: not bound to Origins
}

func (t *transport) Format(f fmt.State, verb rune) { t.session.Format(f, verb) }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	send, err := true, error(nil)
	if !t.provider {
		send, err = t.session.belongs(req)
	}
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
	s := t.session
	if !t.provider {
		s = s.forRequest(req.URL)
	}
	h, err := s.current(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, h)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !tokenRefused(resp) {
		return resp, err
	}
	at := place{s.slot, wire.Origin(req.URL)}
	if s.account.client.vain(at, h) {
		return resp, nil
	}
	body, err := replay(req)
	if err != nil {
		return resp, nil
	}
	fresh, err := s.replace(req.Context(), h)
	if err != nil {
		_ = body.Close()
		return resp, nil // a RoundTripper that has a response returns it
	}
	drain(resp)
	resp, err = t.send(req, body, fresh)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && tokenRefused(resp) {
		s.account.client.refusals.Store(at, refusal{fresh.generation, time.Now()})
	}
	return resp, err
}

// place is an API as far as one token is concerned.
type place struct {
	slot   *slot
	origin string
}

// refusal is a token that was refused though it was new.
type refusal struct {
	generation uint64
	at         time.Time
}

// vainPause is how long a token that was refused when it was new is not refreshed for the API that refused it: another would be refused too.
const vainPause = 10 * time.Second

func (c *Client) vain(at place, h *held) bool {
	v, _ := c.refusals.Load(at)
	r, ok := v.(refusal)
	return ok && r.generation == h.generation && time.Since(r.at) < vainPause
}

// send sends req with h's token, and under DPoP once more where the server asks for a nonce (RFC 9449 §9).
func (t *transport) send(req *http.Request, body io.ReadCloser, h *held) (*http.Response, error) {
	var prover *oauth.Prover
	if !h.key.IsZero() {
		prover = t.session.account.client.nonces.Prover(h.key, req.Method, proofTarget(req), wire.NewSecret(h.token.AccessToken))
	}
	for {
		out := req.Clone(req.Context())
		out.Body = body
		out.Header.Set("Authorization", h.token.TokenType+" "+h.token.AccessToken)
		if prover != nil {
			if err := prover.Prove(req.Context(), out.Header); err != nil {
				if body != nil {
					_ = body.Close()
				}
				return nil, err
			}
		}
		resp, err := t.base.RoundTrip(out)
		if err != nil || prover == nil || !prover.Retry(resp.StatusCode, resp.Header) {
			return resp, err
		}
		again, err := replay(req)
		if err != nil {
			return resp, nil
		}
		body = again
		drain(resp)
	}
}

// proofTarget is what a proof names: the URL with the Host that is sent.
func proofTarget(req *http.Request) *url.URL {
	u := *req.URL
	if req.Host != "" {
		u.Host = req.Host
	}
	return &u
}

func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// current returns the token to send now.
func (s *Session) current(ctx context.Context) (*held, error) {
	h := s.slot.current.Load()
	if h != nil && h.fresh() {
		return h, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.account.token(ctx, s.slot, h)
}

// replace returns a token newer than the one that was refused.
func (s *Session) replace(ctx context.Context, refused *held) (*held, error) {
	if h := s.slot.current.Load(); h == nil || h.generation <= refused.generation {
		if err := s.refreshAfter(ctx, refused.generation); err != nil {
			return nil, err
		}
	}
	h, err := s.current(ctx)
	if err == nil && h.token.AccessToken == refused.token.AccessToken {
		return nil, errors.New("the provider issues the refused token again")
	}
	return h, err
}

func tokenRefused(resp *http.Response) bool {
	demand, ok := oauth.PickChallenge(oauth.ParseChallenges(resp.Header), "")
	return ok && demand.Error == "invalid_token"
}

// replay returns req's body from its beginning.
func replay(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return http.NoBody, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the body cannot be sent again")
	}
	return req.GetBody()
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
		if err := c.checkOrigin(proofTarget(req)); err != nil { // another Host is another place
			return false, err
		}
		if len(c.cfg.Resources) > 1 && !plainPath(req.URL) {
			return false, errors.New("the path has . or .. segments or an encoded slash, so that it is not sure which resource it is under; write it plainly")
		}
		return true, nil
	}
	// A chain that has once left for a place without the token does not get it back: who sent it there also chose where it goes on.
	first := req
	for r := req; ; r = r.Response.Request {
		if c.checkOrigin(r.URL) != nil || c.checkOrigin(proofTarget(r)) != nil || len(c.cfg.Resources) > 1 && !plainPath(r.URL) {
			return false, nil
		}
		if first = r; r.Response == nil {
			break
		}
		if r.Response.Request == nil { // a transport that does not say where the redirect came from
			return false, nil
		}
	}
	if len(c.origins) > 0 {
		return true, nil
	}
	for r := req; r != first; r = r.Response.Request {
		if wire.Origin(r.URL) != wire.Origin(first.URL) {
			return false, nil
		}
	}
	return true, nil
}

// tokenOrigins are where tokens go; nil: wherever the program itself calls.
func tokenOrigins(cfg *Config) []string {
	list := cfg.Origins
	if len(list) == 0 {
		list = cfg.Resources
	}
	var origins []string
	for _, raw := range list {
		if u, err := url.Parse(raw); err == nil { // check has parsed it before
			origins = append(origins, wire.Origin(u))
		}
	}
	return origins
}

// plainPath reports a path that every server reads alike.
func plainPath(u *url.URL) bool {
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	raw := strings.ToLower(u.EscapedPath())
	return !strings.Contains(raw, "%2f") && !strings.Contains(raw, "%5c") && !strings.Contains(u.Path, `\`)
}

func (c *Client) checkOrigin(u *url.URL) error {
	if u.Scheme != "https" && (u.Scheme != "http" || !wire.IsLoopback(u.Hostname())) {
		return fmt.Errorf("the session's token is not sent over %s; use https", u.Scheme)
	}
	if len(c.origins) > 0 && !slices.Contains(c.origins, wire.Origin(u)) {
		return wire.Field("Config.Origins", "%s is not one of them, so it does not get the session's token; add it if it may", wire.Origin(u))
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
		if err != nil || wire.Origin(r) != wire.Origin(u) || !under(r.Path, u.Path) {
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
