package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// This file tests Get, Put and Delete.

// roundTrip uses sizes around the limits of keychains, which are 2,560 bytes on
// Windows and about 2,900 on macOS.
func (s *suite) roundTrip() {
	key := s.key("a")
	for _, size := range []int{
		0, 1, 15, 1 << 10, 2000, 2540, 2559, 2560, 2561, 2950, 4096, 10 << 10, 64 << 10, 100_000,
		tokenstore.MaxData,
	} {
		data := noise(size)
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
	s.put(s.store, key, nil)
	s.want(s.store, key, []byte{})
}

// everyByte uses values that stores have changed: quotes, control characters,
// spaces at the end, invalid UTF-8, and prefixes that have a meaning in go-keyring
// and in this module.
func (s *suite) everyByte() {
	key := s.key("a")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, data := range [][]byte{
		all, slices.Repeat(all, 20),
		{0}, {'\n'}, []byte(" a "), []byte("a\n"), []byte("\r\n\t"), []byte("a\x00b"),
		{0xff, 0xfe}, []byte("\xef\xbb\xbfbom"),
		[]byte("ünï ¢ode 🗝"), []byte(`{"a":"\"'\\$(x)%s"}`), []byte(strings.Repeat("=", 64)),
		[]byte("go-keyring-base64:AAAA"), []byte("go-keyring-encoded:00"),
		[]byte("nativeoauth1:file:x"),
	} {
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
}

// overwrite alternates between sizes, because stores keep large values elsewhere.
func (s *suite) overwrite() {
	key := s.key("a")
	for _, size := range []int{10, 100_000, 5000, 100_000, 0, 3, 200_000, 200_000, 1} {
		data := noise(size)
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
}

// ownSlices changes the slices that it gave to Put and got from Get. The stored
// value must not change with them.
func (s *suite) ownSlices() {
	for _, size := range []int{100, 5000, 100_000} {
		key := s.key(fmt.Sprint(size))
		data := noise(size)
		given := bytes.Clone(data)
		s.put(s.store, key, given)
		if !bytes.Equal(given, data) {
			s.Fatal("Put changed the slice that it was given")
		}
		clear(given)
		s.want(s.store, key, data)
		got, err := s.store.Get(s.Context(), key)
		if err != nil {
			s.Fatal(err)
		}
		clear(got)
		_ = append(got, "more"...)
		s.want(s.store, key, data)
	}
}

// notFound reads a key that never had a value.
func (s *suite) notFound() {
	s.wantNone(s.store, s.key("never-put"))
}

// deletes removes small, empty and large values, also twice, and looks at them
// through another handle. A neighbor keeps its value.
func (s *suite) deletes() {
	key, other := s.key("a"), s.key("b")
	s.delete(s.store, key)
	s.put(s.store, other, []byte("other"))
	for _, size := range []int{1, 0, 100_000} {
		s.put(s.store, key, noise(size))
		s.delete(s.store, key)
		s.wantNone(s.store, key)
		s.wantNone(s.handle(), key)
		s.delete(s.store, key)
	}
	s.want(s.store, other, []byte("other"))
}

// keys uses valid keys that are awkward as file names, and keys that every method
// must refuse.
func (s *suite) keys() {
	longest := s.prefix + strings.Repeat("k", tokenstore.MaxKey-len(s.prefix))
	for _, key := range []string{
		longest, s.prefix + ".", s.prefix + "..", s.prefix + "-", s.prefix + "a.b-c",
		s.prefix + "con", s.prefix + ".lock", s.prefix + "0",
	} {
		key = s.key(strings.TrimPrefix(key, s.prefix))
		s.put(s.store, key, []byte(key))
		s.want(s.store, key, []byte(key))
	}
	for _, key := range []string{
		"", longest + "k", strings.Repeat("k", 4096), "A", "storetest-Upper", "a b", "a_b", "a/b",
		"../a", `a\b`, "a:b", "a*", "a\x00", "a\n", "ä", "\xff", "a'b", `a"b`,
	} {
		s.refusesKey(key)
	}
}

// refusesKey calls every method with an invalid key. ErrNotFound would tell a
// caller that a session is gone.
func (s *suite) refusesKey(key string) {
	s.Helper()
	s.everyMethod(s.Context(), key, func(method string, err error) {
		s.Helper()
		switch {
		case err == nil:
			s.Errorf("%s accepts the key %q", method, key)
		case errors.Is(err, tokenstore.ErrNotFound):
			s.Errorf("%s of the invalid key %q returns ErrNotFound; want another error",
				method, key)
		}
	})
}

// everyMethod calls each method that takes a key, and check with its error. It
// leaves out those that the store does not support.
func (s *suite) everyMethod(
	ctx context.Context, key string, check func(method string, err error),
) {
	s.Helper()
	_, err := s.store.Get(ctx, key)
	check("Get", err)
	check("Put", s.store.Put(ctx, key, []byte("x")))
	check("Delete", s.store.Delete(ctx, key))
	shared, ok := s.store.(tokenstore.Shared)
	if !ok {
		return
	}
	if _, unlock, err := shared.Lock(ctx, key); !errors.Is(err, errors.ErrUnsupported) {
		check("Lock", err)
		if err == nil {
			_ = unlock()
		}
	}
	if _, err := shared.ReadJournal(ctx, key); !errors.Is(err, errors.ErrUnsupported) {
		check("ReadJournal", err)
		check("WriteJournal", shared.WriteJournal(ctx, key, nil))
	}
}

// keysApart uses keys that begin alike, and keys that look like the file names of
// other keys.
func (s *suite) keysApart() {
	names := []string{
		"a", "a.", "a..", "a-", "a.b", "a.row", "a.lock", "a.journal",
		"a.0123456789abcdef0123456789abcdef", "aa",
	}
	for round := range 2 {
		for _, name := range names {
			key := s.prefix + name
			if round == 0 {
				key = s.key(name)
			}
			s.put(s.store, key, slices.Repeat([]byte(key), 100))
		}
		for _, name := range names {
			s.want(s.store, s.prefix+name, slices.Repeat([]byte(s.prefix+name), 100))
		}
	}
	s.delete(s.store, s.prefix+"a")
	for _, name := range names[1:] {
		s.want(s.store, s.prefix+name, slices.Repeat([]byte(s.prefix+name), 100))
	}
}

// tooLarge puts a value that is larger than a wrapper may make it. A store that cut
// it, or lost the old value, would lose a session.
func (s *suite) tooLarge() {
	key := s.key("a")
	s.put(s.store, key, []byte("before"))
	if err := s.store.Put(s.Context(), key, make([]byte, tokenstore.MaxData+2<<10)); err == nil {
		s.Error("Put accepts more than MaxData")
	}
	s.want(s.store, key, []byte("before"))
}

// endedContext calls every method with a ctx that was canceled and with one that
// has expired.
func (s *suite) endedContext() {
	key := s.key("a")
	s.put(s.store, key, []byte("before"))
	canceled, cancel := context.WithCancel(s.Context())
	cancel()
	expired, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{canceled, expired} {
		check := func(method string, err error) {
			s.Helper()
			if !errors.Is(err, ctx.Err()) && !errors.Is(err, errors.ErrUnsupported) {
				s.Errorf("%s with a ctx that has ended: want an error that matches %v, got %v",
					method, ctx.Err(), err)
			}
		}
		s.everyMethod(ctx, key, check)
		if lister, ok := s.store.(tokenstore.Lister); ok {
			_, err := lister.List(ctx, "")
			check("List", err)
		}
		if prober, ok := s.store.(tokenstore.Prober); ok {
			check("Probe", prober.Probe(ctx))
		}
	}
	s.want(s.store, key, []byte("before"))
}

// handles writes on one handle and reads on another. A store with a cache fails if
// it does not see the writes of other processes.
func (s *suite) handles() {
	key := s.key("a")
	one, two := s.handle(), s.handle()
	for _, size := range []int{10, 100_000, 20} {
		data := noise(size)
		s.put(one, key, data)
		s.want(two, key, data)
		s.want(s.handle(), key, data)
		one, two = two, one
	}
	s.delete(one, key)
	s.wantNone(two, key)
}

// neverTorn reads on several handles while others write. Every read must return
// some value that was put, whole. Sizes alternate, because a store may keep small
// and large values in different places.
func (s *suite) neverTorn() {
	const handles, writes = 4, 8
	key := s.key("a")
	s.put(s.store, key, signed(0))
	var (
		writers, readers sync.WaitGroup
		done             atomic.Bool
	)
	for range handles {
		writer, reader := s.handle(), s.handle()
		writers.Go(func() {
			for i := range writes {
				size := []int{10, 3000, 70_000, 150_000}[i%4]
				if err := writer.Put(s.Context(), key, signed(size)); err != nil {
					s.Errorf("Put beside others: %v", err)
					return
				}
			}
		})
		readers.Go(func() {
			for !done.Load() {
				got, err := reader.Get(s.Context(), key)
				if err != nil {
					s.Errorf("Get beside writers: %v", err)
					return
				}
				if !isSigned(got) {
					s.Errorf("Get beside writers: %d bytes that were never put", len(got))
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if got, err := s.handle().Get(s.Context(), key); err != nil || !isSigned(got) {
		s.Errorf("Get after all writers: %d bytes, error %v", len(got), err)
	}
}
