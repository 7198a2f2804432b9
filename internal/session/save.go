package session

import (
	"context"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	// putWait bounds one Put of a store that has no bound of its own. A keychain
	// that prompts has a minute.
	putWait = 90 * time.Second
	// saveWait is how long a login tries to store what the user has just signed in
	// for.
	saveWait = 10 * time.Second
)

// save stores g (steps 7 and 9). It returns when g is stored, or when ctx has ended
// and no call of the store is outstanding. If the lock were given back earlier, a
// late write could put an old refresh token over a sibling's new one.
func (k *Keeper) save(ctx context.Context, key string, g *Grant, stalled func(error)) error {
	data, err := g.encode()
	if err != nil {
		return err
	}
	dismissed := false
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := k.put(ctx, key, data, stalled)
		if err == nil {
			return nil
		}
		if errors.Is(err, tokenstore.ErrDismissed) {
			// A program that is told may exit, and the new tokens are then lost. So a
			// prompt that was dismissed by mistake is shown once more before that.
			pause = max(pause, time.Second)
			if !dismissed {
				dismissed = true
				k.log().Warn("the user dismissed the keychain's prompt; prompting once more", "key", key)
				if !rest(ctx, pause) {
					return err
				}
				continue
			}
		}
		k.log().Warn("the session cannot be stored; trying again", "key", key, "err", err)
		if stalled != nil {
			stalled(err)
		}
		if !rest(ctx, pause) {
			return err
		}
	}
}

// rest waits for d. It returns false if ctx ends before.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// put stores data once, and waits for a call that was given up on. It outlives
// ctx: tokens that the provider has issued are stored whatever ends.
func (k *Keeper) put(ctx context.Context, key string, data []byte, stalled func(error)) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), putWait)
	defer cancel()
	err := k.Store.Put(bounded, key, data)
	if !k.wait(err, stalled) {
		return err
	}
	got, gerr := k.Store.Get(context.WithoutCancel(ctx), key)
	if gerr == nil && string(got) == string(data) {
		return nil // the late call stored it after all
	}
	return err
}

// wait waits for a call of the store that was given up on, and reports whether
// there was one.
func (k *Keeper) wait(err error, stalled func(error)) bool {
	var p *tokenstore.Pending
	if !errors.As(err, &p) {
		return false
	}
	if stalled != nil {
		stalled(err)
	}
	<-p.Done
	return true
}

// closeOperation is step 8. The value is stored by now. If the journal cannot be
// written, the operation stays open, and its generation says that it landed (4b).
func (k *Keeper) closeOperation(ctx context.Context, key string, j *Journal, g *Grant) {
	j.landed(g)
	k.note(ctx, key, *j)
}

// note writes what has happened already. It outlives ctx, since neither the end of
// the client nor a failure undoes what happened.
func (k *Keeper) note(ctx context.Context, key string, j Journal) {
	if err := k.writeJournal(context.WithoutCancel(ctx), key, j); err != nil {
		k.log().Warn("the session's journal cannot be written", "key", key, "err", err)
	}
}

func rowOf(g *Grant) *Row {
	r := g.Row()
	return &r
}
