package session

import (
	"context"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// ErrUnreadable means that a session was deleted without its tokens being known,
// so nobody could revoke them.
var ErrUnreadable = errors.New("the stored session cannot be read, so its tokens are not known")

// Logout ends the session for everyone (step 12), even one that cannot be read.
// had reports whether there was one. revoked is why the provider was not told, if
// it was not; err is why the session is still here.
func (k *Keeper) Logout(ctx context.Context, key string) (had bool, revoked, err error) {
	held, unlock, err := k.lock(ctx, key, k.LockWait)
	if err != nil {
		return false, nil, err
	}
	type ended struct {
		had     bool
		revoked error
	}
	e, err := attend(ctx, unlock, func(hangs func(error)) (e ended, err error) {
		e.had, e.revoked, err = k.logoutLocked(held, key, hangs)
		return e, err
	})
	return e.had, e.revoked, err
}

func (k *Keeper) logoutLocked(held context.Context, key string, hangs func(error)) (had bool, revoked, err error) {
	j, g, err := k.read(held, key)
	if err != nil && !errors.Is(err, ErrNewerFormat) && !errors.Is(err, tokenstore.ErrWrongKey) {
		return false, nil, err
	}
	if err != nil {
		g = nil // a session that cannot be read is deleted all the same
	}
	had = g != nil
	if g == nil {
		if g, had, revoked = k.remains(held, key); g == nil && !had {
			had = j.leaving()
		}
	}
	gen := j.allot(g)
	j.Tombstone, j.Row, j.Dead = gen, nil, ""
	j.Open = &Operation{Kind: opLogout, Generation: gen, At: time.Now().UnixMilli()}
	if err := k.writeJournal(held, key, j); err != nil {
		return had, nil, err
	}
	if g != nil {
		revoked = k.Revoke(held, g)
	}
	return had, revoked, k.remove(held, key, &j, hangs)
}

// remains finds what a logout that did not end left to revoke, or why nothing can
// be revoked.
func (k *Keeper) remains(ctx context.Context, key string) (g *Grant, had bool, unknown error) {
	data, err := k.Store.Get(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, false, nil
	}
	if err == nil {
		if g, err := decode(data); err == nil && Key(g.Realm, g.Party, g.Account) == key {
			return g, true, nil
		}
	}
	return nil, true, ErrUnreadable
}

// finishLogout ends a logout whose process died: it revokes and deletes what is
// still there.
func (k *Keeper) finishLogout(ctx context.Context, key string, j *Journal, hangs func(error)) error {
	if data, err := k.Store.Get(ctx, key); err == nil {
		if g, err := decode(data); err == nil && g.Generation <= j.Tombstone {
			if err := k.Revoke(ctx, g); err != nil {
				k.log().Warn("the provider did not confirm the revocation", "key", key, "err", err)
			}
		}
	}
	return k.remove(ctx, key, j, hangs)
}

// remove deletes the value and closes the operation. If the value cannot be
// deleted, the tombstone stands and the next holder of the lock goes on.
func (k *Keeper) remove(ctx context.Context, key string, j *Journal, hangs func(error)) error {
	err := k.Store.Delete(ctx, key)
	if k.wait(err, hangs) {
		ctx = context.WithoutCancel(ctx) // the lock was kept for this
		if _, gerr := k.Store.Get(ctx, key); errors.Is(gerr, tokenstore.ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	j.Open = nil
	return k.writeJournal(ctx, key, *j)
}
