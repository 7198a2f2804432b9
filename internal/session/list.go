package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	var rows []Row
	for _, key := range keys {
		if strings.HasSuffix(key, journalSuffix) || strings.HasSuffix(key, loginSuffix) {
			continue
		}
		j, err := k.readJournal(ctx, key)
		if err != nil {
			return nil, err
		}
		if j.Row == nil || j.Open != nil { // lost, or something is under way: the value decides
			_, g, err := k.read(ctx, key)
			if err != nil {
				return nil, err
			}
			if g == nil {
				continue
			}
			j.Row = rowOf(g)
		}
		j.Row.Ended = j.Dead != "" || j.Mismatch != 0 && j.Mismatch == j.Stored || j.Doubt.confirmed()
		rows = append(rows, *j.Row)
	}
	return rows, nil
}
