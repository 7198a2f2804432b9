package session

import (
	"context"
	"time"
)

// ErrImported means that the refresh token was imported before, and the session that
// came of it is gone. It also matches ErrAbsent.
var ErrImported error = imported{}

type imported struct{}

func (imported) Error() string {
	return ErrAbsent.Error() + ": this refresh token was imported before"
}

func (imported) Unwrap() error { return ErrAbsent }

// Import makes the account's session of seed's refresh token, which comes from
// another program or store (step 17). seed has what a login knows, and no generation.
// The caller has asked Importable. Import returns the stored session, and sends
// nothing, if the account has one by now: whoever it belongs to, it is not replaced.
//
// Import returns when the matter is settled. starting bounds what comes before the
// refresh token is sent. send is Attempt.Send. The errors are those of Refresh, and
// ErrImported and ErrSignedOut.
func (k *Keeper) Import(
	ctx, starting context.Context, key string, seed *Grant,
	send func(context.Context, *Grant) (*Grant, error),
) (*Grant, error) {
	_, unlockLogin, err := k.lockWhile(ctx, starting, key+loginSuffix)
	if err != nil {
		return nil, err
	}
	defer unlockLogin()
	waiting, enough := within(starting, k.LockWait)
	defer enough()
	held, unlock, err := k.lockWhile(ctx, waiting, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a := Attempt{Key: key, Send: send}
	j, g, err := k.read(held, key)
	if err != nil {
		return nil, err
	}
	if j.leaving() {
		return nil, k.finishThenSignedOut(held, key, &j)
	}
	if err := j.importable(g, seed); g != nil || err != nil {
		return g, err
	}
	if err := j.forbids(seed, time.Now()); err != nil {
		return nil, err
	}
	if err := k.Probe(held); err != nil {
		return nil, err
	}
	if err := starting.Err(); err != nil {
		return nil, err
	}
	recovery, err := k.open(held, key, &j, seed, opImport)
	if err != nil {
		return nil, err
	}
	next, twice, err := k.send(held, a, seed)
	if next == nil {
		return k.failed(held, a, &j, seed, err, recovery || twice, true)
	}
	return k.land(held, a, &j, seed, next, err)
}

func (k *Keeper) finishThenSignedOut(ctx context.Context, key string, j *Journal) error {
	if err := k.finishLogout(ctx, key, j, nil); err != nil {
		return err
	}
	return ErrSignedOut
}

// Importable is step 16, what can be said without a lock: the account's session, or why seed
// is not imported. nil, nil: it may be.
func (k *Keeper) Importable(ctx context.Context, key string, seed *Grant) (*Grant, error) {
	j, g, err := k.read(ctx, key)
	if err != nil {
		return nil, err
	}
	return g, j.importable(g, seed)
}

// importable returns why seed is not imported, though the account has no session: a
// logout is final, and a token that was used up is not sent again. g is what is
// stored.
func (j *Journal) importable(g, seed *Grant) error {
	switch {
	case g != nil:
		return nil
	case j.Tombstone > 0:
		return ErrSignedOut
	case j.Imported == seed.hash() && !j.names(seed):
		return ErrImported
	case j.Dead == seed.hash():
		return ErrDead
	}
	return nil
}
