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
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// HTTPClient returns a client that sends the session's token to Config.Origins, and
// nowhere else; [Session.Transport] has the rules. Every call returns the same
// client. Do not change it. It is safe for concurrent use.
func (s *Session) HTTPClient() *http.Client {
	s.once.Do(func() { s.http = &http.Client{Transport: s.Transport(nil)} })
	return s.http
}

// Transport returns a RoundTripper that adds the session's token to requests to
// Config.Origins, over https, or over http to this machine. It sends them through
// base. nil base: Config.Transport. It is safe for concurrent use.
//
// If the program itself sends a request to another origin, that is an error. A
// request that a redirect leads to another origin is sent without the token.
//
// After a 401 with invalid_token (RFC 6750 §3.1) the session is refreshed, and the
// request is sent once more if its body can be sent again. If any of that fails, the
// 401 is returned. If an API rejects a token that has just been issued, its 401s are
// returned for 10 seconds without another refresh.
//
// A 401 without a challenge, or with one that gives no reason, is treated alike, but
// only once for each token and origin. A challenge that demands more (a scope, a
// stronger sign-in) or another scheme is returned.
//
// Besides those of base, errors are those of [Session.Token]: [ErrLoginRequired] if
// the session has ended.
func (s *Session) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = s.client.cfg.Transport
	}
	return &transport{session: s, base: base}
}

// transport adds the token of a session to requests.
type transport struct {
	session  *Session
	base     http.RoundTripper
	provider bool // the provider's own endpoints are the target: Origins do not matter
}

// Format implements [fmt.Formatter], because fmt would print the session's fields.
func (t *transport) Format(f fmt.State, verb rune) { t.session.Format(f, verb) }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	s := t.session
	if !t.provider {
		send, err := s.belongs(req)
		if err != nil {
			closeBody(req)
			return nil, err
		}
		if !send {
			return t.sendPlain(req)
		}
		s = s.forRequest(req.URL)
	}
	h, err := s.current(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, h)
	if err != nil || refusalOf(resp) == refusedNot {
		return resp, err
	}
	return t.sendAgain(req, resp, s, h)
}

// sendPlain sends req without a token. The headers may hold one: net/http copies
// those of the first request when it follows a redirect.
func (t *transport) sendPlain(req *http.Request) (*http.Response, error) {
	plain := req.Clone(req.Context())
	plain.Header.Del("Authorization")
	plain.Header.Del("DPoP")
	return t.base.RoundTrip(plain)
}

// sendAgain refreshes s and sends req with the new token, after resp rejected that
// of h. It returns resp if that is not possible: a RoundTripper that has a response
// returns no error.
func (t *transport) sendAgain(
	req *http.Request, resp *http.Response, s *Session, h *session.CachedToken,
) (*http.Response, error) {
	at := api{s.slot, wire.Origin(req.URL)}
	why := refusalOf(resp)
	if s.client.rejected.inVain(at, h, why) {
		return resp, nil
	}
	body, err := replay(req)
	if err != nil {
		return resp, nil
	}
	fresh, err := s.replace(req.Context(), h)
	if err != nil {
		_ = body.Close()
		if why == refusedVaguely && req.Context().Err() == nil {
			s.client.rejected.add(at, h) // the API may mean something else
		}
		return resp, nil
	}
	drain(resp) // it will not be returned
	resp, err = t.send(req, body, fresh)
	if err == nil && refusalOf(resp) != refusedNot {
		s.client.rejected.add(at, fresh)
	}
	return resp, err
}

// api is an origin as far as one token is concerned. One API's rejection says
// nothing about another API, or about a token for something else.
type api struct {
	slot   *session.Slot
	origin string
}

// rejectedPause is how long a token that was rejected when it was new is not
// refreshed for the API that rejected it: another would be rejected too.
const rejectedPause = 10 * time.Second

// refusal is what a response says about the token that it was sent.
type refusal int

const (
	refusedNot     refusal = iota // it says something else
	refusedVaguely                // a 401 that does not say why
	refusedPlainly                // invalid_token (RFC 6750 §3.1)
)

// rejections are the APIs that rejected a token although it had just been issued.
// The zero value is empty. It is safe for concurrent use.
type rejections struct{ last sync.Map } // api → rejection

type rejection struct {
	generation uint64
	at         time.Time
}

func (r *rejections) add(a api, t *session.CachedToken) {
	r.last.Store(a, rejection{t.Generation, time.Now()})
}

// inVain reports whether refreshing t would not help a. A 401 without a reason may
// have nothing to do with the token, so it is tried once for each token.
func (r *rejections) inVain(a api, t *session.CachedToken, why refusal) bool {
	v, _ := r.last.Load(a)
	last, ok := v.(rejection)
	recent := why == refusedVaguely || time.Since(last.at) < rejectedPause
	return ok && last.generation == t.Generation && recent
}

// send sends req with the token of h. With DPoP it sends req once more if the server
// requires a nonce (RFC 9449 §9).
func (t *transport) send(req *http.Request, body io.ReadCloser, h *session.CachedToken) (*http.Response, error) {
	var prover *oauth.Prover // nil: a bearer token
	if !h.Key.IsZero() {
		token := wire.NewSecret(h.Token.AccessToken)
		prover = t.session.client.providers.nonces.Prover(h.Key, req.Method, proofTarget(req), token)
	}
	for {
		out := req.Clone(req.Context()) // a RoundTripper must not change its request
		out.Body = body
		out.Header.Set("Authorization", h.Token.TokenType+" "+h.Token.AccessToken)
		if prover != nil {
			if err := prover.Prove(req.Context(), out.Header); err != nil {
				if body != nil {
					_ = body.Close()
				}
				return nil, err
			}
		}
		resp, err := t.base.RoundTrip(out)
		if err != nil || prover == nil ||
			!prover.Retry(resp.StatusCode, resp.Header) && !prover.Untimely(resp.StatusCode, resp.Header) {
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

// proofTarget returns the URL that a DPoP proof names. Its host is the Host header,
// which is what the server compares (RFC 9449 §4.3).
func proofTarget(req *http.Request) *url.URL {
	u := *req.URL
	if req.Host != "" {
		u.Host = req.Host
	}
	return &u
}

// drain reads the rest of a small body, so that the connection can be used again. To
// read more than 64 KiB would cost more than a new connection.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// replace returns a newer token than refused. Another goroutine or process may have
// refreshed the session already; then nothing is sent.
func (s *Session) replace(ctx context.Context, refused *session.CachedToken) (*session.CachedToken, error) {
	if h := s.slot.Cached(); h == nil || h.Generation <= refused.Generation {
		if err := s.refreshAfter(ctx, refused.Generation); err != nil {
			return nil, err
		}
	}
	h, err := s.current(ctx)
	// Some providers return the same token until it expires. To send it again would
	// bring the same 401.
	if err == nil && h.Token.AccessToken == refused.Token.AccessToken {
		return nil, errors.New("the provider issues the refused token again")
	}
	return h, err
}

// refusalOf reports what resp says about the token. Many APIs send a 401 without a
// challenge (GitHub, Spotify) or without an error, or with one of their own making
// (Hydra's request_unauthorized). That may mean the token. A demand for more, or for
// another scheme, is not cured by a refresh.
func refusalOf(resp *http.Response) refusal {
	if resp.StatusCode != http.StatusUnauthorized {
		return refusedNot
	}
	challenges := oauth.ParseChallenges(resp.Header)
	if demand, ok := oauth.PickChallenge(challenges, ""); ok && demand.Error == "invalid_token" {
		return refusedPlainly
	}
	ours := len(resp.Header.Values("WWW-Authenticate")) == 0
	for _, c := range challenges {
		switch c.Scheme {
		case oauth.BearerScheme, oauth.DPoPScheme, "token": // Salesforce's name for Bearer
			ours = true
		}
		switch code := c.Params["error"]; {
		case strings.HasPrefix(code, "insufficient_"), code == "use_dpop_nonce", code == "invalid_dpop_proof":
			return refusedNot
		}
	}
	if !ours {
		return refusedNot
	}
	return refusedVaguely
}

// replay returns the body of req from its beginning, or an error if it cannot be
// read twice.
func replay(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return http.NoBody, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the body cannot be sent again")
	}
	return req.GetBody()
}

// closeBody closes the body of a request that is not sent, as a RoundTripper must.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// belongs reports whether the token goes with req (S46). It is false if a redirect
// led req to another origin, and an error if the program itself sent it there.
func (s *Session) belongs(req *http.Request) (bool, error) {
	if req.Response == nil { // no redirect: the program's own request
		err := s.checkOwn(req)
		return err == nil, err
	}
	c := s.client
	// Every request of the chain must have had the token. A server that led the
	// chain away also chose the next URL, and must not lead it back with a token.
	first := req
	for r := req; ; r = r.Response.Request {
		if s.checkOwn(r) != nil {
			return false, nil
		}
		if first = r; r.Response == nil {
			break
		}
		if r.Response.Request == nil { // the transport does not say where the redirect came from
			return false, nil
		}
	}
	if len(c.origins) > 0 {
		return true, nil
	}
	// The program named no origins. Only the origin that it called is its choice.
	for r := req; r != first; r = r.Response.Request {
		if wire.Origin(r.URL) != wire.Origin(first.URL) {
			return false, nil
		}
	}
	return true, nil
}

// checkOwn checks whether the token may go with a request of the program itself.
func (s *Session) checkOwn(req *http.Request) error {
	c := s.client
	if err := c.checkOrigin(req.URL); err != nil {
		return err
	}
	if err := c.checkOrigin(proofTarget(req)); err != nil { // another Host header is another server
		return err
	}
	if len(c.cfg.Resources) > 1 && !plainPath(req.URL) {
		return errors.New("the path has . or .. segments or an encoded slash, so that it is not " +
			"sure which resource it is under; write it plainly")
	}
	return nil
}

// tokenOrigins returns the origins that tokens go to. nil: any that the program
// itself calls.
func tokenOrigins(cfg *Config) []string {
	list := cfg.Origins
	if len(list) == 0 {
		list = cfg.Resources
	}
	var origins []string
	for _, raw := range list {
		if u, err := url.Parse(raw); err == nil { // it is: Config.check parsed it before
			origins = append(origins, wire.Origin(u))
		}
	}
	return origins
}

// plainPath reports whether every server reads the path alike. If one server resolved
// "..", a token for one resource would reach another.
func plainPath(u *url.URL) bool {
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	// Some servers decode these before they route, and take \ for a slash.
	raw := strings.ToLower(u.EscapedPath())
	escaped := strings.Contains(raw, "%2f") || strings.Contains(raw, "%5c")
	return !escaped && !strings.Contains(u.Path, `\`)
}

// checkOrigin checks that a token may be sent to the origin of u.
func (c *Client) checkOrigin(u *url.URL) error {
	// Over http anybody on the network could read the token. A loopback address is
	// not on the network.
	if u.Scheme != "https" && (u.Scheme != "http" || !wire.IsLoopback(u.Hostname())) {
		return fmt.Errorf("the session's token is not sent over %s; use https", u.Scheme)
	}
	if len(c.origins) > 0 && !slices.Contains(c.origins, wire.Origin(u)) {
		return wire.Field("Config.Origins", "%s is not one of them, "+
			"so it does not get the session's token; add it if it may", wire.Origin(u))
	}
	return nil
}

// forRequest returns s with the token for the resource that u is under (RFC 8707). If
// there are several, it is the one with the longest path; if there is none, it is s.
func (s *Session) forRequest(u *url.URL) *Session {
	// The program chose the token itself, with Session.For.
	if s.slot.Resource != "" || len(s.slot.Scopes) > 0 || s.err != nil {
		return s
	}
	// A path under two resources belongs to the more specific one.
	best, length := "", 0
	for _, raw := range s.client.cfg.Resources {
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

// under reports whether path is base or below it. "/api" is not above "/apis".
func under(base, path string) bool {
	if base == "" || base == "/" || path == base {
		return true
	}
	if base[len(base)-1] != '/' {
		base += "/"
	}
	return len(path) >= len(base) && path[:len(base)] == base
}
