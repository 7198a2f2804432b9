package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Attempt is one caller's wish for a token.
type Attempt struct {
	Key string
	// Early means that the caller's token is still valid, so the lock is only
	// tried.
	Early bool
	// Known is the grant that the caller has; nil: none. While the journal says
	// that it is the one that is stored, the value is not read again.
	Known *Grant
	// Serves reports whether a stored grant is what the caller wants, so that
	// nothing has to be sent.
	Serves func(*Grant) bool
	// Send sends g's refresh token and returns g's successor, with every token that
	// goes on living. Its errors are *SendError. If Send returns both a grant and an
	// error, the grant is stored but not used: it carries a rotated refresh token
	// out of an answer that is otherwise of no use (S59).
	Send func(ctx context.Context, g *Grant) (*Grant, error)
	// SendWhole sends g's refresh token for the login's own tokens, if Send asks for
	// less; nil: Send does not. It tells whether a refusal is the session's or only
	// of what was asked.
	SendWhole func(ctx context.Context, g *Grant) (*Grant, error)
	// Starting bounds what comes before the refresh token is sent; nil: ctx alone.
	Starting context.Context
	// Stalled is called if the new tokens cannot be stored at present. Refresh goes
	// on trying, with the lock held.
	Stalled func(error)
	// Landed is called once the new tokens are stored; nil: nobody asks.
	Landed func()
}

const (
	// tryWait is how long an early refresh waits for the lock. Whoever came first
	// refreshes for all.
	tryWait = 250 * time.Millisecond
	// pollEvery is how often a process that waits for the lock reads the journal.
	pollEvery = 25 * time.Millisecond
)

// Refresh returns a stored grant that serves, by adopting what another process
// stored or by refreshing. It returns when the matter is settled: ctx is the life
// of the client and not one caller's.
func (k *Keeper) Refresh(ctx context.Context, a Attempt) (*Grant, error) {
	starting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if a.Starting != nil {
		defer context.AfterFunc(a.Starting, func() { cancel(context.Cause(a.Starting)) })()
	}

	// Step 2.
	if a.Early {
		if err := k.quiet(starting, a); err != nil {
			return nil, err
		}
	}
	adopted, j, err := k.adoptStored(starting, a)
	if adopted != nil || err != nil {
		return adopted, err
	}

	// Step 3.
	wait := k.LockWait
	if a.Early {
		wait = tryWait
	}
	held, unlock, adopted, err := k.lockOrAdopt(ctx, starting, a, j, wait)
	if adopted != nil || err != nil {
		return adopted, err
	}
	defer unlock()
	return k.refreshLocked(held, a, false)
}

// quiet returns an error if an early refresh would prompt the user, who is doing
// something else. An operation that another process left open is finished even so:
// its provider's grace period may be about to pass.
func (k *Keeper) quiet(ctx context.Context, a Attempt) error {
	_, prompts, err := k.prompts(ctx)
	if err != nil || !prompts {
		return err
	}
	if j, err := k.readJournal(ctx, a.Key); err == nil && a.Known != nil && j.names(a.Known) {
		return nil
	}
	return errWouldPrompt
}

// adoptStored is step 2: the stored grant is adopted if it serves. ErrAbsent means
// that there is no session, and no logout that may have to be finished.
func (k *Keeper) adoptStored(ctx context.Context, a Attempt) (*Grant, Journal, error) {
	j, err := k.readJournal(ctx, a.Key)
	g := a.Known
	if err == nil && (g == nil || !j.upToDate(g)) {
		j, g, err = k.read(ctx, a.Key)
	}
	if err != nil {
		return nil, j, err
	}
	switch {
	case g == nil && !j.leaving():
		return nil, j, j.absent()
	case g != nil && j.dead(g):
		return nil, j, ErrDead
	}
	return k.adopt(j, g, a), j, nil
}

// lockOrAdopt takes the refresh lock. While another process holds it, the journal
// is watched and what that process stores is adopted: otherwise all that wait
// would go through the lock one by one. At the deadline step 2 is done once more.
func (k *Keeper) lockOrAdopt(ctx, starting context.Context, a Attempt, seen Journal, wait time.Duration) (
	held context.Context, unlock func(), adopted *Grant, err error,
) {
	waiting, enough := within(starting, wait)
	defer enough()
	found := make(chan *Grant, 1)
	go func() {
		g := k.watch(ctx, waiting, a, seen)
		enough()
		found <- g
	}()
	held, unlock, err = k.lockWhile(ctx, waiting, a.Key)
	enough()
	if adopted = <-found; adopted == nil && err != nil {
		adopted, _, _ = k.adoptStored(ctx, a)
	}
	if adopted == nil {
		return held, unlock, nil, err
	}
	if err == nil {
		unlock()
	}
	return nil, nil, adopted, nil
}

// watch reads the journal until waiting ends, and returns the stored grant once
// another process has stored one that serves. Its reads end with ctx only: a call
// to a keychain that is given up would stand in the next one's way.
func (k *Keeper) watch(ctx, waiting context.Context, a Attempt, seen Journal) *Grant {
	var last []byte
	for pause := pollEvery / 5; ; pause = min(2*pause, pollEvery) {
		select {
		case <-waiting.Done():
			return nil
		case <-time.After(pause):
		}
		data, err := k.journalBytes(ctx, a.Key)
		if err != nil || bytes.Equal(data, last) {
			continue
		}
		last = data
		j, err := parseJournal(data)
		if err != nil || j.Open != nil || seen.Open == nil && j.Newest == seen.Newest {
			continue
		}
		j, g, err := k.read(ctx, a.Key)
		if err != nil {
			continue
		}
		if g := k.adopt(j, g, a); g != nil {
			return g
		}
		seen = j
	}
}

// adopt returns g if it serves and no open refresh has sent its refresh token.
// With one open, the provider's grace period would pass while everyone goes on
// with the old tokens, and the next refresh would be a reuse. If its ID token was
// not checked yet, step 4c does so, since only the lock's holder may note how that
// ended.
func (k *Keeper) adopt(j Journal, g *Grant, a Attempt) *Grant {
	if g = j.judged(g); g == nil || g.Pending() || j.names(g) || !a.Serves(g) {
		return nil
	}
	k.log().Debug("the tokens of another process are used", "event", "adopt", "account", g.Account)
	return g
}

// refreshLocked is steps 4 to 9. again means that step 6c has been here before.
func (k *Keeper) refreshLocked(ctx context.Context, a Attempt, again bool) (*Grant, error) {
	j, g, err := k.current(ctx, a) // step 4
	if err != nil {
		return nil, err
	}
	if j.dead(g) { // step 4a
		return nil, ErrDead
	}
	if !j.names(g) && a.Serves(g) { // step 4c
		verified, err := k.verify(ctx, g, &j)
		if g.Pending() {
			k.note(ctx, a.Key, j)
		}
		unsigned := errors.Is(err, ErrUnsigned) && !errors.Is(err, ErrMismatch)
		if !unsigned || !j.Unsigned.over(time.Now()) {
			return verified, err
		}
	}
	if err := j.forbids(g, time.Now()); err != nil {
		return nil, err
	}
	if err := k.ready(ctx, a, g); err != nil { // step 5
		return nil, err
	}
	recovery, err := k.open(ctx, a.Key, &j, g, opRefresh)
	if err != nil {
		return nil, err
	}
	next, twice, err := k.send(ctx, a, g)
	if next == nil {
		return k.failed(ctx, a, &j, g, err, recovery || twice, again)
	}
	return k.land(ctx, a, &j, g, next, err)
}

// open is the end of step 5: the journal says which refresh token is about to be
// sent. recovery means that it may have been sent before (step 4d).
func (k *Keeper) open(
	ctx context.Context, key string, j *Journal, g *Grant, kind string,
) (recovery bool, err error) {
	since := time.Now().UnixMilli()
	recovery = j.names(g)
	if recovery && j.Open.Since > 0 {
		since = j.Open.Since
	}
	j.Open = &Operation{Kind: kind, Generation: j.allot(g), Hash: g.hash(), Since: since}
	j.NotBefore, j.Status = 0, 0
	return recovery, k.writeJournal(ctx, key, *j)
}

// send is step 6. twice means that nobody knows what became of the first attempt.
func (k *Keeper) send(ctx context.Context, a Attempt, g *Grant) (next *Grant, twice bool, err error) {
	next, err = a.Send(ctx, g)
	if err != nil && next == nil && failureOf(err) == Unknown && ctx.Err() == nil {
		k.log().Info("the refresh was sent and its outcome is unknown; sending once more", "key", a.Key)
		twice = true
		next, err = a.Send(ctx, g)
	}
	refused := failureOf(err) == Dead || failureOf(err) == Doubtful
	if next == nil && a.SendWhole != nil && refused && ctx.Err() == nil {
		// Is it the session, or only what was asked of it?
		narrow := err
		if next, err = a.SendWhole(ctx, g); err == nil {
			err = &NarrowError{narrow}
		}
	}
	return next, twice, err
}

// ready is the beginning of step 5: the store can be written. A store that prompts
// before it replaces a value does so now, for the value that it has. If the user
// says no, the refresh token has not been sent and the session goes on. A store
// that remembers the answer then takes the new value without another prompt.
func (k *Keeper) ready(ctx context.Context, a Attempt, g *Grant) error {
	if err := k.Probe(ctx); err != nil {
		return err
	}
	_, prompts, err := k.prompts(ctx)
	if err != nil || !prompts {
		return err
	}
	data, err := g.encode()
	if err != nil {
		return err
	}
	return k.put(ctx, a.Key, data, a.Stalled)
}

// current is step 4, a and b: what is true now, under the lock. A logout that was
// left half done is finished, and an operation that landed is closed.
func (k *Keeper) current(ctx context.Context, a Attempt) (j Journal, g *Grant, err error) {
	if j, g, err = k.read(ctx, a.Key); err != nil {
		return j, nil, err
	}
	if j.leaving() {
		if err := k.finishLogout(ctx, a.Key, &j, a.Stalled); err != nil {
			return j, nil, err
		}
		return j, nil, ErrSignedOut
	}
	if g == nil {
		return j, nil, j.absent()
	}
	if j.Open != nil && j.Open.Generation == g.Generation {
		j.landed(g)
		if err := k.writeJournal(ctx, a.Key, j); err != nil {
			return j, nil, err
		}
	}
	return j, g, nil
}

// land is steps 7 to 9: next is durable before anybody sees it. sent is the error
// that came with it, if any.
func (k *Keeper) land(ctx context.Context, a Attempt, j *Journal, g, next *Grant, sent error) (*Grant, error) {
	next.Generation = j.Open.Generation
	if next.RefreshToken.IsZero() {
		next.RefreshToken = g.RefreshToken
	}
	if err := k.save(ctx, a.Key, next, a.Stalled); err != nil { // step 9
		return nil, err
	}
	if a.Landed != nil {
		a.Landed()
	}
	verified, verr := k.verify(ctx, next, j)
	k.closeOperation(ctx, a.Key, j, next) // step 8
	k.log().Info("the session was refreshed", "event", "refresh", "account", next.Account)
	if sent != nil {
		return nil, sent
	}
	return verified, verr
}

// failed is step 6, a to c: what a failure to refresh leaves in the journal.
// Nothing is deleted.
func (k *Keeper) failed(
	ctx context.Context, a Attempt, j *Journal, g *Grant, err error, recovery, again bool,
) (*Grant, error) {
	end := func() {
		if !recovery {
			j.Newest = j.Open.Generation - 1 // nothing was stored, so nobody shall look for it
			j.Open = nil
		}
		k.note(ctx, a.Key, *j)
	}
	switch failureOf(err) {
	case NotSent, LockLost, Refused:
		end()
	case Doubtful:
		var se *SendError
		errors.As(err, &se)
		d := j.addDoubt(g, se.ClientID, time.Now())
		end()
		if d.confirmed() {
			return nil, fmt.Errorf("%w: %w", ErrDoubted, err)
		}
	case Paused:
		var se *SendError
		errors.As(err, &se)
		j.NotBefore, j.Status = time.Now().Add(se.After).UnixMilli(), se.Status
		end()
	case Dead:
		// A sibling without our lock (another machine, an older program) may have
		// been first.
		_, now, rerr := k.read(ctx, a.Key)
		if rerr == nil && now != nil && now.Generation > g.Generation && !again {
			end()
			return k.refreshLocked(ctx, a, true)
		}
		j.Dead, recovery = g.hash(), false
		end()
		return nil, fmt.Errorf("%w: %w", ErrDead, err)
	default:
		recovery = true
		j.backOff(err, time.Now())
		end()
	}
	return nil, err
}

// verify checks the ID token that came with g, unless the journal says how that
// ended. It returns g with that token as its own, or with its earlier one if the new
// one was rejected. ErrMismatch ends the session; after any other error the token is
// checked again later, without another refresh.
func (k *Keeper) verify(ctx context.Context, g *Grant, j *Journal) (*Grant, error) {
	if g = j.judged(g); !g.Pending() {
		return g, nil
	}
	if j.Mismatch == g.Generation {
		return nil, ErrMismatch
	}
	err := k.Verify(ctx, g)
	switch {
	case errors.Is(err, ErrUnsigned) && j.unsigned(g, time.Now()):
		j.Mismatch = g.Generation
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	case errors.Is(err, ErrMismatch):
		j.Mismatch = g.Generation
		return nil, err
	case errors.Is(err, ErrRejected):
		k.log().Warn("the refreshed ID token is not used; the earlier one is kept", "err", err)
		j.Rejected, j.Unsigned = g.Generation, nil
		return g.keepIDToken(), nil
	case err != nil:
		return nil, &uncheckedError{err}
	}
	j.Verified, j.Unsigned = g.Generation, nil
	return g.promote(), nil
}

// uncheckedError means that a refreshed ID token could not be checked now.
type uncheckedError struct{ error }

func (e *uncheckedError) Unwrap() error { return e.error }
