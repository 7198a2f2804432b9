package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Journal is what one holder of the refresh lock tells the next. It holds no secret. It is replaced whole.
type Journal struct {
	Version   int        `json:"v"`
	Newest    uint64     `json:"newest"`             // the newest generation allotted
	Open      *Operation `json:"open,omitempty"`     // at most one
	Tombstone uint64     `json:"tombstone"`          // a value at or below it does not exist
	Dead      string     `json:"dead,omitempty"`     // hash of a refresh token that the provider refused
	Verified  uint64     `json:"verified,omitempty"` // the generation whose NewIDToken passed its checks
	Rejected  uint64     `json:"rejected,omitempty"` // the generation whose NewIDToken failed them
	NotBefore int64      `json:"not_before"`         // Unix milliseconds: the provider asked for a pause (Retry-After)
	Status    int        `json:"status,omitempty"`   // the HTTP status that asked for it
	Row       *Row       `json:"row,omitempty"`      // for listing; nil: signed out
}

// Operation is a refresh, login or logout under way.
type Operation struct {
	Kind       string `json:"kind"` // opRefresh, opLogin, opLogout
	Generation uint64 `json:"gen"`  // allotted to its outcome
	Hash       string `json:"hash"` // of the refresh token that is sent, or was sent by a refresh that this login came after
	At         int64  `json:"at"`   // Unix milliseconds
	Settled    bool   `json:"settled,omitempty"`
}

const (
	opRefresh = "refresh"
	opLogin   = "login"
	opLogout  = "logout"
)

// names reports whether a refresh that may have reached the provider sent g's refresh token.
func (r *Journal) names(g *Grant) bool {
	return r.Open != nil && r.Open.Hash != "" && r.Open.Hash == g.hash()
}

// settledOn reports whether g, once read, is still what is stored: nothing is newer or under way. A record that was lost says nothing.
func (r *Journal) settledOn(g *Grant) bool {
	return r.Open == nil && r.Newest == g.Generation && r.Tombstone < g.Generation
}

func (r *Journal) dead(g *Grant) bool { return r.Dead != "" && r.Dead == g.hash() }

// pause returns how long the provider asked everyone to wait. A clock that jumped back does not lengthen it without bound.
func (r *Journal) pause(now time.Time) time.Duration {
	d := time.UnixMilli(r.NotBefore).Sub(now)
	if d <= 0 || d > time.Hour {
		return 0
	}
	return d
}

// allot returns the next generation, above everything known. Where nothing is, it starts at the clock: a process that remembers
// a generation from before the record was lost shall not take the new session for an older one.
func (r *Journal) allot(g *Grant) uint64 {
	r.Newest = max(r.Newest, r.Tombstone)
	if g != nil {
		r.Newest = max(r.Newest, g.Generation)
	}
	if r.Newest == 0 {
		r.Newest = uint64(time.Now().UnixMilli())
	}
	r.Newest++
	return r.Newest
}

const journalFormat = 1

// readRecord returns the zero Record where there is none: losing it loses no session.
func (k *Keeper) readRecord(ctx context.Context, key string) (Journal, error) {
	data, err := k.recordBytes(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return Journal{}, nil
	}
	if err != nil {
		return Journal{}, err
	}
	return parseJournal(data)
}

func parseJournal(data []byte) (Journal, error) {
	var r Journal
	if wire.UnmarshalJSON(data, &r) != nil {
		return Journal{}, nil
	}
	if r.Version > journalFormat {
		return Journal{}, ErrNewerFormat
	}
	return r, nil
}

func (k *Keeper) writeRecord(ctx context.Context, key string, r Journal) error {
	r.Version = journalFormat
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return k.putRecordBytes(ctx, key, data)
}

// journalSuffix marks a record that is kept as a value of its own, in a store that is not Shared.
const journalSuffix = ".record"

func (k *Keeper) recordBytes(ctx context.Context, key string) ([]byte, error) {
	if s, ok := k.Store.(tokenstore.Shared); ok {
		if data, err := s.ReadJournal(ctx, key); !errors.Is(err, errors.ErrUnsupported) {
			return data, err
		}
	}
	return k.Store.Get(ctx, key+journalSuffix)
}

func (k *Keeper) putRecordBytes(ctx context.Context, key string, data []byte) error {
	if s, ok := k.Store.(tokenstore.Shared); ok {
		if err := s.WriteJournal(ctx, key, data); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return k.Store.Put(ctx, key+journalSuffix, data)
}
