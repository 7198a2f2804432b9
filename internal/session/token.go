package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Token returns a valid token for s: from memory, from the store, or refreshed.
func (a *Account) Token(ctx context.Context, s *Slot) (*CachedToken, error) {
	t := s.token.Load()
	if t != nil && t.Fresh() {
		return t, nil
	}
	now := time.Now()
	if t != nil && t.Valid(now) { // nobody waits
		switch {
		case !t.early(now), a.paused(now): // a sibling may do better meanwhile, or sign out
			a.recheck(t, now)
			t.extend(now)
		case a.flight.Load() == nil && now.Sub(t.receivedAt) >= t.holdFor:
			a.refresh(s, true, t.Generation)
		}
		return t, nil
	}
	t, err := a.await(ctx, s, 0)
	if t == nil && err == nil {
		err = errors.New("the provider issues tokens that have expired already; check this machine's clock")
	}
	return t, err
}

// Refresh returns when there is a token for s of a generation above after.
func (a *Account) Refresh(ctx context.Context, s *Slot, after uint64) error {
	t, err := a.await(ctx, s, after)
	if t == nil && err == nil {
		err = errors.New("the session could not be refreshed; try again")
	}
	return err
}

// await returns a valid token of a generation above after. nil, nil: refreshes
// succeed and bring none.
func (a *Account) await(ctx context.Context, s *Slot, after uint64) (*CachedToken, error) {
	if s.foreign.Load() { // or another user's refresh token would be sent
		return nil, ErrOtherUser
	}
	for own := 0; own < 2; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := a.refresh(s, false, after)
		select {
		case <-f.done:
		case <-f.stalled:
			if err := f.landing(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if t := s.token.Load(); t != nil && t.Generation > after && t.Valid(time.Now()) {
			return t, nil
		}
		if s.foreign.Load() {
			return nil, ErrOtherUser
		}
		if f.slot == s && !f.early && !f.dropped { // otherwise it was another slot's, or gave way
			if f.err != nil {
				return nil, f.err
			}
			own++
		}
	}
	return nil, nil
}

// flight is one refresh, shared by all callers that want one.
type flight struct {
	slot    *Slot
	early   bool
	after   uint64 // the generation that is not good enough any more
	done    chan struct{}
	err     error         // after done
	dropped bool          // after done: a logout came between, so that a caller asks again
	stalled chan struct{} // closed if the new tokens cannot be stored at present
	stall   error         // after stalled
	once    sync.Once
	landed  atomic.Bool // the new tokens are stored, whatever stalled before
}

// landing waits for the end of a flight that had stalled and has stored its tokens
// since. It returns an error if they are not stored yet.
func (f *flight) landing(ctx context.Context) error {
	if !f.landed.Load() {
		return fmt.Errorf("the refreshed session cannot be stored, and is not used before it is: %w", f.stall)
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refresh joins the refresh under way, or starts one in the background. It outlives
// its callers: once the refresh token was sent, the answer must not be lost.
func (a *Account) refresh(s *Slot, early bool, after uint64) *flight {
	f := &flight{slot: s, early: early, after: after, done: make(chan struct{}), stalled: make(chan struct{})}
	for !a.flight.CompareAndSwap(nil, f) {
		if now := a.flight.Load(); now != nil {
			return now
		}
	}
	end := func(err error) *flight {
		f.err = err
		a.flight.Store(nil)
		close(f.done)
		return f
	}
	if err := a.lastFailure(s, time.Now()); err != nil && !early {
		return end(err) // as it was a moment ago: no storm of requests
	}
	if err := a.accounts.Begin(); err != nil {
		return end(err)
	}
	go func() {
		defer a.accounts.Done()
		err := a.run(f)
		// What a caller asks for may fail for a reason of its own, such as a
		// resource that the provider does not know.
		if early || err == nil {
			a.pauseAfter(err)
		}
		a.failAfter(s, err)
		end(err)
	}()
	return f
}

// run is one refresh by the protocol, and publishes what it brought.
func (a *Account) run(f *flight) error {
	if a.accounts.Obtain != nil {
		return a.obtain(f)
	}
	keeper, life := a.accounts.Keeper, a.accounts.Life
	defer func() {
		if next := a.turn.Swap(nil); next != nil {
			(*next)()
		}
	}()
	if !f.early {
		if err := a.accounts.refused(life); err != nil {
			return err
		}
	}
	known := a.grant.Load()
	attempt := Attempt{
		Key: a.Key, Early: f.early, Known: known, Starting: a.accounts.Starting,
		Serves: func(g *Grant) bool { return a.serves(f, g) },
		Send: func(ctx context.Context, g *Grant) (*Grant, error) {
			return a.accounts.Send(ctx, g, f.slot)
		},
		Landed: func() { f.landed.Store(true) },
		Stalled: func(err error) {
			f.once.Do(func() {
				f.stall = err
				close(f.stalled)
			})
		},
	}
	if !f.slot.Main() {
		main := a.Slot("", nil)
		attempt.SendWhole = func(ctx context.Context, g *Grant) (*Grant, error) {
			return a.accounts.Send(ctx, g, main)
		}
	}
	g, err := keeper.Refresh(life, attempt)
	if errors.Is(err, ErrNoRefreshToken) && !f.slot.Main() && known != nil && time.Now().Before(known.Tokens[0].Expiry) {
		err = &NarrowError{err} // another login would not bring one either
	}
	var narrow *NarrowError
	switch {
	case errors.Is(err, ErrAbsent), errors.Is(err, ErrDead), errors.Is(err, ErrMismatch),
		errors.Is(err, ErrDoubted), errors.As(err, &narrow):
		if seen, serr := keeper.Read(life, a.Key); serr == nil {
			a.publish(seen)
		}
	}
	if err != nil {
		if !a.ended.Load() {
			a.accounts.Logger.Info("the session was not refreshed", "event", "refresh_failed", "account", a.Name, "err", err)
		}
		return err
	}
	a.Stored(g)
	if a.accounts.Settled != nil {
		a.accounts.Settled(g)
	}
	return nil
}

// serves reports whether the stored grant g holds what f is for.
func (a *Account) serves(f *flight, g *Grant) bool {
	t := g.Token(f.slot.Resource, f.slot.Scopes)
	if _, err := g.ProofKey(); err != nil || t == nil || t.AccessToken.IsZero() {
		return false
	}
	if c := f.slot.token.Load(); c != nil && c.Generation <= f.after && c.is(t) {
		return false // the generation is newer, this token is not
	}
	now := time.Now()
	c := newCached(t, g.Generation, now, a.accounts.RefreshBefore)
	return g.Generation > f.after && c.Valid(now) && (!f.early || !c.early(now))
}
