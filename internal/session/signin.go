package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// loginSuffix names the login lock of a key, and beside it the failure of the last
// login.
const loginSuffix = ".login"

// LockLogin takes the login lock (step 10): its holder alone prompts the user.
// elsewhere is called if another process holds it. held is for LeaveFailure. A
// login does not end with it, since the user is at work.
func (k *Keeper) LockLogin(ctx context.Context, key string, elsewhere func()) (
	held context.Context, unlock func(), err error,
) {
	held, unlock, err = k.lock(ctx, key+loginSuffix, tryWait)
	if !errors.Is(err, ErrBusy) {
		return held, unlock, err
	}
	elsewhere()
	return k.lock(ctx, key+loginSuffix, 0)
}

type storedFailure struct {
	At      int64           `json:"at"` // Unix nanoseconds
	Failure json.RawMessage `json:"failure"`
}

// LeaveFailure tells those that wait for the login lock how the login failed. A
// success needs no word: it is in the store. ctx is LockLogin's held or comes from
// it: a store with leases sees by it that the lock is still ours.
func (k *Keeper) LeaveFailure(ctx context.Context, key string, failure []byte) {
	data, err := json.Marshal(storedFailure{time.Now().UnixNano(), failure})
	if err == nil {
		err = k.putJournalBytes(ctx, key+loginSuffix, data)
	}
	if err != nil {
		k.log().Warn("the login's failure cannot be left for other processes", "err", err)
	}
}

// Failure returns the failure that was left after since; nil: none.
func (k *Keeper) Failure(ctx context.Context, key string, since time.Time) []byte {
	data, err := k.journalBytes(ctx, key+loginSuffix)
	if err != nil {
		if !errors.Is(err, tokenstore.ErrNotFound) {
			k.log().Warn("the failure of another login cannot be read", "err", err)
		}
		return nil
	}
	var f storedFailure
	soon := time.Now().Add(time.Minute).UnixNano() // a clock that was set back
	if wire.UnmarshalJSON(data, &f) != nil || f.At <= since.UnixNano() || f.At > soon {
		return nil
	}
	return f.Failure
}

// Save stores the grant of a new login over whatever the account held (step 11).
// accept is called under the lock with the stored grant (nil: none) and may refuse.
//
// Save is bounded: if the store fails, it gives up. If its error is a
// *[tokenstore.Pending], Save itself calls discard unless the tokens are stored in
// the end; otherwise the caller discards them.
func (k *Keeper) Save(
	ctx context.Context, key string, g *Grant, accept func(prev *Grant) error, discard func(),
) (*Grant, error) {
	held, unlock, err := k.lock(ctx, key, k.LockWait)
	if err != nil {
		return nil, err
	}
	return attend(ctx, unlock, func(hangs func(error)) (*Grant, error) {
		stored, err := k.saveLocked(held, key, g, accept, hangs)
		var pending *tokenstore.Pending
		if errors.As(err, &pending) { // the caller may be gone
			discard()
		}
		return stored, err
	})
}

func (k *Keeper) saveLocked(
	held context.Context, key string, g *Grant, accept func(prev *Grant) error, hangs func(error),
) (*Grant, error) {
	j, prev, err := k.read(held, key)
	if err != nil {
		return nil, err
	}
	if j.leaving() {
		// Nothing is revoked: at a provider that revokes the user's whole grant to
		// the client, that would end the session that has just begun.
		if err := k.remove(held, key, &j, hangs); err != nil {
			return nil, err
		}
		prev = nil
	}
	if err := accept(prev); err != nil {
		return nil, err
	}
	stored, before := *g, j.Open
	j.Open = &Operation{Kind: opLogin, Generation: j.allot(prev)}
	if before != nil {
		j.Open.Hash = before.Hash // what a dead refresh may have sent stays open until g is stored
		if before.Kind == opImport {
			j.Imported = before.Hash
		}
	}
	stored.Generation, stored.IDTokenFrom = j.Open.Generation, j.Open.Generation
	stored.CacheKey = newCacheKey() // the provider cache of the earlier session is worth nothing now
	j.NotBefore, j.Status, j.Unsigned = 0, 0, nil
	if err := k.writeJournal(held, key, j); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(held, saveWait)
	defer cancel()
	if err := k.save(bounded, key, &stored, hangs); err != nil {
		j.Open = before
		k.note(held, key, j)
		return nil, err
	}
	k.closeOperation(held, key, &j, &stored)
	return &stored, nil
}
