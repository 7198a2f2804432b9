// Package storetest holds a [tokenstore.Store] to everything that package tokenstore promises of one.
//
//	func TestMyStore(t *testing.T) {
//		server := startMyServer(t)
//		storetest.Run(t, func(t *testing.T) tokenstore.Store {
//			return mystore.New(server.Addr)
//		})
//	}
//
// It may be run on a store that holds a person's own values: it touches only keys that start with "storetest-", made anew each
// time, and deletes them. Lock files and records, which cannot be deleted, stay where the store has such.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// patience bounds what should happen at once; it is reached by a broken store only.
const patience = 30 * time.Second

// Run runs the whole contract as subtests. Each call of open gives one more handle on one and the same store, as another process
// would open it; a store that lives in memory returns the same value each time. What open has to undo, it leaves to
// t.Cleanup. The parts of an optional interface that the store does not have are skipped by name.
func Run(t *testing.T, open func(*testing.T) tokenstore.Store) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*suite)
	}{
		{"RoundTrip", (*suite).roundTrip},
		{"EveryByte", (*suite).everyByte},
		{"Overwrite", (*suite).overwrite},
		{"OwnSlices", (*suite).ownSlices},
		{"NotFound", (*suite).notFound},
		{"Delete", (*suite).deletes},
		{"Keys", (*suite).keys},
		{"KeysApart", (*suite).keysApart},
		{"TooLarge", (*suite).tooLarge},
		{"EndedContext", (*suite).endedContext},
		{"Handles", (*suite).handles},
		{"NeverTorn", (*suite).neverTorn},
		{"List", (*suite).list},
		{"Probe", (*suite).probe},
		{"LockExcludes", (*suite).lockExcludes},
		{"LockContext", (*suite).lockContext},
		{"LockUnlock", (*suite).lockUnlock},
		{"LockKeysApart", (*suite).lockKeysApart},
		{"Record", (*suite).record},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := &suite{T: t, open: open}
			s.store = s.handle()
			s.prefix = "storetest-" + random(8) + "-"
			part.run(s)
		})
	}
}

// suite is one subtest.
type suite struct {
	*testing.T
	open   func(*testing.T) tokenstore.Store
	store  tokenstore.Store
	prefix string
}

func (s *suite) handle() tokenstore.Store {
	s.Helper()
	store := s.open(s.T)
	if store == nil {
		s.Fatal("open returned nil")
	}
	return store
}

// key is a key of this subtest's own, empty now and in the end.
func (s *suite) key(name string) string {
	key := s.prefix + name
	s.Cleanup(func() {
		if err := s.store.Delete(context.Background(), key); err != nil {
			s.Errorf("Delete(%q), to leave nothing behind: %v", key, err)
		}
	})
	return key
}

func (s *suite) put(store tokenstore.Store, key string, data []byte) {
	s.Helper()
	if err := store.Put(s.Context(), key, data); err != nil {
		s.Fatalf("Put of %d bytes: %v", len(data), err)
	}
}

func (s *suite) want(store tokenstore.Store, key string, want []byte) {
	s.Helper()
	got, err := store.Get(s.Context(), key)
	switch {
	case err != nil:
		s.Fatalf("Get of a value of %d bytes: %v", len(want), err)
	case got == nil:
		s.Fatalf("Get of a value of %d bytes returned a nil slice without an error", len(want))
	case !bytes.Equal(got, want):
		s.Fatalf("Get returned %d other bytes than the %d that were put", len(got), len(want))
	}
}

func (s *suite) wantNone(store tokenstore.Store, key string) {
	s.Helper()
	if got, err := store.Get(s.Context(), key); !errors.Is(err, tokenstore.ErrNotFound) {
		s.Fatalf("Get where nothing is: want ErrNotFound, got %d bytes and error %v", len(got), err)
	}
}

// Sizes lie around what keychains take: Windows 2,560 bytes, macOS about 2,900.
func (s *suite) roundTrip() {
	key := s.key("a")
	for _, size := range []int{0, 1, 15, 1 << 10, 2000, 2540, 2559, 2560, 2561, 2950, 4096, 10 << 10, 64 << 10, 100_000, tokenstore.MaxData} {
		data := noise(size)
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
	s.put(s.store, key, nil)
	s.want(s.store, key, []byte{})
}

func (s *suite) everyByte() {
	key := s.key("a")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, data := range [][]byte{
		all, slices.Repeat(all, 20),
		{0}, {'\n'}, []byte(" a "), []byte("a\n"), []byte("\r\n\t"), []byte("a\x00b"), {0xff, 0xfe}, []byte("\xef\xbb\xbfbom"),
		[]byte("ünï ¢ode 🗝"), []byte(`{"a":"\"'\\$(x)%s"}`), []byte(strings.Repeat("=", 64)),
		[]byte("go-keyring-base64:AAAA"), []byte("go-keyring-encoded:00"), []byte("nativeoauth1:file:x"),
	} {
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
}

func (s *suite) overwrite() {
	key := s.key("a")
	for _, size := range []int{10, 100_000, 5000, 100_000, 0, 3, 200_000, 200_000, 1} {
		data := noise(size)
		s.put(s.store, key, data)
		s.want(s.store, key, data)
	}
}

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

func (s *suite) notFound() {
	s.wantNone(s.store, s.key("never-put"))
}

func (s *suite) deletes() {
	key, other := s.key("a"), s.key("b")
	if err := s.store.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete of nothing: %v", err)
	}
	s.put(s.store, other, []byte("other"))
	for _, size := range []int{1, 0, 100_000} {
		s.put(s.store, key, noise(size))
		if err := s.store.Delete(s.Context(), key); err != nil {
			s.Fatalf("Delete: %v", err)
		}
		s.wantNone(s.store, key)
		s.wantNone(s.handle(), key)
		if err := s.store.Delete(s.Context(), key); err != nil {
			s.Fatalf("a second Delete: %v", err)
		}
	}
	s.want(s.store, other, []byte("other"))
}

func (s *suite) keys() {
	longest := s.prefix + strings.Repeat("k", tokenstore.MaxKey-len(s.prefix))
	for _, key := range []string{
		longest, s.prefix + ".", s.prefix + "..", s.prefix + "-", s.prefix + "a.b-c", s.prefix + "con", s.prefix + ".lock", s.prefix + "0",
	} {
		key = s.key(strings.TrimPrefix(key, s.prefix))
		s.put(s.store, key, []byte(key))
		s.want(s.store, key, []byte(key))
	}
	for _, key := range []string{
		"", longest + "k", strings.Repeat("k", 4096), "A", "storetest-Upper", "a b", "a_b", "a/b", "../a", `a\b`, "a:b", "a*", "a\x00", "a\n", "ä", "\xff", "a'b", `a"b`,
	} {
		check := func(call string, err error) {
			s.Helper()
			if err == nil {
				s.Errorf("%s takes the key %q", call, key)
			} else if errors.Is(err, tokenstore.ErrNotFound) {
				s.Errorf("%s of the key %q says ErrNotFound; it is no key", call, key)
			}
		}
		_, err := s.store.Get(s.Context(), key)
		check("Get", err)
		check("Put", s.store.Put(s.Context(), key, []byte("x")))
		check("Delete", s.store.Delete(s.Context(), key))
		if locker, ok := s.store.(tokenstore.Locker); ok {
			if _, unlock, err := locker.Lock(s.Context(), key); !errors.Is(err, errors.ErrUnsupported) {
				check("Lock", err)
				if err == nil {
					_ = unlock()
				}
			}
		}
		if recorder, ok := s.store.(tokenstore.Recorder); ok {
			if _, err := recorder.ReadRecord(s.Context(), key); !errors.Is(err, errors.ErrUnsupported) {
				check("ReadRecord", err)
				check("WriteRecord", recorder.WriteRecord(s.Context(), key, nil))
			}
		}
	}
}

// Keys that begin alike, or look like file names that belong to each other, are different keys.
func (s *suite) keysApart() {
	names := []string{"a", "a.", "a..", "a-", "a.b", "a.row", "a.lock", "a.0123456789abcdef0123456789abcdef", "aa"}
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
	if err := s.store.Delete(s.Context(), s.prefix+"a"); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	for _, name := range names[1:] {
		s.want(s.store, s.prefix+name, slices.Repeat([]byte(s.prefix+name), 100))
	}
}

func (s *suite) tooLarge() {
	key := s.key("a")
	s.put(s.store, key, []byte("before"))
	if err := s.store.Put(s.Context(), key, make([]byte, tokenstore.MaxData+2<<10)); err == nil {
		s.Error("Put takes more than MaxData")
	}
	s.want(s.store, key, []byte("before"))
}

func (s *suite) endedContext() {
	key := s.key("a")
	s.put(s.store, key, []byte("before"))
	canceled, cancel := context.WithCancel(s.Context())
	cancel()
	expired, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{canceled, expired} {
		check := func(call string, err error) {
			s.Helper()
			if !errors.Is(err, ctx.Err()) && !errors.Is(err, errors.ErrUnsupported) {
				s.Errorf("%s with a ctx that has ended: want an error that matches %v, got %v", call, ctx.Err(), err)
			}
		}
		_, err := s.store.Get(ctx, key)
		check("Get", err)
		check("Put", s.store.Put(ctx, key, []byte("after")))
		check("Delete", s.store.Delete(ctx, key))
		if lister, ok := s.store.(tokenstore.Lister); ok {
			_, err := lister.List(ctx, "")
			check("List", err)
		}
		if prober, ok := s.store.(tokenstore.Prober); ok {
			check("Probe", prober.Probe(ctx))
		}
		if locker, ok := s.store.(tokenstore.Locker); ok {
			_, unlock, err := locker.Lock(ctx, key)
			check("Lock", err)
			if err == nil {
				_ = unlock()
			}
		}
		if recorder, ok := s.store.(tokenstore.Recorder); ok {
			_, err := recorder.ReadRecord(ctx, key)
			check("ReadRecord", err)
			check("WriteRecord", recorder.WriteRecord(ctx, key, nil))
		}
	}
	s.want(s.store, key, []byte("before"))
}

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
	if err := one.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	s.wantNone(two, key)
}

// Writers on several handles, while readers read: every read is some value that was put, whole.
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
				if err := writer.Put(s.Context(), key, signed([]int{10, 3000, 70_000, 150_000}[i%4])); err != nil {
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
					s.Errorf("Get beside writers: %d bytes that nobody put", len(got))
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

func (s *suite) list() {
	lister, ok := s.store.(tokenstore.Lister)
	if _, err := list(s.Context(), lister, ok, s.prefix); errors.Is(err, errors.ErrUnsupported) {
		s.Skip("the store is no Lister")
	}
	check := func(store tokenstore.Store, prefix string, want ...string) {
		s.Helper()
		got, err := store.(tokenstore.Lister).List(s.Context(), prefix)
		if err != nil {
			s.Fatalf("List(%q): %v", prefix, err)
		}
		if !slices.Equal(got, want) {
			s.Fatalf("List(%q):\nwant %q\ngot  %q", prefix, want, got)
		}
	}
	check(s.store, s.prefix)
	b, a, ab, row := s.key("b"), s.key("a"), s.key("a.b"), s.key("a.row")
	for _, key := range []string{b, a, ab, row, a} {
		s.put(s.store, key, []byte("x"))
	}
	s.put(s.store, b, noise(100_000))
	if recorder, ok := s.store.(tokenstore.Recorder); ok {
		_ = recorder.WriteRecord(s.Context(), s.prefix+"recorded", []byte("a record is no value"))
	}
	if locker, ok := s.store.(tokenstore.Locker); ok {
		if _, unlock, err := locker.Lock(s.Context(), s.prefix+"locked"); err == nil {
			defer func() { _ = unlock() }()
		}
	}
	check(s.store, s.prefix, a, ab, row, b)
	check(s.handle(), s.prefix, a, ab, row, b)
	check(s.store, s.prefix+"a", a, ab, row)
	check(s.store, s.prefix+"a.", ab, row)
	check(s.store, s.prefix+"c")
	all, err := lister.List(s.Context(), "")
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
	if err := s.store.Delete(s.Context(), a); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	check(s.handle(), s.prefix, ab, row, b)
}

func list(ctx context.Context, lister tokenstore.Lister, ok bool, prefix string) ([]string, error) {
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return lister.List(ctx, prefix)
}

func (s *suite) probe() {
	prober, ok := s.store.(tokenstore.Prober)
	if !ok {
		s.Skip("the store is no Prober")
	}
	lister, listed := s.store.(tokenstore.Lister)
	before, _ := list(s.Context(), lister, listed, "")
	err := prober.Probe(s.Context())
	if errors.Is(err, errors.ErrUnsupported) {
		s.Skip("the store is no Prober")
	}
	if err != nil {
		s.Fatalf("Probe of a store that works: %v", err)
	}
	if after, _ := list(s.Context(), lister, listed, ""); !slices.Equal(before, after) {
		s.Errorf("Probe left something behind: before %q, after %q", before, after)
	}
	key := s.key("a")
	s.put(s.store, key, []byte("kept"))
	if err := prober.Probe(s.Context()); err != nil {
		s.Fatalf("Probe: %v", err)
	}
	s.want(s.store, key, []byte("kept"))
}

// locker skips the rest where there is none.
func (s *suite) locker(store tokenstore.Store) tokenstore.Locker {
	s.Helper()
	locker, ok := store.(tokenstore.Locker)
	if ok {
		_, unlock, err := locker.Lock(s.Context(), s.prefix+"supported")
		ok = !errors.Is(err, errors.ErrUnsupported)
		if err == nil {
			_ = unlock()
		}
	}
	if !ok {
		s.Skip("the store is no Locker: it is for one client in one process")
	}
	return locker
}

// mustLock takes a lock that must be free soon.
func (s *suite) mustLock(locker tokenstore.Locker, key string) (context.Context, func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	held, unlock, err := locker.Lock(ctx, key)
	if err != nil {
		s.Fatalf("Lock: %v", err)
	}
	if held == nil || unlock == nil {
		s.Fatal("Lock returned neither an error nor a lock")
	}
	return held, unlock
}

// mustWait tries a lock that is held.
func (s *suite) mustWait(locker tokenstore.Locker, key, why string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	_, unlock, err := locker.Lock(ctx, key)
	if err == nil {
		_ = unlock()
		s.Errorf("Lock was given %s", why)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Lock %s: want an error that matches its ctx's, got %v", why, err)
	}
}

// A counter kept in the store itself, which no increment may miss.
func (s *suite) lockExcludes() {
	s.locker(s.store)
	const handles, rounds = 4, 10
	key := s.key("a")
	s.put(s.store, key, binary.BigEndian.AppendUint32(nil, 0))
	var all sync.WaitGroup
	var inside atomic.Int32
	add := func(store tokenstore.Store) error {
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		defer cancel()
		held, unlock, err := store.(tokenstore.Locker).Lock(ctx, key)
		if err != nil {
			return fmt.Errorf("waiting for the lock: %w", err)
		}
		defer func() { _ = unlock() }()
		if inside.Add(1) != 1 {
			return errors.New("two hold the lock of one key")
		}
		defer inside.Add(-1)
		data, err := store.Get(held, key)
		if err != nil || len(data) != 4 {
			return fmt.Errorf("under the lock Get returned %d bytes and error %v", len(data), err)
		}
		time.Sleep(time.Millisecond) // so that whoever can come between does
		return store.Put(held, key, binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(data)+1))
	}
	for range handles {
		store := s.handle()
		for range 2 { // goroutines on one handle exclude each other too
			all.Go(func() {
				for range rounds / 2 {
					if err := add(store); err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	s.want(s.handle(), key, binary.BigEndian.AppendUint32(nil, handles*rounds))
}

func (s *suite) lockContext() {
	locker := s.locker(s.store)
	key := s.prefix + "a"
	type mark struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(s.Context(), mark{}, "here"), patience)
	defer cancel()
	held, unlock, err := locker.Lock(ctx, key)
	if err != nil {
		s.Fatalf("Lock: %v", err)
	}
	defer func() { _ = unlock() }()
	if held.Value(mark{}) != "here" {
		s.Error("held does not carry the values of Lock's ctx")
	}
	cancel()
	if held.Err() != nil {
		s.Error("held ended with Lock's ctx; it bounds the waiting only")
	}
	s.mustWait(locker, key, "twice, on one handle")
	s.mustWait(s.handle().(tokenstore.Locker), key, "twice, on two handles")
	if held.Err() != nil {
		s.Error("held ended because another waited for the lock")
	}
	// A waiter gets it as soon as it is given back.
	got := make(chan error, 1)
	other := s.handle().(tokenstore.Locker)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, release, err := other.Lock(ctx, key)
		if err == nil {
			err = release()
		}
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := unlock(); err != nil {
		s.Errorf("unlock: %v", err)
	}
	if err := <-got; err != nil {
		s.Errorf("the waiter: %v", err)
	}
	if held.Err() == nil {
		s.Error("held did not end at unlock")
	}
}

func (s *suite) lockUnlock() {
	locker := s.locker(s.store)
	key := s.prefix + "a"
	_, unlock := s.mustLock(locker, key)
	for range 2 {
		if err := unlock(); err != nil {
			s.Errorf("unlock: %v", err)
		}
	}
	held, again := s.mustLock(s.handle().(tokenstore.Locker), key)
	defer func() { _ = again() }()
	if err := unlock(); err != nil {
		s.Errorf("unlock after another took the lock: %v", err)
	}
	if held.Err() != nil {
		s.Error("an old unlock ended another's lock")
	}
	s.mustWait(locker, key, "after an old unlock was called again")
}

func (s *suite) lockKeysApart() {
	locker := s.locker(s.store)
	for _, name := range []string{"a", "a.", "b", "a.lock", "never-put"} {
		_, unlock := s.mustLock(locker, s.prefix+name)
		defer func() { _ = unlock() }()
	}
	// Reading and writing ask for no lock.
	key := s.key("a")
	s.put(s.store, key, []byte("x"))
	s.want(s.handle(), key, []byte("x"))
}

func (s *suite) record() {
	recorder, ok := s.store.(tokenstore.Recorder)
	key := s.key("a")
	if ok {
		_, err := recorder.ReadRecord(s.Context(), key)
		ok = !errors.Is(err, errors.ErrUnsupported)
		if ok && !errors.Is(err, tokenstore.ErrNotFound) {
			s.Fatalf("ReadRecord where there is none: want ErrNotFound, got %v", err)
		}
	}
	if !ok {
		s.Skip("the store is no Recorder")
	}
	held := s.Context()
	if locker, isLocker := s.store.(tokenstore.Locker); isLocker {
		ctx, unlock, err := locker.Lock(s.Context(), key)
		if err != nil {
			s.Fatalf("Lock: %v", err)
		}
		defer func() { _ = unlock() }()
		held = ctx // a store with leases sees by it that the lock is ours
	}
	write := func(data []byte) {
		s.Helper()
		if err := recorder.WriteRecord(held, key, data); err != nil {
			s.Fatalf("WriteRecord: %v", err)
		}
	}
	want := func(store tokenstore.Store, data []byte) {
		s.Helper()
		got, err := store.(tokenstore.Recorder).ReadRecord(s.Context(), key)
		if err != nil || got == nil || !bytes.Equal(got, data) {
			s.Fatalf("ReadRecord: want the %d bytes that were written, got %d and error %v", len(data), len(got), err)
		}
	}
	given := []byte("first")
	write(given)
	clear(given)
	want(s.store, []byte("first"))
	s.wantNone(s.store, key) // a record is no value
	s.put(s.store, key, []byte("value"))
	write([]byte("a second, longer one"))
	want(s.handle(), []byte("a second, longer one"))
	s.want(s.store, key, []byte("value"))
	if err := s.store.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	want(s.handle(), []byte("a second, longer one")) // it outlives the value
	write(nil)
	want(s.store, []byte{})
	if _, err := recorder.ReadRecord(s.Context(), s.prefix+"b"); !errors.Is(err, tokenstore.ErrNotFound) {
		s.Errorf("ReadRecord of another key: want ErrNotFound, got %v", err)
	}
}

func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	return data
}

// signed is noise that tells whether it is whole.
func signed(size int) []byte {
	data := noise(size)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func isSigned(data []byte) bool {
	n := len(data) - 4
	return n >= 0 && binary.BigEndian.Uint32(data[n:]) == crc32.ChecksumIEEE(data[:n])
}

func random(bytes int) string { return hex.EncodeToString(noise(bytes)) }
