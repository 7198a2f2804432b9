// Keeps the nonces that servers demand in proofs (RFC 9449 §8 and §9).
//
// A nonce proves that a proof was made just now. A server may hand out a new
// one at any time, so a request may have to be sent once more, but never a
// third time (S86).

package oauth

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Bounds on what servers can make the program keep and send.
const (
	maxNonceOrigins = 64
	maxNonce        = 1024 // bytes
)

// Nonces remembers the latest nonce of each origin. An authorization server's
// nonce is never used at a resource server, nor the reverse (§9, S86). Beyond
// 64 origins the one that was set first is forgotten, at the cost of one more
// request there. The zero Nonces is ready. It is safe for concurrent use.
type Nonces struct {
	// Clock dates the proofs.
	Clock Clock

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

// Latest returns a copy of the latest nonces, by origin.
func (n *Nonces) Latest() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.known)
}

// Adopt takes the nonces that an earlier process got, for the origins from which this
// one has none. A nonce that no server may send is ignored.
func (n *Nonces) Adopt(latest map[string]string) {
	for origin, nonce := range latest {
		if nonce != "" && validNonce(nonce) && n.get(origin) == "" {
			n.set(origin, nonce)
		}
	}
}

// validNonce reports whether nonce is short enough, and of the header's syntax (§8.1).
func validNonce(nonce string) bool { return len(nonce) <= maxNonce && isNQCHAR(nonce) }

// nonceOf returns the nonce of an answer. It is "" if the nonce is absent,
// given more than once (§8 forbids it), too long, or not of the header's syntax
// (§8.1).
func nonceOf(h http.Header) string {
	values := h.Values("DPoP-Nonce")
	if len(values) != 1 || !validNonce(values[0]) {
		return ""
	}
	return values[0]
}

// Prover proves requests by one method to one target. It is for one goroutine.
// Its Prove and Nonce serve a [Request], which limits its retries by itself.
// For a request to a resource, make a new Prover each time and call
// [Prover.Retry].
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

// Prover returns a Prover with the nonces from n. The parameters are those of
// [DPoPKey.Proof].
func (n *Nonces) Prover(
	key DPoPKey, method string, target *url.URL, accessToken wire.Secret,
) *Prover {
	return &Prover{
		key: key, nonces: n, method: method, target: target, origin: wire.Origin(target),
		accessToken: accessToken,
	}
}

// Prove sets the DPoP header to a fresh proof with the latest nonce of the
// target's origin.
func (p *Prover) Prove(_ context.Context, h http.Header) error {
	p.used = p.nonces.get(p.origin)
	proof, err := p.key.Proof(p.method, p.target, p.accessToken, p.used, p.nonces.Clock.Now())
	if err != nil {
		return err
	}
	h.Set("DPoP", proof)
	return nil
}

// Nonce adopts the nonce of any answer from the target, also of a success
// (§8.2). fresh reports that it is not the one just used, so that after a
// use_dpop_nonce error another request can succeed.
func (p *Prover) Nonce(h http.Header) (fresh bool) {
	nonce := nonceOf(h)
	if nonce == "" {
		return false
	}
	p.nonces.set(p.origin, nonce)
	return nonce != p.used
}

// Retry adopts the nonce of a resource server's answer, and reports whether to
// prove and send the request once more (§9). That needs status 401, a DPoP
// challenge that says use_dpop_nonce, and a fresh nonce. It returns true once
// in a Prover's life: a server that demands nonce after nonce gets no third
// request (S86).
func (p *Prover) Retry(status int, h http.Header) bool {
	if !p.Nonce(h) || p.retried || status != http.StatusUnauthorized {
		return false
	}
	if demands(h, "use_dpop_nonce") {
		p.retried = true
	}
	return p.retried
}

// Untimely reports whether to prove and send the request once more with this
// machine's own time, because the resource server refuses a proof that was made by
// the authorization server's. It returns true once in a Prover's life.
func (p *Prover) Untimely(status int, h http.Header) bool {
	if p.retried || status != http.StatusUnauthorized && status != http.StatusBadRequest {
		return false
	}
	p.retried = demands(h, "invalid_dpop_proof") && p.nonces.Clock.Reset()
	return p.retried
}

// demands reports whether a DPoP challenge has this error.
func demands(h http.Header, code string) bool {
	return slices.ContainsFunc(ParseChallenges(h), func(c Challenge) bool {
		return c.Scheme == DPoPScheme && c.Params["error"] == code
	})
}
