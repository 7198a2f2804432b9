package session

import (
	"context"
	"errors"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// ErrUnreadable means that a session was deleted without its tokens being known,
// so nobody could revoke them.
var ErrUnreadable = errors.New("the stored session cannot be read, so its tokens are not known; " +
	"they stay valid at the provider until they expire or you end the session there")

// Logout ends the session for everyone (step 12), even one that cannot be read. gone
// is called under the lock, once the tombstone stands. The revocation is bounded by
// revoking; what is done to the store is bounded by ctx, which outlives it.
// notRevoked is why the provider was not told, if it was not; err is why the session
// is still here.
func (k *Keeper) Logout(
	ctx, revoking context.Context, key string, gone func(tombstone uint64),
) (notRevoked, err error) {
	held, unlock, err := k.lock(ctx, key, k.LockWait)
	if err != nil {
		return nil, err
	}
	return attend(ctx, unlock, func(hangs func(error)) (notRevoked, err error) {
		return k.logoutLocked(held, revoking, key, gone, hangs)
	})
}

func (k *Keeper) logoutLocked(
	held, revoking context.Context, key string, gone func(tombstone uint64), hangs func(error),
) (notRevoked, err error) {
	j, g, err := k.read(held, key)
	if err != nil && !errors.Is(err, ErrNewerFormat) && !errors.Is(err, tokenstore.ErrWrongKey) {
		return nil, err
	}
	if err != nil {
		g = nil // a session that cannot be read is deleted all the same
	}
	if g == nil {
		g, notRevoked = k.remains(held, key)
	}
	gen := j.allot(g)
	j.Tombstone, j.Row, j.Dead = gen, nil, ""
	j.Open = &Operation{Kind: opLogout, Generation: gen}
	if err := k.writeJournal(held, key, j); err != nil {
		return nil, err
	}
	gone(gen)
	if g != nil {
		notRevoked = k.Revoke(revoking, g)
	}
	return notRevoked, k.remove(held, key, &j, hangs)
}

// FinishLogout ends a logout that has begun and not ended, if there is one. A login
// calls it before the user is prompted.
func (k *Keeper) FinishLogout(ctx context.Context, key string) error {
	held, unlock, err := k.lock(ctx, key, k.LockWait)
	if err != nil {
		return err
	}
	_, err = attend(ctx, unlock, func(hangs func(error)) (none struct{}, err error) {
		j, _, err := k.read(held, key)
		if err != nil || !j.leaving() {
			return none, err
		}
		return none, k.finishLogout(held, key, &j, hangs)
	})
	return err
}

// remains finds what a logout that did not end left to revoke, or why nothing can
// be revoked.
func (k *Keeper) remains(ctx context.Context, key string) (g *Grant, unknown error) {
	data, err := k.Store.Get(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		if g, err := decode(data); err == nil && Key(g.Realm, g.Party, g.Account) == key {
			return g, nil
		}
	}
	return nil, ErrUnreadable
}

// finishLogout ends the logout of a process that died: it revokes and deletes what is
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
	k.DropProviderCache(ctx, key)
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
