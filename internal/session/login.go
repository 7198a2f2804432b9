package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// loginSuffix names the login lock of a key, and beside it the outcome of the last login that failed.
const loginSuffix = ".login"

// Lead takes the login lock (step 10): its holder alone asks the person. elsewhere is told when somebody else holds it.
// held is what the outcome is left under; a login is not ended with it, for a person is at it.
func (k *Keeper) Lead(ctx context.Context, key string, elsewhere func()) (held context.Context, unlock func(), err error) {
	held, unlock, err = k.lock(ctx, key+loginSuffix, tryWait)
	if !errors.Is(err, ErrBusy) {
		return held, unlock, err
	}
	elsewhere()
	return k.lock(ctx, key+loginSuffix, 0)
}

type storedOutcome struct {
	At      int64           `json:"at"` // Unix nanoseconds
	Failure json.RawMessage `json:"failure"`
}

// LeaveFailure tells those who wait for the login lock how the login ended. Only a failure is told: a success is in the store.
// ctx is held of [Keeper.Lead], or comes from it: a store with leases sees by it that the lock is still ours.
func (k *Keeper) LeaveFailure(ctx context.Context, key string, failure []byte) {
	data, err := json.Marshal(storedOutcome{time.Now().UnixNano(), failure})
	if err == nil {
		err = k.putRecordBytes(ctx, key+loginSuffix, data)
	}
	if err != nil {
		k.log().Warn("the outcome of the login cannot be left for other processes", "err", err)
	}
}

// Failure returns the failure that was left after since; nil: none.
func (k *Keeper) Failure(ctx context.Context, key string, since time.Time) []byte {
	data, err := k.recordBytes(ctx, key+loginSuffix)
	if err != nil {
		if !errors.Is(err, tokenstore.ErrNotFound) {
			k.log().Warn("the outcome of another login cannot be read", "err", err)
		}
		return nil
	}
	var o storedOutcome
	if wire.UnmarshalJSON(data, &o) != nil || o.At <= since.UnixNano() || o.At > time.Now().Add(time.Minute).UnixNano() {
		return nil
	}
	return o.Failure
}
