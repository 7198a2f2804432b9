package oauth

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Bounds of what servers can make us keep and send.
const (
	maxNonceOrigins = 64
	maxNonce        = 1024 // bytes
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
		if len(n.order) == maxNonceOrigins {
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

// Prover proves requests by one method to one target. It is for one goroutine. Its Prove and Nonce are those of a token endpoint
// request, which itself bounds its retries; for a request to a resource, make a Prover each time and ask [Prover.Retry].
type Prover struct {
	key         DPoPKey
	nonces      *Nonces
	method      string
	target      *url.URL
	origin      string
	accessToken wire.Secret
	used        string
	retried     bool
}

// Prover returns a Prover whose parameters are those of [Key.Proof], with the nonces from n.
func (n *Nonces) Prover(key DPoPKey, method string, target *url.URL, accessToken wire.Secret) *Prover {
	return &Prover{key: key, nonces: n, method: method, target: target, origin: wire.Origin(target), accessToken: accessToken}
}

// Prove sets the DPoP header to a fresh proof with the newest nonce of the target's origin.
func (p *Prover) Prove(_ context.Context, h http.Header) error {
	p.used = p.nonces.get(p.origin)
	proof, err := p.key.Proof(p.method, p.target, p.accessToken, p.used)
	if err != nil {
		return err
	}
	h.Set("DPoP", proof)
	return nil
}

// Nonce adopts the nonce of any answer from the target, a success included (§8.2). fresh: it is not the one just used, so that
// after a use_dpop_nonce error another request can fare better.
func (p *Prover) Nonce(h http.Header) (fresh bool) {
	nonce := nonceOf(h)
	if nonce == "" {
		return false
	}
	p.nonces.set(p.origin, nonce)
	return nonce != p.used
}

// Retry adopts the nonce of a resource server's answer, and reports whether to prove and send the request once more (§9): it was refused
// with 401 and a DPoP challenge that says use_dpop_nonce, and a fresh nonce came along. It is true once in a Prover's life: a
// server that goes on asking gets no third request (S86).
func (p *Prover) Retry(status int, h http.Header) bool {
	if !p.Nonce(h) || p.retried || status != http.StatusUnauthorized {
		return false
	}
	for _, c := range ParseChallenges(h) {
		if c.Scheme == DPoPScheme && c.Params["error"] == "use_dpop_nonce" {
			p.retried = true
			return true
		}
	}
	return false
}
