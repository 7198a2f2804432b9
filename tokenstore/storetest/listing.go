package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// This file tests the interfaces Lister and Prober.

// list returns errors.ErrUnsupported if the store is no Lister.
func list(ctx context.Context, store tokenstore.Store, prefix string) ([]string, error) {
	lister, ok := store.(tokenstore.Lister)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return lister.List(ctx, prefix)
}

// wantList does not accept a key too many, because all its keys were put and
// deleted without an error.
func (s *suite) wantList(store tokenstore.Store, prefix string, want ...string) {
	s.Helper()
	got, err := list(s.Context(), store, prefix)
	if err != nil {
		s.Fatalf("List(%q): %v", prefix, err)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("List(%q):\nwant %q\ngot  %q", prefix, want, got)
	}
}

// list lists keys with and without values, through two handles and with several
// prefixes.
func (s *suite) list() {
	if _, err := list(s.Context(), s.store, s.prefix); errors.Is(err, errors.ErrUnsupported) {
		s.Skip("the store is no Lister")
	}
	s.wantList(s.store, s.prefix)
	b, a, ab, row := s.key("b"), s.key("a"), s.key("a.b"), s.key("a.row")
	for _, key := range []string{b, a, ab, row, a} {
		s.put(s.store, key, []byte("x"))
	}
	s.put(s.store, b, noise(100_000))
	defer s.lockAndJournalWithoutValue()()
	s.wantList(s.store, s.prefix, a, ab, row, b)
	s.wantList(s.handle(), s.prefix, a, ab, row, b)
	s.wantList(s.store, s.prefix+"a", a, ab, row)
	s.wantList(s.store, s.prefix+"a.", ab, row)
	s.wantList(s.store, s.prefix+"c")
	all, err := list(s.Context(), s.store, "")
	if err != nil {
		s.Fatalf("List of all: %v", err)
	}
	for _, key := range []string{a, b, ab, row} {
		if !slices.Contains(all, key) {
			s.Errorf("List of all lacks %q", key)
		}
	}
	if !slices.IsSorted(all) {
		s.Error("List of all is not sorted")
	}
	s.delete(s.store, a)
	s.wantList(s.handle(), s.prefix, ab, row, b)
}

// lockAndJournalWithoutValue makes keys that have a journal or a lock and no
// value. They must not be listed.
func (s *suite) lockAndJournalWithoutValue() (unlock func()) {
	unlock = func() {}
	shared, ok := s.store.(tokenstore.Shared)
	if !ok {
		return unlock
	}
	held, release, err := shared.Lock(s.Context(), s.prefix+"journal")
	if err != nil {
		return unlock
	}
	_ = shared.WriteJournal(held, s.prefix+"journal", []byte("a journal is no value"))
	return func() { _ = release() }
}

// probe calls Probe on a store that works, before and after a Put.
func (s *suite) probe() {
	prober, ok := s.store.(tokenstore.Prober)
	if !ok {
		s.Skip("the store is no Prober")
	}
	before, _ := list(s.Context(), s.store, "")
	err := prober.Probe(s.Context())
	if errors.Is(err, errors.ErrUnsupported) {
		s.Skip("the store is no Prober")
	}
	if err != nil {
		s.Fatalf("Probe of a store that works: %v", err)
	}
	if after, _ := list(s.Context(), s.store, ""); !slices.Equal(before, after) {
		s.Errorf("Probe left something behind: before %q, after %q", before, after)
	}
	key := s.key("a")
	s.put(s.store, key, []byte("kept"))
	if err := prober.Probe(s.Context()); err != nil {
		s.Fatalf("Probe: %v", err)
	}
	s.want(s.store, key, []byte("kept"))
}
