package authserver

import (
	"container/list"
	"crypto/rand"
	"iter"
	"time"
)

// How many entries a table has at most. A test or a demonstration needs a fraction of either.
const (
	manySmall = 50_000
	fewLarge  = 2_000 // of what anybody can send without having signed in, up to maxQuery or maxBody each
)

// table is a map whose entries end, each at its own time, and the oldest as soon as there are too many. The zero table is empty.
// Its user holds a lock.
type table[V any] struct {
	max     int // 0: manySmall
	entries map[string]*list.Element
	order   list.List // of *entry[V], oldest first
}

type entry[V any] struct {
	key   string
	value V
	until time.Time
}

func (t *table[V]) put(key string, v V, now, until time.Time) {
	if t.entries == nil {
		t.entries = map[string]*list.Element{}
	}
	t.remove(key)
	limit := t.max
	if limit == 0 {
		limit = manySmall
	}
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		old := e.Value.(*entry[V])
		if len(t.entries) < limit && now.Before(old.until) {
			break
		}
		t.remove(old.key)
	}
	t.entries[key] = t.order.PushBack(&entry[V]{key, v, until})
}

func (t *table[V]) get(key string, now time.Time) (V, bool) {
	if e := t.entries[key]; e != nil {
		if found := e.Value.(*entry[V]); now.Before(found.until) {
			return found.value, true
		}
	}
	var none V
	return none, false
}

// take gets and removes.
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

func (t *table[V]) all(now time.Time) iter.Seq[V] {
	return func(yield func(V) bool) {
		for e := t.order.Front(); e != nil; e = e.Next() {
			if found := e.Value.(*entry[V]); now.Before(found.until) && !yield(found.value) {
				return
			}
		}
	}
}

// window counts events of the last minute, roughly.
type window struct {
	began time.Time
	n     int
}

// add counts one more and reports whether there are now more than limit.
func (w *window) add(now time.Time, limit int) bool {
	if now.Sub(w.began) >= time.Minute {
		*w = window{began: now}
	}
	w.n++
	return w.n > limit
}

func (w *window) over(now time.Time, limit int) bool {
	return now.Sub(w.began) < time.Minute && w.n > limit
}

// newToken returns an unguessable text. The prefix says what it is, to people who find one in a log and to secret scanners.
func newToken(prefix string) string { return prefix + rand.Text() + rand.Text()[:6] }
