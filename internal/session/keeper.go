package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

var (
	// ErrAbsent means that there is no session: none was stored, it was signed out, or it cannot be read any more.
	ErrAbsent = errors.New("no session is stored")
	// ErrDead means that the provider refused the session's refresh token for good.
	ErrDead = errors.New("the provider has ended the session")
	// ErrNoRefreshToken means that the access token has expired and nothing can renew it.
	ErrNoRefreshToken = errors.New("the session has no refresh token")
	// ErrRejected means that the refreshed ID token failed its checks. The refresh token is kept.
	ErrRejected = errors.New("the refreshed ID token failed its checks")
	// ErrBusy means that another process held the session's lock to the deadline.
	ErrBusy error = lockHeld{}
)

type lockHeld struct{}

func (lockHeld) Error() string {
	return "another process is refreshing the session and does not finish; try again: " + tokenstore.ErrBusy.Error()
}

func (lockHeld) Unwrap() error { return tokenstore.ErrBusy }

// PauseError means that the provider asked for a pause (Retry-After), here or in another process, and it is not over.
type PauseError struct {
	Status int
	After  time.Duration
}

func (e *PauseError) Error() string {
	return "the provider asked to wait before the next refresh; try again in " + e.After.Round(time.Second).String()
}

// Outcome says what a failed attempt to send the refresh token means for that token.
type Outcome int

// The outcomes. The zero Outcome is the careful one.
const (
	Unknown Outcome = iota // it may have been used: reset, timeout or 5xx after sending
	NotSent                // nothing left this machine
	Paused                 // 429 or 503: the provider asked for a pause
	Refused                // the provider refused the request, not the refresh token
	Dead                   // invalid_grant
)

// SendError is what Attempt.Send returns on failure.
type SendError struct {
	Outcome Outcome
	After   time.Duration // with Paused
	Status  int           // with Paused
	Err     error
}

func (e *SendError) Error() string { return e.Err.Error() }

func (e *SendError) Unwrap() error { return e.Err }

// Keeper runs the protocol over a store. It is safe for concurrent use and holds no session itself.
type Keeper struct {
	Store tokenstore.Store
	// Verify checks g.NewIDToken against g.IDToken. An error that matches ErrRejected is final; another may pass later.
	Verify func(ctx context.Context, g *Grant) error
	// Revoke tells the provider that g has ended, once; it is bounded.
	Revoke func(ctx context.Context, g *Grant) error
	Logger *slog.Logger
	// LockWait bounds the wait for the refresh lock. It is longer than two calls of the token endpoint and the store's bounds.
	LockWait time.Duration

	mu    sync.Mutex
	locks map[string]chan struct{} // for a store that is not Shared: one process, this one
}

// tryWait is how long an early refresh waits for the lock: it is for the one that comes first.
const tryWait = 250 * time.Millisecond

// Seen is what a look at the store without the lock shows.
type Seen struct {
	Grant *Grant // nil: there is none
	Dead  bool   // its refresh token is known to be refused
	// Open: a refresh that sent this refresh token has not ended. A sibling is at it, or died in it.
	Open bool
	// Newest is the generation up to which this is known: Grant's, or where there is none, the newest that was ever allotted.
	Newest uint64
}

// Look reads record and value without a lock (step 2). An error means that the store could not be read, never that there is no session.
func (k *Keeper) Look(ctx context.Context, key string) (Seen, error) {
	rec, g, err := k.read(ctx, key)
	if err != nil {
		return Seen{}, err
	}
	if g == nil {
		return Seen{Newest: max(rec.Newest, rec.Tombstone)}, nil
	}
	return Seen{Grant: g, Dead: rec.dead(g), Open: rec.names(g), Newest: g.Generation}, nil
}

// Stale reports what the record tells that g does not: a newer generation or a logout (stale), a refresh of g's token that has not ended (open). One of
// another token is a refresh of a newer grant than g, which has to be seen through as soon.
// No secret is read where the store is a [tokenstore.Shared], so it may be asked every few seconds.
func (k *Keeper) Stale(ctx context.Context, key string, g *Grant) (stale, open bool, err error) {
	rec, err := k.readRecord(ctx, key)
	if err != nil {
		return false, false, err
	}
	open = rec.names(g)
	newer := rec.Newest > g.Generation && (rec.Open == nil || rec.Open.Hash != "" && !open)
	return newer || rec.Tombstone >= g.Generation, open, nil
}

// read returns the record, and the grant where there is one: a value at or below the tombstone does not exist.
func (k *Keeper) read(ctx context.Context, key string) (rec Journal, g *Grant, err error) {
	// The value comes first: a logout between the two reads is then seen. A sign-in between them is too, by another look.
	for range 3 {
		data, gerr := k.Store.Get(ctx, key)
		if rec, err = k.readRecord(ctx, key); err != nil {
			return rec, nil, err
		}
		if g, err = k.existing(key, rec, data, gerr); g != nil || err != nil || rec.Row == nil || rec.Open != nil {
			break
		}
	}
	return rec, g, err
}

// existing makes of what a Get returned a grant, if it is one of key's that exists.
func (k *Keeper) existing(key string, rec Journal, data []byte, err error) (*Grant, error) {
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, nil
	}
	var g *Grant
	if err == nil {
		g, err = decode(data)
	}
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, tokenstore.ErrDamaged): // "sign in again", never a program that cannot start
		k.log().Warn("the stored session cannot be read", "key", key, "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	case Key(g.Realm, g.Party, g.Account) != key, g.Generation <= rec.Tombstone:
		return nil, nil
	case !g.NewIDToken.IsZero() && rec.Verified == g.Generation:
		return g.promote(), nil
	}
	return g, nil
}

// Attempt is one wish for a token.
type Attempt struct {
	Key string
	// Early: the caller's token is still valid, so the lock is only tried.
	Early bool
	// Known is the grant that the caller has; nil: none. While the record says that it is still the one that is stored, it is not read again.
	Known *Grant
	// Serves reports whether a stored grant is what the caller wants, so that nothing has to be sent.
	Serves func(*Grant) bool
	// Send sends g's refresh token and returns g's successor, with every token that goes on living. Its errors are *SendError. A successor beside an error is
	// stored and not handed out: a rotated refresh token in an answer that is otherwise of no use (S59).
	Send func(ctx context.Context, g *Grant) (*Grant, error)
	// Stalled is told that the new tokens cannot be stored at present. Refresh goes on trying, with the lock held.
	Stalled func(error)
}

// Refresh returns a stored grant that serves, by adopting what another process stored or by refreshing. It returns when the
// matter is settled: ctx is not one caller's but the life of the client.
func (k *Keeper) Refresh(ctx context.Context, a Attempt) (*Grant, error) {
	// 2: without the lock.
	adopted, rec, err := k.look(ctx, a)
	if adopted != nil || err != nil {
		return adopted, err
	}

	// 3: the lock, unless its holder stores before that what is wanted.
	wait := k.LockWait
	if a.Early {
		wait = tryWait
	}
	held, unlock, adopted, err := k.lockOrAdopt(ctx, a, rec, wait)
	if adopted != nil || err != nil {
		return adopted, err
	}
	defer unlock()
	return k.refreshLocked(held, a, false)
}

// look is step 2: what is stored is adopted if it serves. ErrAbsent: there is no session, and no logout under way that might have to be finished.
func (k *Keeper) look(ctx context.Context, a Attempt) (*Grant, Journal, error) {
	rec, err := k.readRecord(ctx, a.Key)
	g := a.Known
	if err == nil && (g == nil || !rec.settledOn(g)) {
		rec, g, err = k.read(ctx, a.Key)
	}
	if err != nil {
		return nil, rec, err
	}
	if g == nil && (rec.Open == nil || rec.Open.Kind != opLogout) {
		return nil, rec, ErrAbsent
	}
	return k.adopt(ctx, rec, g, a), rec, nil
}

// lockOrAdopt takes the refresh lock. While another process holds it, the record is watched: what that process stores is adopted without the lock, or all
// that wait would have to go through it one by one. At the deadline step 2 is done once more.
func (k *Keeper) lockOrAdopt(ctx context.Context, a Attempt, seen Journal, wait time.Duration) (held context.Context, unlock func(), adopted *Grant, err error) {
	waiting, enough := within(ctx, wait)
	defer enough()
	found := make(chan *Grant, 1)
	go func() {
		g := k.watch(ctx, waiting, a, seen)
		enough()
		found <- g
	}()
	held, unlock, err = k.lockWhile(ctx, waiting, a.Key)
	enough()
	if adopted = <-found; adopted == nil && err != nil {
		adopted, _, _ = k.look(ctx, a)
	}
	if adopted == nil {
		return held, unlock, nil, err
	}
	if err == nil {
		unlock()
	}
	return nil, nil, adopted, nil
}

// watch looks at the record until waiting ends, and returns the stored grant once another process has made it one that serves. What it reads ends with ctx
// only: a call to a keychain that is given up stands in the next one's way.
func (k *Keeper) watch(ctx, waiting context.Context, a Attempt, seen Journal) *Grant {
	var last []byte
	for pause := watchEvery / 5; ; pause = min(2*pause, watchEvery) {
		select {
		case <-waiting.Done():
			return nil
		case <-time.After(pause):
		}
		data, err := k.recordBytes(ctx, a.Key)
		if err != nil || bytes.Equal(data, last) {
			continue
		}
		last = data
		rec, err := parseJournal(data)
		if err != nil || rec.Open != nil || seen.Open == nil && rec.Newest == seen.Newest {
			continue
		}
		rec, g, err := k.read(ctx, a.Key)
		if err != nil {
			continue
		}
		if g := k.adopt(ctx, rec, g, a); g != nil {
			return g
		}
		seen = rec
	}
}

// watchEvery is how often a process that waits for the lock looks at the record.
const watchEvery = 25 * time.Millisecond

// adopt returns the stored grant if it serves and no open refresh has sent its refresh token; otherwise the grace period
// would pass while everyone goes on with the old tokens, and the next refresh would be a reuse.
func (k *Keeper) adopt(ctx context.Context, rec Journal, g *Grant, a Attempt) *Grant {
	if g == nil || rec.names(g) || !a.Serves(g) {
		return nil
	}
	if g, err := k.verify(ctx, g, &rec); err == nil {
		return g
	}
	return nil
}

func (k *Keeper) refreshLocked(ctx context.Context, a Attempt, again bool) (*Grant, error) {
	// 4: what is true now.
	rec, g, err := k.read(ctx, a.Key)
	if err != nil {
		return nil, err
	}
	if rec.Open != nil && rec.Open.Kind == opLogout {
		if err := k.finishLogout(ctx, a.Key, &rec, a.Stalled); err != nil {
			return nil, err
		}
		return nil, ErrAbsent
	}
	if g == nil {
		return nil, ErrAbsent
	}
	if rec.Open != nil && rec.Open.Generation == g.Generation { // 4b: it landed
		rec.Open, rec.Row = nil, rowOf(g)
		verified, verr := k.verify(ctx, g, &rec)
		if err := k.writeRecord(ctx, a.Key, rec); err != nil {
			return nil, err
		}
		if verr == nil {
			g = verified
		}
	}
	if !rec.names(g) && a.Serves(g) { // 4c
		switch verified, err := k.verify(ctx, g, &rec); {
		case err == nil:
			return verified, nil
		case !errors.Is(err, ErrRejected):
			return nil, err
		}
	}
	switch {
	case rec.dead(g): // 4a
		return nil, ErrDead
	case g.RefreshToken.IsZero():
		return nil, ErrNoRefreshToken
	}
	if after := rec.pause(time.Now()); after > 0 {
		return nil, &PauseError{Status: rec.Status, After: after}
	}
	recovery := rec.names(g) // 4d

	// 5: say what is about to be sent, durably, before it is.
	if err := k.probe(ctx); err != nil {
		return nil, err
	}
	rec.Open = &Operation{Kind: opRefresh, Generation: rec.allot(g), Hash: g.hash(), At: time.Now().UnixMilli()}
	rec.NotBefore, rec.Status = 0, 0
	if err := k.writeRecord(ctx, a.Key, rec); err != nil {
		return nil, err
	}

	// 6: send, and once more if nobody knows what became of it.
	next, err := a.Send(ctx, g)
	if err != nil && next == nil && outcome(err) == Unknown && ctx.Err() == nil {
		k.log().Info("the refresh was sent and its outcome is unknown; sending once more", "key", a.Key)
		next, err = a.Send(ctx, g)
		recovery = true
	}
	if next == nil {
		return k.failed(ctx, a, &rec, g, err, recovery, again)
	}

	// 7: durable before anybody sees it.
	next.Generation = rec.Open.Generation
	if next.RefreshToken.IsZero() {
		next.RefreshToken = g.RefreshToken
	}
	if err := k.save(ctx, a.Key, next, a.Stalled); err != nil { // 9
		rec.Open.Settled = true
		k.note(ctx, a.Key, rec)
		return nil, err
	}
	rec.Dead = ""
	verified, verr := k.verify(ctx, next, &rec)
	k.closeOperation(ctx, a.Key, &rec, next) // 8
	if err != nil {
		return nil, err
	}
	return verified, verr
}

// failed is 6a to 6c: what a failure to refresh leaves behind. Nothing is deleted.
func (k *Keeper) failed(ctx context.Context, a Attempt, rec *Journal, g *Grant, err error, recovery, again bool) (*Grant, error) {
	settle := func() {
		rec.Open.Settled = true
		if !recovery {
			rec.Newest = rec.Open.Generation - 1 // nothing was stored, so it is free again, and nobody looks for it
			rec.Open = nil
		}
		k.note(ctx, a.Key, *rec)
	}
	switch outcome(err) {
	case NotSent, Refused:
		settle()
	case Paused:
		var se *SendError
		errors.As(err, &se)
		rec.NotBefore, rec.Status = time.Now().Add(se.After).UnixMilli(), se.Status
		settle()
	case Dead:
		// 6c: perhaps a sibling without our lock (another machine, an older program) was first.
		_, now, rerr := k.read(ctx, a.Key)
		if rerr == nil && now != nil && now.Generation > g.Generation && !again {
			settle()
			return k.refreshLocked(ctx, a, true)
		}
		rec.Dead, recovery = g.hash(), false
		settle()
		return nil, fmt.Errorf("%w: %w", ErrDead, err)
	default:
		recovery = true
		settle()
	}
	return nil, err
}

func outcome(err error) Outcome {
	var se *SendError
	if errors.As(err, &se) {
		return se.Outcome
	}
	return Unknown
}

// save stores g and does not come back before it is stored, or ctx has ended and no call of the store is outstanding: with the lock given back
// earlier, a late write would put an old refresh token over a sibling's new one.
func (k *Keeper) save(ctx context.Context, key string, g *Grant, stalled func(error)) error {
	data, err := g.encode()
	if err != nil {
		return err
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := k.put(ctx, key, data, stalled)
		if err == nil {
			return nil
		}
		k.log().Warn("the session cannot be stored; trying again", "key", key, "err", err)
		if stalled != nil {
			stalled(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// put stores data once, and waits for a call that was given up on.
func (k *Keeper) put(ctx context.Context, key string, data []byte, stalled func(error)) error {
	// Not ctx's end: whatever ends, tokens that the provider has issued are stored once more.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), putWait)
	defer cancel()
	err := k.Store.Put(bounded, key, data)
	if !k.wait(err, stalled) {
		return err
	}
	if got, gerr := k.Store.Get(context.WithoutCancel(ctx), key); gerr == nil && string(got) == string(data) {
		return nil // it landed after all
	}
	return err
}

// wait waits for a call of the store that was given up on, and reports whether there was one.
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

// closeOperation is 8. The value is stored by now; a record that stays open says so itself, by its generation (4b).
func (k *Keeper) closeOperation(ctx context.Context, key string, rec *Journal, g *Grant) {
	rec.Open, rec.Row = nil, rowOf(g)
	k.note(ctx, key, *rec)
}

// note writes what has happened already, so neither the end of the client nor a failure undoes it.
func (k *Keeper) note(ctx context.Context, key string, rec Journal) {
	if err := k.writeRecord(context.WithoutCancel(ctx), key, rec); err != nil {
		k.log().Warn("the session's record cannot be written", "key", key, "err", err)
	}
}

func rowOf(g *Grant) *Row {
	r := g.Row()
	return &r
}

// verify checks the ID token that came with g, unless the record says how that ended, and returns g with that token as its own.
func (k *Keeper) verify(ctx context.Context, g *Grant, rec *Journal) (*Grant, error) {
	if g.NewIDToken.IsZero() {
		return g, nil
	}
	if rec.Rejected == g.Generation {
		return nil, ErrRejected
	}
	if rec.Verified != g.Generation {
		err := k.Verify(ctx, g)
		if errors.Is(err, ErrRejected) {
			rec.Rejected = g.Generation
		}
		if err != nil {
			return nil, err
		}
		rec.Verified = g.Generation
	}
	return g.promote(), nil
}

// Save stores the grant of a new sign-in as one operation of the record (step 11), over whatever the account held. accept is asked under the lock about the
// grant that is there (nil: none) and may refuse. Save is bounded: where the store fails, it gives up. Where its error is a *[tokenstore.Pending],
// Save itself revokes the tokens if they are not stored in the end; else that is the caller's.
func (k *Keeper) Save(ctx context.Context, key string, g *Grant, accept func(prev *Grant) error) (*Grant, error) {
	held, unlock, err := k.lock(ctx, key, k.LockWait)
	if err != nil {
		return nil, err
	}
	return attend(ctx, unlock, func(hangs func(error)) (*Grant, error) {
		stored, err := k.saveLocked(held, key, g, accept, hangs)
		var pending *tokenstore.Pending
		if errors.As(err, &pending) { // nobody may be waiting any more who could do it
			if err := k.Revoke(context.WithoutCancel(held), g); err != nil {
				k.log().Info("tokens that could not be stored were not revoked", "err", err)
			}
		}
		return stored, err
	})
}

func (k *Keeper) saveLocked(held context.Context, key string, g *Grant, accept func(prev *Grant) error, hangs func(error)) (*Grant, error) {
	rec, prev, err := k.read(held, key)
	if err != nil {
		return nil, err
	}
	if rec.Open != nil && rec.Open.Kind == opLogout {
		if err := k.finishLogout(held, key, &rec, hangs); err != nil {
			return nil, err
		}
		prev = nil
	}
	if err := accept(prev); err != nil {
		return nil, err
	}
	stored, before := *g, rec.Open
	rec.Open = &Operation{Kind: opLogin, Generation: rec.allot(prev), At: time.Now().UnixMilli()}
	if before != nil {
		rec.Open.Hash = before.Hash // until the login is stored, what a dead refresh may have sent stays open
	}
	stored.Generation = rec.Open.Generation
	rec.NotBefore, rec.Status = 0, 0
	if err := k.writeRecord(held, key, rec); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(held, saveWait)
	defer cancel()
	if err := k.save(bounded, key, &stored, hangs); err != nil {
		rec.Open = before
		k.note(held, key, rec)
		return nil, err
	}
	rec.Dead = ""
	k.closeOperation(held, key, &rec, &stored)
	return &stored, nil
}

// putWait bounds one Put of a store that has no bound of its own; a keychain's, with a person to answer a prompt, is a minute.
const putWait = 90 * time.Second

// saveWait is how long a login tries to store what the person has just signed in for.
const saveWait = 10 * time.Second

// Logout ends the session for everyone (step 12), also one that cannot be read. revoked is why the provider was not told, if it was not; err is
// why the session is still here.
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
	rec, g, err := k.read(held, key)
	if err != nil && !errors.Is(err, ErrNewerFormat) && !errors.Is(err, tokenstore.ErrWrongKey) {
		return false, nil, err
	}
	if err != nil {
		g = nil // it does not load, and goes all the same
	}
	had = g != nil
	if g == nil {
		if g, had, revoked = k.remains(held, key); g == nil && !had {
			had = rec.Open != nil && rec.Open.Kind == opLogout
		}
	}
	gen := rec.allot(g)
	rec.Tombstone, rec.Row, rec.Dead = gen, nil, ""
	rec.Open = &Operation{Kind: opLogout, Generation: gen, At: time.Now().UnixMilli()}
	if err := k.writeRecord(held, key, rec); err != nil {
		return had, nil, err
	}
	if g != nil {
		revoked = k.Revoke(held, g)
	}
	return had, revoked, k.remove(held, key, &rec, hangs)
}

// ErrUnreadable means that a session was deleted without its tokens being known, so nobody could revoke them.
var ErrUnreadable = errors.New("the stored session cannot be read, so its tokens are not known")

// remains finds what a logout that did not end left to revoke, or why nothing can be.
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

// attend runs f, which works under a lock, and gives the lock back when f is through. If a call of the store hangs in f, nobody waits for it past the
// end of ctx, or past saveWait: f goes on by itself, with the lock, so that what lands late lands in nobody else's session. The error is then the
// *[tokenstore.Pending] that f reported.
func attend[T any](ctx context.Context, unlock func(), f func(hangs func(error)) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done, hung := make(chan result, 1), make(chan error, 1)
	hangs := func(err error) {
		var pending *tokenstore.Pending
		if errors.As(err, &pending) {
			select {
			case hung <- err:
			default:
			}
		}
	}
	go func() {
		value, err := f(hangs)
		unlock()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case err := <-hung:
		timer := time.NewTimer(saveWait)
		defer timer.Stop()
		select {
		case r := <-done:
			return r.value, r.err
		case <-ctx.Done():
		case <-timer.C:
		}
		var none T
		return none, err
	}
}

// finishLogout ends a logout whose process died: it revokes and deletes what is still there.
func (k *Keeper) finishLogout(ctx context.Context, key string, rec *Journal, hangs func(error)) error {
	if data, err := k.Store.Get(ctx, key); err == nil {
		if g, err := decode(data); err == nil && g.Generation <= rec.Tombstone {
			if err := k.Revoke(ctx, g); err != nil {
				k.log().Warn("the provider did not confirm the revocation", "key", key, "err", err)
			}
		}
	}
	return k.remove(ctx, key, rec, hangs)
}

func (k *Keeper) remove(ctx context.Context, key string, rec *Journal, hangs func(error)) error {
	err := k.Store.Delete(ctx, key)
	if k.wait(err, hangs) {
		ctx = context.WithoutCancel(ctx) // the lock was kept for this
		if _, gerr := k.Store.Get(ctx, key); errors.Is(gerr, tokenstore.ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		return err // the tombstone stands; the next holder finishes
	}
	rec.Open = nil
	return k.writeRecord(ctx, key, *rec)
}

// Rows lists the accounts under one realm and party in one pass (step 15). No secret is read where the rows are whole.
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
		rec, err := k.readRecord(ctx, key)
		if err != nil {
			return nil, err
		}
		if rec.Row == nil || rec.Open != nil { // lost, or something is under way: the value decides
			_, g, err := k.read(ctx, key)
			if err != nil {
				return nil, err
			}
			if g == nil {
				continue
			}
			rec.Row = rowOf(g)
		}
		rows = append(rows, *rec.Row)
	}
	return rows, nil
}

// lock takes the lock of key, for at most wait (0: as long as ctx lives).
func (k *Keeper) lock(ctx context.Context, key string, wait time.Duration) (held context.Context, unlock func(), err error) {
	waiting, cancel := within(ctx, wait)
	defer cancel()
	return k.lockWhile(ctx, waiting, key)
}

func within(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, wait)
}

// lockWhile takes the lock of key, and waits for it while waiting lives. held ends with ctx, or when the lock is lost.
func (k *Keeper) lockWhile(ctx, waiting context.Context, key string) (held context.Context, unlock func(), err error) {
	if l, ok := k.Store.(tokenstore.Shared); ok {
		lease, release, err := l.Lock(waiting, key)
		if err == nil {
			// The lease carries the store's own values and outlives waiting; it shall end with ctx too.
			held, cancel := context.WithCancel(lease)
			stop := context.AfterFunc(ctx, cancel)
			return held, func() {
				stop()
				cancel()
				if err := release(); err != nil {
					k.log().Warn("the session's lock was not given back cleanly", "key", key, "err", err)
				}
			}, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return nil, nil, busy(ctx, err)
		}
	}
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]chan struct{}{}
	}
	own := k.locks[key]
	if own == nil {
		own = make(chan struct{}, 1)
		k.locks[key] = own
	}
	k.mu.Unlock()
	select {
	case own <- struct{}{}:
		return ctx, func() { <-own }, nil
	case <-waiting.Done():
		return nil, nil, busy(ctx, waiting.Err())
	}
}

// busy tells the end of our own wait from the end of the caller's.
func busy(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrBusy
	}
	return err
}

// Probe reports whether a session could be stored now.
func (k *Keeper) Probe(ctx context.Context) error { return k.probe(ctx) }

func (k *Keeper) probe(ctx context.Context) error {
	p, ok := k.Store.(tokenstore.Prober)
	if !ok {
		return nil
	}
	if err := p.Probe(ctx); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func (k *Keeper) log() *slog.Logger {
	if k.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Logger
}
