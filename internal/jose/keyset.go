// Fetches a provider's keys and verifies what is signed with them (RFC 7517, RFC 7515, RFC 8725).

package jose

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	refetchEvery = time.Minute    // S81: at most one fetch for keys that are not in the set
	freshFor     = time.Hour      // after which a key that the provider took out is noticed
	usableFor    = 24 * time.Hour // how long old keys serve while the provider cannot be reached
)

// ErrKeySet means that the provider's keys could not be had. It says nothing about
// a token. An answer that is no key set matches wire.ErrInvalidResponse too.
var ErrKeySet = errors.New("the provider's keys cannot be read")

func invalidKeySet(err error) error { return fmt.Errorf("%w: %w", ErrKeySet, wire.Invalid("%w", err)) }

// KeySet holds the keys of one jwks_uri. It is safe for concurrent use: callers that overlap share one fetch.
//
// Keys are fetched when they are first needed, again after an hour, and at most once a minute where a token is
// signed with none of them (S81), for anyone can make up tokens with random key IDs.
type KeySet struct {
	client *fetch.Client
	uri    string

	mu        sync.Mutex
	keys      []key
	fetched   time.Time // zero: there are no keys yet
	refetched time.Time // when the last fetch began that was not the first
	flight    *flight
}

// flight is a fetch under way. It lives as long as anyone waits for it, whoever began it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	err     error // set before done is closed
}

// NewKeySet returns an empty cache; nothing is fetched before it is asked for.
func NewKeySet(c *fetch.Client, uri string) *KeySet { return &KeySet{client: c, uri: uri} }

// Prefetch fetches the keys if there are none yet. It does not count as the fetch that an unknown key may cause. Its error can be
// ignored: [Cache.Verify] tries again.
func (c *KeySet) Prefetch(ctx context.Context) error {
	_, err := c.current(ctx)
	return err
}

// current returns the keys, fetching them if there are none or they are old.
func (c *KeySet) current(ctx context.Context) ([]key, error) {
	c.mu.Lock()
	age := time.Since(c.fetched)
	switch {
	case c.fetched.IsZero():
		if err := c.fetch(ctx); err != nil { // unlocks
			return nil, err
		}
	case age > freshFor && (c.flight != nil || c.mayRefetch()):
		if err := c.fetch(ctx); err != nil && age > usableFor {
			return nil, err
		}
	case age > usableFor:
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: they are a day old and the provider did not answer; try again in a minute", ErrKeySet)
	default:
		defer c.mu.Unlock()
		return c.keys, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys, nil
}

// renewed returns the keys after a fetch that a token with an unknown key asks for; ok is false where the
// rate limit forbids one and none is under way.
func (c *KeySet) renewed(ctx context.Context) (keys []key, ok bool, err error) {
	c.mu.Lock()
	if c.flight == nil && !c.mayRefetch() {
		defer c.mu.Unlock()
		return nil, false, nil
	}
	if err := c.fetch(ctx); err != nil { // unlocks
		return nil, true, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys, true, nil
}

// mayRefetch takes the one fetch of this minute. Called with mu held.
func (c *KeySet) mayRefetch() bool {
	now := time.Now()
	if !c.refetched.IsZero() && now.Sub(c.refetched) < refetchEvery {
		return false
	}
	c.refetched = now
	return true
}

// fetch joins the fetch under way or begins one, and waits for it. Called with mu held; returns with it released.
func (c *KeySet) fetch(ctx context.Context) error {
	f := c.flight
	if f == nil {
		// Not the caller's ctx: the others who wait must not fail because one went away.
		fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel}
		c.flight = f
		go func() {
			keys, err := load(fctx, c.client, c.uri)
			cancel()
			c.mu.Lock()
			defer c.mu.Unlock()
			if err == nil {
				c.keys, c.fetched = keys, time.Now()
			}
			if c.flight == f {
				c.flight = nil
			}
			f.err = err
			close(f.done)
		}()
	}
	f.waiters++
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.waiters--; f.waiters == 0 {
			f.cancel()
			if c.flight == f {
				c.flight = nil // who comes next begins anew rather than join a fetch that is being cancelled
			}
		}
		return ctx.Err()
	}
}

func load(ctx context.Context, c *fetch.Client, uri string) ([]key, error) {
	req, err := fetch.NewRequest(http.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: jwks_uri: %w", ErrKeySet, err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := c.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fmt.Errorf("%w: HTTP %d", ErrKeySet, resp.Status)
	}
	return parse(resp.Body)
}

// matching returns the keys that kid names, or all where the token names none.
func matching(keys []key, kid *string) []key {
	if kid == nil {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return k.id != *kid })
}
