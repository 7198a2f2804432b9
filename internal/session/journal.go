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
	// Mismatch is the generation whose NewIDToken is about another user, or is not
	// the issuer's at all. It has ended the session.
	Mismatch uint64 `json:"mismatch,omitempty"`
	// Unsigned is about a NewIDToken that none of the provider's keys verifies; nil:
	// there is none.
	Unsigned *Unsigned `json:"unsigned,omitempty"`
	// Stored is the newest generation that is known to be stored. A value below it
	// is an older copy, as from a backup; its refresh token is spent.
	Stored uint64 `json:"stored,omitempty"`
	// Imported is the hash of the refresh token that was imported: it is spent. A
	// program offers it again at every start.
	Imported string `json:"imported,omitempty"`
	// Doubt is what speaks against a refresh token; nil: nothing.
	Doubt *Doubt `json:"doubt,omitempty"`
	// NotBefore is until when everyone waits with a refresh, in Unix milliseconds,
	// Status is the HTTP status that is the reason, and Failures counts such answers
	// in a row.
	NotBefore int64 `json:"not_before"`
	Status    int   `json:"status,omitempty"`
	Failures  int   `json:"failures,omitempty"`
	// ClockAhead is how far the provider's clock is ahead of this machine's, in
	// milliseconds.
	ClockAhead int64 `json:"clock_ahead,omitempty"`
	// Row is the session as it is listed; nil: signed out.
	Row *Row `json:"row,omitempty"`
}

// Operation is a refresh, login, logout or import under way.
type Operation struct {
	Kind       string `json:"kind"` // opRefresh, opLogin, opLogout, opImport
	Generation uint64 `json:"gen"`  // allotted to what it will store
	// Hash is of the refresh token that is sent. A login carries on the hash of a
	// refresh that it came after.
	Hash string `json:"hash"`
	// Since is when this refresh token was first sent, in Unix milliseconds: the
	// provider's grace began then.
	Since int64 `json:"since,omitempty"`
}

// Doubt counts refusals of a refresh token by a provider that did not say
// invalid_grant, though that may be what it means. Processes count together.
type Doubt struct {
	Hash  string `json:"hash"`
	Count int    `json:"count"`
	At    int64  `json:"at"` // Unix milliseconds of the last one that counted
	// ClientID is the client that the provider said it does not know; "": it said
	// something else.
	ClientID string `json:"client_id,omitempty"`
}

// Unsigned is a new ID token that none of the provider's keys verifies: it is forged,
// or the provider withdrew its key before it was checked, or does not publish it yet.
type Unsigned struct {
	Generation uint64 `json:"gen"` // the newest one that has such a token
	At         int64  `json:"at"`  // Unix milliseconds of when the first one was found
}

// unsignedWait is how long such a token is only checked again. Then one more refresh
// is made, for a token with another key.
const unsignedWait = time.Minute

// over reports whether unsignedWait has passed.
func (u *Unsigned) over(now time.Time) bool { return now.Sub(time.UnixMilli(u.At)) >= unsignedWait }

// unsigned notes that none of the provider's keys verifies g's new ID token. It
// reports whether a refresh after the wait has brought no better one, which ends the
// session.
func (j *Journal) unsigned(g *Grant, now time.Time) (last bool) {
	u := j.Unsigned
	if u == nil || now.Before(time.UnixMilli(u.At)) { // or the clock was set back
		j.Unsigned = &Unsigned{g.Generation, now.UnixMilli()}
		return false
	}
	last = u.Generation != g.Generation && u.over(now)
	j.Unsigned = &Unsigned{g.Generation, u.At}
	return last
}

const (
	// enoughDoubt is how many refusals in a row mean that the session has ended.
	enoughDoubt = 2
	// doubtGap is how long after one refusal the next one counts, and is provoked.
	doubtGap = 3 * time.Second
	// maxDoubtGap bounds how long a refusal that was confirmed is not tried again.
	maxDoubtGap = 5 * time.Minute
)

// confirmed reports whether the refusals are enough.
func (d *Doubt) confirmed() bool { return d != nil && d.Count >= enoughDoubt }

// rest returns how long the refresh token is not sent again.
func (d *Doubt) rest(now time.Time) time.Duration {
	gap := min(doubtGap<<min(d.Count-1, 10), maxDoubtGap)
	rest := time.UnixMilli(d.At).Add(gap).Sub(now)
	if rest < 0 || rest > gap { // the clock was set back
		return 0
	}
	return rest
}

// doubt returns what speaks against g's refresh token; nil: nothing.
func (j *Journal) doubt(g *Grant) *Doubt {
	if j.Doubt == nil || j.Doubt.Hash != g.hash() {
		return nil
	}
	return j.Doubt
}

// addDoubt counts a refusal of g's refresh token. Refusals that follow at once are
// one.
func (j *Journal) addDoubt(g *Grant, clientID string, now time.Time) *Doubt {
	d := j.doubt(g)
	switch {
	case d == nil:
		d = &Doubt{Hash: g.hash(), Count: 1, At: now.UnixMilli()}
	case d.rest(now) == 0:
		d = &Doubt{Hash: d.Hash, Count: d.Count + 1, At: now.UnixMilli()}
	}
	d.ClientID = clientID
	j.Doubt = d
	return d
}

const (
	opRefresh = "refresh"
	opLogin   = "login"
	opLogout  = "logout"
	opImport  = "import"
)

// names reports whether a refresh that may have reached the provider sent g's
// refresh token.
func (j *Journal) names(g *Grant) bool {
	return j.Open != nil && j.Open.Hash != "" && j.Open.Hash == g.hash()
}

// upToDate reports whether g, once read, is still what is stored: nothing is newer
// or under way. A journal that was lost says nothing.
func (j *Journal) upToDate(g *Grant) bool {
	return j.Open == nil && j.Newest == g.Generation && j.Tombstone < g.Generation
}

// leaving reports whether a logout has begun and not ended.
func (j *Journal) leaving() bool { return j.Open != nil && j.Open.Kind == opLogout }

// absent returns the error for a session that is not there.
func (j *Journal) absent() error {
	if j.Tombstone > 0 && j.Row == nil {
		return ErrSignedOut
	}
	return ErrAbsent
}

// dead reports whether the whole session is known to have ended.
func (j *Journal) dead(g *Grant) bool {
	return j.Dead != "" && j.Dead == g.hash() || j.Mismatch == g.Generation
}

// judged returns g as the check of its new ID token has left it: with the new one,
// or with the earlier one if the new one was rejected. If the journal says neither,
// or g is nil, it returns g.
func (j *Journal) judged(g *Grant) *Grant {
	switch {
	case g == nil || !g.Pending():
		return g
	case j.Verified == g.Generation:
		return g.promote()
	case j.Rejected == g.Generation:
		return g.keepIDToken()
	}
	return g
}

// landed closes the operation: g is stored.
func (j *Journal) landed(g *Grant) {
	if j.Open != nil && j.Open.Kind == opImport {
		j.Imported = j.Open.Hash
	}
	j.Open, j.Row = nil, rowOf(g)
	j.stored(g)
}

// stored clears what was known of an earlier refresh token: g is stored.
func (j *Journal) stored(g *Grant) {
	j.Dead, j.Doubt, j.Failures = "", nil, 0
	j.Stored = max(j.Stored, g.Generation)
}

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

// readJournal returns the zero Journal if there is none, or a damaged one.
func (k *Keeper) readJournal(ctx context.Context, key string) (Journal, error) {
	data, err := k.journalBytes(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) || errors.Is(err, tokenstore.ErrDamaged) {
		return Journal{}, nil
	}
	if err != nil {
		return Journal{}, err
	}
	j, err := parseJournal(data)
	k.Clock.Adopt(time.Duration(j.ClockAhead) * time.Millisecond)
	return j, err
}

// parseJournal returns the zero Journal for one that is damaged, and ErrNewerFormat
// for one that a later version of the program wrote.
func parseJournal(data []byte) (Journal, error) {
	var j Journal
	err := wire.UnmarshalOwn(data, &j)
	if err != nil {
		j = Journal{Version: formatOf(data)}
	}
	switch {
	case j.Version > journalFormat:
		return Journal{}, ErrNewerFormat
	case err != nil:
		return Journal{}, nil
	}
	return j, nil
}

func (k *Keeper) writeJournal(ctx context.Context, key string, j Journal) error {
	j.Version, j.ClockAhead = journalFormat, k.Clock.Ahead().Milliseconds()
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return k.putJournalBytes(ctx, key, data)
}

// journalSuffix marks a journal that is kept as a value of its own, in a store that
// does not keep journals.
const journalSuffix = ".journal"

func (k *Keeper) journalBytes(ctx context.Context, key string) ([]byte, error) {
	if r, ok := k.Store.(tokenstore.Shared); ok {
		if data, err := r.ReadJournal(ctx, key); !errors.Is(err, errors.ErrUnsupported) {
			return data, err
		}
	}
	return k.Store.Get(ctx, key+journalSuffix)
}

func (k *Keeper) putJournalBytes(ctx context.Context, key string, data []byte) error {
	if r, ok := k.Store.(tokenstore.Shared); ok {
		if err := r.WriteJournal(ctx, key, data); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return k.Store.Put(ctx, key+journalSuffix, data)
}
