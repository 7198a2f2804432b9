package session

import (
	"context"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// maxBackoff bounds the pause between early refreshes in a long outage.
const maxBackoff = 2 * time.Minute

// dismissedPause is how long the user is not prompted again after a prompt of the
// keychain was dismissed.
const dismissedPause = time.Minute

// backoff is a time without refreshes. It grows while they fail.
type backoff struct {
	since    time.Time
	length   time.Duration
	failures int
	err      error // how the last refresh failed
}

func (b *backoff) over(now time.Time) bool { return b == nil || now.Sub(b.since) >= b.length }

// lastFailure returns how the last refresh of s, or of the whole account, failed, if that
// was so short a time ago that another would fail too.
func (a *Account) lastFailure(s *Slot, now time.Time) error {
	for _, b := range []*backoff{a.failing.Load(), s.failing.Load()} {
		if !b.over(now) {
			return b.err
		}
	}
	return nil
}

// refused returns how the last prompt of the keychain failed, if that was so short a
// time ago that the user shall not see another. The pause ends early if the
// keychain no longer prompts.
func (as *Accounts) refused(ctx context.Context) error {
	b := as.dismissed.Load()
	if b.over(time.Now()) {
		return nil
	}
	if get, put, err := as.Keeper.prompts(ctx); err == nil && !get && !put {
		return nil
	}
	return b.err
}

// failAfter says how soon a refresh that failed is tried again, though callers wait
// for it: until then they get its error at once.
func (a *Account) failAfter(s *Slot, err error) {
	if err == nil {
		a.failing.Store(nil)
		s.failing.Store(nil)
		a.accounts.dismissed.Store(nil)
		return
	}
	if errors.Is(err, tokenstore.ErrDismissed) { // the keychain is one for all accounts
		if as := a.accounts; as.dismissed.Load().over(time.Now()) {
			as.dismissed.Store(&backoff{since: time.Now(), length: dismissedPause, err: err})
		}
		return
	}
	first, longest := time.Duration(0), time.Duration(0)
	where := &a.failing
	var se *SendError
	var asked *PauseError
	var narrow *NarrowError
	var unchecked *uncheckedError
	switch {
	case errors.As(err, &unchecked):
		first, longest = firstBackOff, openBackOff
	case errors.As(err, &narrow):
		where, first, longest = &s.failing, 10*time.Second, longBackOff
	case errors.As(err, &asked):
		// To look at the journal again costs no request, and a sibling may have done
		// better, or signed in.
		first = min(asked.After, recheckEvery)
		longest = first
	case errors.Is(err, ErrDead), errors.Is(err, ErrDoubted), !errors.As(err, &se), se.Failure == LockLost:
		return // it costs no request, or it is not the provider's
	case se.Failure == NotSent, se.Failure == Unknown:
		first, longest = firstBackOff, openBackOff
	case se.Failure == Paused && a.accounts.Obtain != nil: // there is no journal to say it
		first, longest = se.After, se.After
	case se.Failure == Doubtful:
		first, longest = doubtGap, doubtGap
	case se.Failure == Refused:
		first, longest = 2*time.Second, longBackOff
		if !s.Main() {
			where = &s.failing
		}
	}
	next := &backoff{since: time.Now(), err: err}
	if b := where.Load(); b != nil {
		next.failures = b.failures + 1
	}
	next.length = jitter(min(first<<min(next.failures, 10), longest))
	if asked != nil || se != nil && (se.Failure == Doubtful || se.Failure == Paused) {
		next.length = first // no sooner than was asked for
	}
	where.Store(next)
}

func (a *Account) paused(now time.Time) bool {
	return !a.pause.Load().over(now)
}

// pauseAfter says how soon an early refresh is tried again. While a sibling holds
// the lock it is tried every few seconds. The first tries are well within the grace
// that providers give.
func (a *Account) pauseAfter(err error) {
	if err == nil {
		a.pause.Store(nil)
		return
	}
	next := &backoff{since: time.Now(), length: 2 * time.Second}
	var asked *PauseError
	var se *SendError
	switch {
	case errors.As(err, &asked):
		next.length = asked.After
	case errors.As(err, &se) && se.Failure == Paused:
		next.length = se.After
	case !errors.Is(err, ErrBusy):
		if p := a.pause.Load(); p != nil {
			next.failures = p.failures
		}
		next.length = min(recheckEvery<<next.failures, maxBackoff)
		next.failures = min(next.failures+1, 8)
	}
	a.pause.Store(next)
}

// Recheck is for somebody that depends on the session and does not use s's token: a
// logout in another process shall be noticed all the same.
func (a *Account) Recheck(s *Slot) {
	if t := s.token.Load(); t != nil {
		a.recheck(t, time.Now())
	}
}

// recheck rereads the journal in the background if it is due. It finishes a refresh
// that a crashed process began, adopts a newer token, or notices a logout. One
// goroutine does so at a time, and nobody waits for it.
func (a *Account) recheck(t *CachedToken, now time.Time) {
	if a.accounts.Obtain != nil { // there is no journal
		return
	}
	age, due := int64(now.Sub(t.receivedAt)), t.recheckAt.Load()
	if age < due || !t.recheckAt.CompareAndSwap(due, age+int64(recheckEvery)) || a.accounts.Begin() != nil {
		return
	}
	go func() {
		defer a.accounts.Done()
		g := a.grant.Load()
		if g == nil {
			return
		}
		life := a.accounts.Life
		stale, open, err := a.accounts.Keeper.Stale(life, a.Key, g)
		switch {
		case err == nil && stale:
			if locked, _, perr := a.accounts.Keeper.prompts(life); locked || perr != nil {
				return // no prompt for what nobody waits for; an expired token is read by a caller
			}
			err = a.Load(life)
		case err == nil && open && !a.paused(time.Now()):
			a.refresh(a.Slot("", nil), true, 0)
		}
		if err != nil {
			a.accounts.Logger.Info("the session's journal was read again", "account", a.Name, "err", err)
		}
	}()
}
