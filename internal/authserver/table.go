package authserver

import (
	"cmp"
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
// oldest one is dropped if there are too many. The zero table is empty. The
// caller holds a lock.
type table[V any] struct {
	max     int // entries; 0 means manySmall
	entries map[string]*list.Element
	order   list.List // of *entry[V], the oldest first
}

// entry is an entry of a table. It counts as gone from until on.
type entry[V any] struct {
	key   string
	value V
	until time.Time
}

// put adds an entry. It first drops the oldest entries: those that have
// expired, and as many as it takes to keep the table within its bound.
func (t *table[V]) put(key string, v V, now, until time.Time) {
	if t.entries == nil {
		t.entries = map[string]*list.Element{}
	}
	t.remove(key)
	limit := cmp.Or(t.max, manySmall)
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		old := e.Value.(*entry[V])
		if len(t.entries) < limit && now.Before(old.until) {
			break
		}
		t.remove(old.key)
	}
	t.entries[key] = t.order.PushBack(&entry[V]{key, v, until})
}

// get returns an entry that has not expired.
func (t *table[V]) get(key string, now time.Time) (V, bool) {
	if e := t.entries[key]; e != nil {
		if found := e.Value.(*entry[V]); now.Before(found.until) {
			return found.value, true
		}
	}
	var none V
	return none, false
}

// take returns an entry and removes it.
func (t *table[V]) take(key string, now time.Time) (V, bool) {
	v, ok := t.get(key, now)
	t.remove(key)
	return v, ok
}

func (t *table[V]) remove(key string) {
	if e := t.entries[key]; e != nil {
		t.order.Remove(e)
		delete(t.entries, key)
	}
}

// all returns the entries that have not expired, the oldest first.
func (t *table[V]) all(now time.Time) iter.Seq[V] {
	return func(yield func(V) bool) {
		for e := t.order.Front(); e != nil; e = e.Next() {
			if found := e.Value.(*entry[V]); now.Before(found.until) && !yield(found.value) {
				return
			}
		}
	}
}

// window counts the events of roughly the last minute.
type window struct {
	began time.Time
	n     int
}

// add counts one more event.
func (w *window) add(now time.Time) {
	if now.Sub(w.began) >= time.Minute {
		*w = window{began: now}
	}
	w.n++
}

// over reports whether there were more than limit.
func (w *window) over(now time.Time, limit int) bool {
	return now.Sub(w.began) < time.Minute && w.n > limit
}

// newToken returns a text that nobody can guess, of about 160 bits. The prefix
// says what it is, for secret scanners and for the reader of a log.
func newToken(prefix string) string { return prefix + rand.Text() + rand.Text()[:6] }
