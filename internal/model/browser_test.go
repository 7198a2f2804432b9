package model

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"time"
)

// A sign-in with the browser has a real listener on the loopback address. The
// bubble's clock stands still while it is there: waiting for a real connection
// is not durable. So nothing may wait for the clock until then. The provider
// answers without delay or with a timeout, and a sign-in for which no answer
// comes is ended by its context, as if its deadline had passed.

// expiring is a context with a deadline that passes when its channel is closed.
type expiring struct {
	context.Context
	passed chan struct{}
}

func (e expiring) Deadline() (time.Time, bool) { return time.Now().Add(5 * time.Minute), true }
func (e expiring) Done() <-chan struct{}       { return e.passed }

func (e expiring) Err() error {
	select {
	case <-e.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// expiring lets the browser end the sign-in under way.
func (w *world) expiring(ctx context.Context) context.Context {
	passing := expiring{ctx, make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire = sync.OnceFunc(func() { close(passing.passed) })
	return passing
}

// openURL is the user's browser. It follows every redirect to the end.
func (w *world) openURL(_ context.Context, ticket string) error {
	w.prompts.Add(1)
	w.mu.Lock()
	user, expire := w.signing, w.expire
	w.mu.Unlock()
	go func() {
		jar, _ := cookiejar.New(nil)
		next := ""
		client := &http.Client{
			Transport: &http.Transport{DisableKeepAlives: true}, Jar: jar,
			CheckRedirect: func(req *http.Request, _ []*http.Request) error {
				if req.URL.Host != "op.example" {
					return nil
				}
				next = w.provider.authorize(req.URL.Query(), user)
				return http.ErrUseLastResponse
			},
		}
		for address := ticket; address != ""; address, next = next, "" {
			resp, err := client.Get(address)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode/100 == 3 && next == "" { // the provider shows a page
				expire()
				return
			}
		}
	}()
	return nil
}

// authorize answers an authorization request. It returns the address to which
// the browser is sent; "": the provider shows a page.
func (p *provider) authorize(q url.Values, user string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	client := q.Get("client_id")
	if !p.clients[client] {
		return ""
	}
	answer := url.Values{"state": {q.Get("state")}}
	if user == "nobody" {
		answer.Set("error", "access_denied")
	} else {
		code := p.next("code")
		p.codes[code], p.users[code], p.nonces[code] = client, user, q.Get("nonce")
		answer.Set("code", code)
	}
	return q.Get("redirect_uri") + "?" + answer.Encode()
}

// hurry tells the provider whether anybody may wait for the clock.
func (p *provider) hurry(hasty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hasty = hasty
}
