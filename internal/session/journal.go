package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// Journal is what one holder of the refresh lock tells the next. It holds no
// secret, and it is replaced whole. A journal that is lost loses no session.
type Journal struct {
	Version int `json:"v"`
	// Newest is the newest generation that was allotted.
	Newest uint64 `json:"newest"`
	// Open is the operation under way; nil: none.
	Open *Operation `json:"open,omitempty"`
	// Tombstone is the generation of the last logout. A value at or below it does
	// not exist.
	Tombstone uint64 `json:"tombstone"`
	// Dead is the hash of a refresh token that the provider refused for good.
	Dead string `json:"dead,omitempty"`
	// Verified and Rejected are the generations whose NewIDToken passed, or failed,
	// its checks.
	Verified uint64 `json:"verified,omitempty"`
	Rejected uint64 `json:"rejected,omitempty"`
	// NotBefore is until when the provider asked everyone to wait, in Unix
	// milliseconds, and Status is the HTTP status that asked for it.
	NotBefore int64 `json:"not_before"`
	Status    int   `json:"status,omitempty"`
	// Row is the session as it is listed; nil: signed out.
	Row *Row `json:"row,omitempty"`
}

// Operation is a refresh, login or logout under way.
type Operation struct {
	Kind       string `json:"kind"` // opRefresh, opLogin, opLogout
	Generation uint64 `json:"gen"`  // allotted to what it will store
	// Hash is of the refresh token that is sent. A login carries on the hash of a
	// refresh that it came after.
	Hash    string `json:"hash"`
	At      int64  `json:"at"` // Unix milliseconds
	Settled bool   `json:"settled,omitempty"`
}

const (
	opRefresh = "refresh"
	opLogin   = "login"
	opLogout  = "logout"
)

// names reports whether a refresh that may have reached the provider sent g's
// refresh token.
func (j *Journal) names(g *Grant) bool {
	return j.Open != nil && j.Open.Hash != "" && j.Open.Hash == g.hash()
}

// settledOn reports whether g, once read, is still what is stored: nothing is newer
// or under way. A journal that was lost says nothing.
func (j *Journal) settledOn(g *Grant) bool {
	return j.Open == nil && j.Newest == g.Generation && j.Tombstone < g.Generation
}

// leaving reports whether a logout has begun and not ended.
func (j *Journal) leaving() bool { return j.Open != nil && j.Open.Kind == opLogout }

func (j *Journal) dead(g *Grant) bool { return j.Dead != "" && j.Dead == g.hash() }

// maxPause is the longest pause that is believed. A clock that was set back does
// not stop refreshes for longer.
const maxPause = time.Hour

// pause returns how long the provider asked everyone to wait.
func (j *Journal) pause(now time.Time) time.Duration {
	d := time.UnixMilli(j.NotBefore).Sub(now)
	if d <= 0 || d > maxPause {
		return 0
	}
	return d
}

// allot returns the next generation, above everything known. If nothing is known, it
// starts at the clock: a process that remembers a generation from before the
// journal was lost must not take the new session for an older one.
func (j *Journal) allot(g *Grant) uint64 {
	j.Newest = max(j.Newest, j.Tombstone)
	if g != nil {
		j.Newest = max(j.Newest, g.Generation)
	}
	if j.Newest == 0 {
		j.Newest = uint64(time.Now().UnixMilli())
	}
	j.Newest++
	return j.Newest
}

const journalFormat = 1

// readJournal returns the zero Journal if there is none.
func (k *Keeper) readJournal(ctx context.Context, key string) (Journal, error) {
	data, err := k.journalBytes(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return Journal{}, nil
	}
	if err != nil {
		return Journal{}, err
	}
	return parseJournal(data)
}

// parseJournal returns the zero Journal for one that is damaged, and ErrNewerFormat
// for one that a later version of the program wrote.
func parseJournal(data []byte) (Journal, error) {
	var j Journal
	if wire.UnmarshalJSON(data, &j) != nil {
		return Journal{}, nil
	}
	if j.Version > journalFormat {
		return Journal{}, ErrNewerFormat
	}
	return j, nil
}

func (k *Keeper) writeJournal(ctx context.Context, key string, j Journal) error {
	j.Version = journalFormat
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return k.putJournalBytes(ctx, key, data)
}

// journalSuffix marks a journal that is kept as a value of its own, in a store that
// does not keep journals.
const journalSuffix = ".record"

func (k *Keeper) journalBytes(ctx context.Context, key string) ([]byte, error) {
	if r, ok := k.Store.(tokenstore.Recorder); ok {
		if data, err := r.ReadRecord(ctx, key); !errors.Is(err, errors.ErrUnsupported) {
			return data, err
		}
	}
	return k.Store.Get(ctx, key+journalSuffix)
}

func (k *Keeper) putJournalBytes(ctx context.Context, key string, data []byte) error {
	if r, ok := k.Store.(tokenstore.Recorder); ok {
		if err := r.WriteRecord(ctx, key, data); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return k.Store.Put(ctx, key+journalSuffix, data)
}
