package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Many processes often start at once and find one access token that has expired. If
// each of them reads the keychain, the one that refreshes waits for all the others,
// since a keychain answers one process at a time. And what they read is replaced a
// moment later. The journal beside the lock tells who needs to read now. It is a
// file, and not the keychain.

const (
	// queueWait bounds how long a process that loads a session waits for the refresh
	// of another one, if the tokens have expired. If they have not, it waits as long
	// as an early refresh does. It also bounds how long a process keeps its turn that
	// reads the session and does not refresh it.
	queueWait = time.Second
	// queueTry is how often a process that waits looks whether the turn is free.
	queueTry = 2 * pollEvery
	// queueSuffix marks the lock of whoever has the turn.
	queueSuffix = ".queue"
)

// queue lets another process go first that refreshes the session. The turn of this
// one ends with its refresh, or with the client.
func (a *Account) queue(ctx context.Context) {
	taking := func() {}
	if !a.turn.CompareAndSwap(nil, &taking) { // this process has the turn, or waits for it
		return
	}
	next := a.accounts.Keeper.queue(ctx, a.Key)
	switch {
	case next == nil:
		a.turn.CompareAndSwap(&taking, nil)
	case a.turn.CompareAndSwap(&taking, &next):
		context.AfterFunc(a.accounts.Life, next)
	default: // a refresh has ended meanwhile
		next()
	}
}

// EndTurns gives back the turns of this process. It is for the end of a client that
// loads no session any more.
func (as *Accounts) EndTurns() {
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, a := range as.byName {
		if next := a.turn.Swap(nil); next != nil {
			(*next)()
		}
	}
}

// queue returns when the caller should read the session of key: at once, unless the
// journal says that the tokens have expired or are about to be replaced. Then one
// process goes first, and the others wait until the journal tells of new tokens. It
// never fails, and waits for queueWait at most. next gives the turn to the next
// process, when this one has refreshed the session; nil: it has not got the turn.
func (k *Keeper) queue(ctx context.Context, key string) (next func()) {
	if !k.Queue {
		return nil
	}
	data, _ := k.journalBytes(ctx, key)
	now := time.Now()
	j, err := parseJournal(data)
	if err != nil || !j.stale(now) {
		return nil
	}
	wait := queueWait
	if !j.expired(now) {
		wait = tryWait
	}
	waiting, enough := context.WithTimeout(ctx, wait)
	defer enough()
	for {
		next, mine := k.myTurn(ctx, waiting, key, &j)
		if mine || !k.watchStale(ctx, waiting, key, &j) {
			return next
		}
	}
}

// myTurn reports whether no other process refreshes, or is about to. A refresh that
// is open without its lock is that of a dead process.
func (k *Keeper) myTurn(
	ctx, waiting context.Context, key string, j *Journal,
) (next func(), mine bool) {
	if j.Open == nil {
		key += queueSuffix
	}
	brief, enough := context.WithTimeout(waiting, time.Millisecond)
	defer enough()
	_, unlock, err := k.lockWhile(ctx, brief, key)
	switch {
	case err != nil:
		return nil, !errors.Is(err, ErrBusy)
	case j.Open != nil:
		unlock()
		return nil, true
	}
	next = sync.OnceFunc(unlock)
	time.AfterFunc(queueWait, next)
	return next, true
}

// watchStale reads the journal for queueTry. It returns false if the tokens are
// new, or waiting has ended.
func (k *Keeper) watchStale(ctx, waiting context.Context, key string, j *Journal) bool {
	for range queueTry / pollEvery {
		if !rest(waiting, pollEvery/2+rand.N(pollEvery)) {
			return false
		}
		data, err := k.journalBytes(ctx, key)
		if err != nil {
			continue
		}
		if *j, err = parseJournal(data); err != nil || !j.stale(time.Now()) {
			return false
		}
	}
	return true
}

// stale reports whether the stored tokens are about to be replaced: a refresh is
// under way, or they have expired and can be refreshed.
func (j *Journal) stale(now time.Time) bool {
	if j.Open != nil {
		return j.Open.Kind == opRefresh
	}
	return j.expired(now) && j.Row.Refreshable && j.Dead == "" && j.Doubt == nil
}

// expired reports whether the login's own token is known to have expired.
func (j *Journal) expired(now time.Time) bool { return j.Row != nil && !now.Before(j.Row.Until) }
