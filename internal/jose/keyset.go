// Fetches a provider's key set (RFC 7517 §5) and keeps it.
//
// Anyone can make up tokens with random key IDs. So the keys are fetched again
// at most once a minute, however many tokens name a key that is not in the set
// (S81).

package jose

import (
	"bytes"
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
	// refetchEvery limits fetches for keys that are not in the set (S81).
	refetchEvery = time.Minute
	// freshFor bounds how long a key that the provider withdrew is still used.
	freshFor = time.Hour
	// usableFor is how long old keys serve while the provider cannot be
	// reached.
	usableFor = 24 * time.Hour
	// ahead is how far in the future keys may have been fetched: clocks are
	// corrected.
	ahead = time.Minute
)

// ErrKeySet means that the provider's keys could not be had. It says nothing
// about a token. If the answer was no key set, the error matches
// wire.ErrInvalidResponse too.
var ErrKeySet = errors.New("the provider's keys cannot be read")

// invalidKeySet refuses an answer that is no key set.
func invalidKeySet(why error) error {
	return fmt.Errorf("%w: %w", ErrKeySet, wire.Invalid("%w", why))
}

// KeySet holds the keys of one jwks_uri. It is safe for concurrent use: callers
// that overlap share one fetch.
//
// Keys are fetched when they are first needed and again after an hour. They are
// also fetched again, at most once a minute, if a token is signed with none of
// them (S81).
type KeySet struct {
	client *fetch.Client
	uri    string

	mu        sync.Mutex
	keys      []key
	document  []byte    // what keys were read from
	fetched   time.Time // zero: there are no keys yet
	refetched time.Time // when the last fetch began that was not the first
	failed    bool      // the last fetch brought no keys
	flight    *flight
}

// flight is a fetch under way. It goes on while at least one caller waits for
// it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	err     error // set before done is closed
}

// NewKeySet returns an empty cache. Nothing is fetched before the first use.
func NewKeySet(c *fetch.Client, uri string) *KeySet { return &KeySet{client: c, uri: uri} }

// RestoreKeySet returns a cache with the keys of document, which an earlier process
// fetched from uri. It is empty, as NewKeySet's is, if document is no key set, is
// older than a day, or is from the future. Keys that are older than an hour are
// fetched again before they are used.
func RestoreKeySet(c *fetch.Client, uri string, document []byte, fetched time.Time) *KeySet {
	s := NewKeySet(c, uri)
	if age(fetched) > usableFor {
		return s
	}
	if keys, err := parse(document); err == nil {
		s.keys, s.document, s.fetched = keys, document, fetched
	}
	return s
}

// age returns how old keys are. If they were fetched in the future, this machine's
// clock was set back: nobody knows how old they are, and they are too old to be used.
func age(fetched time.Time) time.Duration {
	if d := time.Since(fetched); d >= -ahead {
		return d
	}
	return usableFor + 1
}

// Document returns the document that the keys were read from, for RestoreKeySet, and
// when it was fetched. It is nil if there are no keys yet. Do not change it.
func (c *KeySet) Document() (document []byte, fetched time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.document, c.fetched
}

// Stale reports whether there are keys that will be fetched again before they are
// used, because they are an hour old.
func (c *KeySet) Stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.fetched.IsZero() && age(c.fetched) > freshFor
}

// Prefetch fetches the keys if there are none yet. It does not count as the
// fetch that an unknown key may cause. Its error can be ignored:
// [KeySet.Verify] tries again.
func (c *KeySet) Prefetch(ctx context.Context) error {
	_, err := c.current(ctx)
	return err
}

// current returns the keys. It fetches them if there are none or they are old.
func (c *KeySet) current(ctx context.Context) ([]key, error) {
	c.mu.Lock()
	age := age(c.fetched)
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
		return nil, fmt.Errorf("%w: they are a day old and the provider did not answer; "+
			"try again in a minute", ErrKeySet)
	default:
		defer c.mu.Unlock()
		return c.keys, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys, nil
}

// renewed fetches the keys anew for a token that is signed with none of them.
// ok is false if the rate limit forbids that; the keys at hand are all there
// are then.
//
// If the fetch before failed, the limit is an error: the keys at hand may be
// old, so they are no reason to reject a token for good.
func (c *KeySet) renewed(ctx context.Context) (keys []key, ok bool, err error) {
	c.mu.Lock()
	if c.flight == nil && !c.mayRefetch() {
		defer c.mu.Unlock()
		if c.failed {
			return nil, false, fmt.Errorf("%w: the provider did not give them a moment ago; "+
				"try again in a minute", ErrKeySet)
		}
		return nil, false, nil
	}
	if err := c.fetch(ctx); err != nil { // unlocks
		return nil, true, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys, true, nil
}

// Renew fetches the keys now, whatever the time. It is for a login or refresh whose
// token failed with ErrNotRenewed. Each does so once, so tokens with random key IDs
// cost no more than logins and refreshes.
func (c *KeySet) Renew(ctx context.Context) error {
	c.mu.Lock()
	if c.flight == nil {
		c.refetched = time.Now()
	}
	return c.fetch(ctx) // unlocks
}

// Retry fetches the keys now if the last fetch brought none, whatever the time.
// It is for a login: its tokens are lost if they cannot be verified soon; the
// caller bounds how often it retries. A fetch that brought keys is not
// repeated, so tokens with random key IDs gain nothing by it (S81).
func (c *KeySet) Retry(ctx context.Context) error {
	c.mu.Lock()
	if !c.failed {
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	return c.Renew(ctx)
}

// mayRefetch takes the one fetch of this minute. It is called with mu held.
func (c *KeySet) mayRefetch() bool {
	now := time.Now()
	if !c.refetched.IsZero() && now.Sub(c.refetched) < refetchEvery {
		return false
	}
	c.refetched = now
	return true
}

// fetch joins the fetch under way or begins one, and waits for it. It is called
// with mu held and returns with it released.
func (c *KeySet) fetch(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // nobody would wait for what it sends
		c.mu.Unlock()
		return err
	}
	f := c.flight
	if f == nil {
		f = c.takeOff(ctx)
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
				c.flight = nil // the next caller must not join a fetch that is cancelled
			}
		}
		return ctx.Err()
	}
}

// takeOff begins a fetch. It is called with mu held.
func (c *KeySet) takeOff(ctx context.Context) *flight {
	// The fetch does not end with the caller's ctx: others may have joined it.
	fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{done: make(chan struct{}), cancel: cancel}
	c.flight = f
	go func() {
		keys, document, err := load(fctx, c.client, c.uri)
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failed = err != nil; err == nil {
			c.keys, c.document, c.fetched = keys, document, time.Now()
		}
		if c.flight == f {
			c.flight = nil
		}
		f.err = err
		close(f.done)
	}()
	return f
}

// load fetches and parses a key set.
func load(
	ctx context.Context, c *fetch.Client, uri string,
) (keys []key, document []byte, err error) {
	req, err := fetch.NewRequest(http.MethodGet, uri, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: jwks_uri: %w", ErrKeySet, err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := c.Get(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, nil, fmt.Errorf("%w: HTTP %d", ErrKeySet, resp.Status)
	}
	// A byte order mark may be ignored (RFC 8259 §8.1).
	document = bytes.TrimPrefix(resp.Body, []byte("\xef\xbb\xbf"))
	keys, err = parse(document)
	return keys, document, err
}

// matching returns the keys that kid names, or all if the token names none. A key
// without a kid of its own may be the one that is meant: some providers name it in
// their tokens only.
func matching(keys []key, kid *string) []key {
	if kid == nil {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return k.id != *kid && k.id != "" })
}
