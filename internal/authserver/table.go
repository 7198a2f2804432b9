package authserver

import (
	"container/list"
	"crypto/rand"
	"iter"
	"time"
)

// The number of entries that a table has at most. A test or a demo needs a
// fraction of either.
const (
	manySmall = 50_000
	// fewLarge is for entries that anybody can send without signing in, of up
	// to maxQuery or maxBody bytes each.
	fewLarge = 2_000
)

// table is a map with bounds. Each entry expires at its own time, and the
// oldest one is dropped if there are too many. Keys are kept as hashes. The
// caller holds a lock.
type table[V any] struct {
	max     int // entries
	now     func() time.Time
	entries map[string]*list.Element
	order   list.List // of *entry[V], the oldest first
}

func newTable[V any](max int, now func() time.Time) *table[V] {
	return &table[V]{max: max, now: now, entries: map[string]*list.Element{}}
}

// entry is an entry of a table. It counts as gone from until on.
type entry[V any] struct {
	key   string // hashed
	value V
	until time.Time
}

// put adds an entry, which expires after life. It first drops the oldest
// entries: those that have expired, and as many as it takes to keep the table
// within its bound.
func (t *table[V]) put(key string, v V, life time.Duration) {
	now := t.now()
	t.remove(key)
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		old := e.Value.(*entry[V])
		if len(t.entries) < t.max && now.Before(old.until) {
			break
		}
		t.drop(e)
	}
	hashed := hash(key)
	t.entries[hashed] = t.order.PushBack(&entry[V]{hashed, v, now.Add(life)})
}

// get returns an entry that has not expired.
func (t *table[V]) get(key string) (V, bool) {
	if e := t.entries[hash(key)]; e != nil {
		if found := e.Value.(*entry[V]); t.now().Before(found.until) {
			return found.value, true
		}
	}
	var none V
	return none, false
}

// take returns an entry and removes it.
func (t *table[V]) take(key string) (V, bool) {
	v, ok := t.get(key)
	t.remove(key)
	return v, ok
}

func (t *table[V]) remove(key string) {
	if e := t.entries[hash(key)]; e != nil {
		t.drop(e)
	}
}

func (t *table[V]) drop(e *list.Element) {
	delete(t.entries, t.order.Remove(e).(*entry[V]).key)
}

// all returns the entries that have not expired, the oldest first.
func (t *table[V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		now := t.now()
		for e := t.order.Front(); e != nil; e = e.Next() {
			if found := e.Value.(*entry[V]); now.Before(found.until) && !yield(found.value) {
				return
			}
		}
	}
}

// newToken returns a text that nobody can guess, of about 160 bits. The prefix
// says what it is, for secret scanners and for the reader of a log.
func newToken(prefix string) string { return prefix + rand.Text() + rand.Text()[:6] }
