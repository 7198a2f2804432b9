package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Rows lists the accounts under one realm and party in one pass (step 15). No
// secret is read if the journals are whole. errors.ErrUnsupported: the store cannot
// list.
func (k *Keeper) Rows(ctx context.Context, realm, party string) ([]Row, error) {
	lister, ok := k.Store.(tokenstore.Lister)
	if !ok {
		return nil, fmt.Errorf("this store cannot list its accounts: %w", errors.ErrUnsupported)
	}
	keys, err := lister.List(ctx, Prefix(realm, party))
	if err != nil {
		return nil, err
	}
	// Each account takes a file to open and check. The cores share that.
	found := make([]*Row, len(keys))
	failed := make([]error, min(runtime.GOMAXPROCS(0), len(keys)))
	var next atomic.Int64
	var work sync.WaitGroup
	for w := range failed {
		work.Go(func() {
			for failed[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(keys) {
					return
				}
				found[i], failed[w] = k.row(ctx, keys[i])
			}
			next.Store(int64(len(keys))) // the others need not go on
		})
	}
	work.Wait()
	if err := cmp.Or(failed...); err != nil {
		return nil, err
	}
	var rows []Row
	for _, r := range found {
		if r != nil {
			rows = append(rows, *r)
		}
	}
	return rows, nil
}

// row returns the row of the account at key; nil: it has no session, or key is not an
// account's.
func (k *Keeper) row(ctx context.Context, key string) (*Row, error) {
	if strings.HasSuffix(key, journalSuffix) || strings.HasSuffix(key, loginSuffix) {
		return nil, nil
	}
	j, err := k.readJournal(ctx, key)
	if err != nil {
		return nil, err
	}
	if j.Row == nil || j.Open != nil { // lost, or something is under way: the value decides
		_, g, err := k.read(ctx, key)
		if g == nil || err != nil {
			return nil, err
		}
		j.Row = rowOf(g)
	}
	j.Row.Ended = j.Dead != "" || j.Mismatch != 0 && j.Mismatch == j.Stored || j.Doubt.confirmed()
	return j.Row, nil
}
