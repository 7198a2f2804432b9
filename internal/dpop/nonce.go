package dpop

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/challenge"
	"github.com/nativeoauth/nativeoauth/internal/safeurl"
	"github.com/nativeoauth/nativeoauth/internal/secret"
)

// Bounds of what servers can make us keep and send.
const (
	maxOrigins = 64
	maxNonce   = 1024 // bytes
)

// Nonces remembers the latest nonce of each origin: one that an authorization server gave is never used at a resource server, nor
// the other way round (§9, S86). Beyond 64 origins the one that was set first is forgotten, at the cost of one more request there.
// The zero Nonces is ready. It is safe for concurrent use.
type Nonces struct {
	mu    sync.Mutex
	known map[string]string
	order []string
}

func (n *Nonces) get(origin string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[origin]
}

func (n *Nonces) set(origin, nonce string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]string{}
	}
	if _, ok := n.known[origin]; !ok {
		if len(n.order) == maxOrigins {
			delete(n.known, n.order[0])
			n.order = append(n.order[:0], n.order[1:]...)
		}
		n.order = append(n.order, origin)
	}
	n.known[origin] = nonce
}

// nonceOf returns the nonce of an answer, or "": absent, given more than once (§8 forbids it), overlong or not of the
// header's syntax (§8.1).
func nonceOf(h http.Header) string {
	values := h.Values("DPoP-Nonce")
	if len(values) != 1 || len(values[0]) > maxNonce {
		return ""
	}
	for _, c := range []byte(values[0]) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return ""
		}
	}
	return values[0]
}

// Attempt proves one logical request, which is sent once, and once more where the server wants another nonce. It is for one
// goroutine. Its two methods are the Prove and Nonce of a token endpoint request.
type Attempt struct {
	key         Key
	nonces      *Nonces
	method      string
	target      *url.URL
	origin      string
	accessToken secret.String
	used        string
	retried     bool
}

// Attempt begins a request; its parameters are those of [Key.Proof], with the nonce from n.
func (n *Nonces) Attempt(key Key, method string, target *url.URL, accessToken secret.String) *Attempt {
	return &Attempt{key: key, nonces: n, method: method, target: target, origin: safeurl.Origin(target), accessToken: accessToken}
}

// Prove sets the DPoP header to a fresh proof with the newest nonce of the target's origin.
func (a *Attempt) Prove(_ context.Context, h http.Header) error {
	a.used = a.nonces.get(a.origin)
	proof, err := a.key.Proof(a.method, a.target, a.accessToken, a.used)
	if err != nil {
		return err
	}
	h.Set("DPoP", proof)
	return nil
}

// Nonce adopts the nonce of any answer from the target, a success included (§8.2). retry: it is not the one just used, and this is the
// attempt's first. A caller sends once more if the answer also says use_dpop_nonce (at a resource: [WantsNonce]); a server that
// says so again, or that repeats the nonce it refuses, gets no third request (S86).
func (a *Attempt) Nonce(h http.Header) (retry bool) {
	nonce := nonceOf(h)
	if nonce == "" {
		return false
	}
	a.nonces.set(a.origin, nonce)
	if nonce == a.used || a.retried {
		return false
	}
	a.retried = true
	return true
}

// WantsNonce reports whether a resource server refused the request for its nonce (§9): 401 with a DPoP challenge that says use_dpop_nonce.
func WantsNonce(status int, h http.Header) bool {
	if status != http.StatusUnauthorized {
		return false
	}
	for _, c := range challenge.Parse(h) {
		if c.Scheme == challenge.DPoP && c.Params["error"] == "use_dpop_nonce" {
			return true
		}
	}
	return false
}
