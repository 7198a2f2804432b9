package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// This file tests the interface Shared.

// shared returns the store as a Shared. It skips the rest of the subtest if the
// store has neither a lock nor a journal, and fails it if the store has only one
// of them.
func (s *suite) shared() tokenstore.Shared {
	s.Helper()
	shared, ok := s.store.(tokenstore.Shared)
	if !ok {
		s.Skip("the store is not Shared: it is for one client in one process")
	}
	_, unlock, err := shared.Lock(s.Context(), s.prefix+"supported")
	locks := !errors.Is(err, errors.ErrUnsupported)
	if err == nil {
		_ = unlock()
	}
	_, err = shared.ReadJournal(s.Context(), s.prefix+"supported")
	journals := !errors.Is(err, errors.ErrUnsupported)
	switch {
	case locks != journals:
		s.Fatalf("the store supports only one of Lock (%t) and ReadJournal (%t)", locks, journals)
	case !locks:
		s.Skip("the store is not Shared: it is for one client in one process")
	}
	return shared
}

// sharedHandle opens one more handle.
func (s *suite) sharedHandle() tokenstore.Shared {
	s.Helper()
	shared, ok := s.handle().(tokenstore.Shared)
	if !ok {
		s.Fatal("open returned a store that is not Shared after one that is")
	}
	return shared
}

// mustLock takes a lock that must be free soon. It is released in the end, if the
// caller does not do it before.
func (s *suite) mustLock(shared tokenstore.Shared, key string) (context.Context, func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	held, unlock, err := shared.Lock(ctx, key)
	if err != nil {
		s.Fatalf("Lock: %v", err)
	}
	if held == nil || unlock == nil {
		s.Fatal("Lock returned neither an error nor a lock")
	}
	s.Cleanup(func() { _ = unlock() })
	return held, unlock
}

// mustWait tries to take a lock that is held.
func (s *suite) mustWait(shared tokenstore.Shared, key, situation string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	_, unlock, err := shared.Lock(ctx, key)
	if err == nil {
		_ = unlock()
		s.Errorf("Lock returned a lock that is held: %s", situation)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("Lock of a lock that is held (%s): want an error that matches its ctx's, got %v",
			situation, err)
	}
}

// lockExcludes increments a counter in the store on several handles. No increment
// may be lost.
func (s *suite) lockExcludes() {
	s.shared()
	const handles, rounds = 4, 10
	key := s.key("a")
	s.put(s.store, key, binary.BigEndian.AppendUint32(nil, 0))
	var all sync.WaitGroup
	var inside atomic.Int32
	add := func(store tokenstore.Store) error {
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		defer cancel()
		held, unlock, err := store.(tokenstore.Shared).Lock(ctx, key)
		if err != nil {
			return fmt.Errorf("waiting for the lock: %w", err)
		}
		defer func() { _ = unlock() }()
		if inside.Add(1) != 1 {
			return errors.New("two callers hold the lock of one key")
		}
		defer inside.Add(-1)
		data, err := store.Get(held, key)
		if err != nil || len(data) != 4 {
			return fmt.Errorf("under the lock Get returned %d bytes and error %v", len(data), err)
		}
		time.Sleep(time.Millisecond) // gives others the time to interfere
		next := binary.BigEndian.Uint32(data) + 1
		return store.Put(held, key, binary.BigEndian.AppendUint32(nil, next))
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

// lockContext tests the context held: its values, its beginning and its end.
func (s *suite) lockContext() {
	shared := s.shared()
	key := s.prefix + "a"
	type mark struct{}
	ctx := context.WithValue(s.Context(), mark{}, "here")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	held, unlock, err := shared.Lock(ctx, key)
	if err != nil {
		s.Fatalf("Lock: %v", err)
	}
	defer func() { _ = unlock() }()
	if held.Value(mark{}) != "here" {
		s.Error("held does not carry the values of Lock's ctx")
	}
	cancel()
	if held.Err() != nil {
		s.Error("held ended with Lock's ctx; that ctx limits the wait only")
	}
	s.mustWait(shared, key, "twice on one handle")
	s.mustWait(s.sharedHandle(), key, "twice on two handles")
	if held.Err() != nil {
		s.Error("held ended because another caller waited for the lock")
	}
	// A caller that waits gets the lock as soon as it is released.
	got := make(chan error, 1)
	other := s.sharedHandle()
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
		s.Errorf("the caller that waited: %v", err)
	}
	if held.Err() == nil {
		s.Error("held did not end at unlock")
	}
}

// lockUnlock calls an unlock again after another caller took the lock.
func (s *suite) lockUnlock() {
	shared := s.shared()
	key := s.prefix + "a"
	_, unlock := s.mustLock(shared, key)
	for range 2 {
		if err := unlock(); err != nil {
			s.Errorf("unlock: %v", err)
		}
	}
	held, _ := s.mustLock(s.sharedHandle(), key)
	if err := unlock(); err != nil {
		s.Errorf("unlock after another caller took the lock: %v", err)
	}
	if held.Err() != nil {
		s.Error("an old unlock released the lock of another caller")
	}
	s.mustWait(shared, key, "after an old unlock was called again")
}

// lockKeysApart holds the locks of several keys at once.
func (s *suite) lockKeysApart() {
	shared := s.shared()
	for _, name := range []string{"a", "a.", "b", "a.lock", "never-put"} {
		s.mustLock(shared, s.prefix+name)
	}
	// Get and Put do not wait for a lock.
	key := s.key("a")
	s.put(s.store, key, []byte("x"))
	s.want(s.handle(), key, []byte("x"))
}

// journal writes the journal of one key under its lock, and checks that it is
// independent of the value and of the journals of other keys.
func (s *suite) journal() {
	shared := s.shared()
	key := s.key("a")
	if _, err := shared.ReadJournal(s.Context(), key); !errors.Is(err, tokenstore.ErrNotFound) {
		s.Fatalf("ReadJournal of a key without a journal: want ErrNotFound, got %v", err)
	}
	held, _ := s.mustLock(shared, key)
	write := func(data []byte) {
		s.Helper()
		// A store with leases sees by held that the caller has the lock.
		if err := shared.WriteJournal(held, key, data); err != nil {
			s.Fatalf("WriteJournal: %v", err)
		}
	}

	given := []byte("first")
	write(given)
	clear(given)
	s.wantJournal(shared, key, []byte("first"))
	s.wantNone(s.store, key) // a journal is no value
	s.put(s.store, key, []byte("value"))
	write([]byte("a second, longer one"))
	s.wantJournal(s.sharedHandle(), key, []byte("a second, longer one"))
	s.want(s.store, key, []byte("value"))
	s.delete(s.store, key)
	// The journal outlives the value. A logout needs it.
	s.wantJournal(s.sharedHandle(), key, []byte("a second, longer one"))
	write(nil)
	s.wantJournal(shared, key, []byte{})

	_, err := shared.ReadJournal(s.Context(), s.prefix+"b")
	if !errors.Is(err, tokenstore.ErrNotFound) {
		s.Errorf("ReadJournal of another key: want ErrNotFound, got %v", err)
	}
}

// wantJournal reads twice, and changes the slice in between.
func (s *suite) wantJournal(shared tokenstore.Shared, key string, want []byte) {
	s.Helper()
	for range 2 {
		got, err := shared.ReadJournal(s.Context(), key)
		if err != nil || got == nil || !bytes.Equal(got, want) {
			s.Fatalf("ReadJournal: want the %d bytes that were written, got %d and error %v",
				len(want), len(got), err)
		}
		clear(got)
	}
}
