package session

import (
	"context"
	"errors"
	"math/rand/v2"
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
	// as an early refresh does.
	queueWait = time.Second
	// queueTurn is how long the first process has to read the session and to begin
	// its refresh before the next one has its turn.
	queueTurn = 2 * pollEvery
	// queueSuffix marks the lock of whoever has the turn.
	queueSuffix = ".queue"
)

// queue returns when the caller should read the session of key: at once, unless the
// journal says that the tokens have expired or are about to be replaced. Then one
// process goes first, and the others wait until the journal tells of new tokens. It
// never fails, and waits for queueWait at most.
func (k *Keeper) queue(ctx context.Context, key string) {
	if !k.Queue {
		return
	}
	data, _ := k.journalBytes(ctx, key)
	now := time.Now()
	j, err := parseJournal(data)
	if err != nil || !j.stale(now) {
		return
	}
	wait := queueWait
	if !j.expired(now) {
		wait = tryWait
	}
	waiting, enough := context.WithTimeout(ctx, wait)
	defer enough()
	for !k.myTurn(ctx, waiting, key, &j) {
		if !k.watchStale(ctx, waiting, key, &j) {
			return
		}
	}
}

// myTurn reports whether no other process refreshes, or is about to. A refresh that
// is open without its lock is that of a dead process.
func (k *Keeper) myTurn(ctx, waiting context.Context, key string, j *Journal) bool {
	if j.Open == nil {
		key += queueSuffix
	}
	brief, enough := context.WithTimeout(waiting, time.Millisecond)
	defer enough()
	_, unlock, err := k.lockWhile(ctx, brief, key)
	switch {
	case err != nil:
		return !errors.Is(err, ErrBusy)
	case j.Open != nil:
		unlock()
	default:
		time.AfterFunc(queueTurn, unlock)
	}
	return true
}

// watchStale reads the journal for queueTurn. It returns false if the tokens are
// new, or waiting has ended.
func (k *Keeper) watchStale(ctx, waiting context.Context, key string, j *Journal) bool {
	for range queueTurn / pollEvery {
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
