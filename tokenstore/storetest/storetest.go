// Package storetest tests whether a [tokenstore.Store] keeps the contract that
// package tokenstore documents.
//
//	func TestMyStore(t *testing.T) {
//		server := startMyServer(t)
//		storetest.Run(t, func(t *testing.T) tokenstore.Store {
//			return mystore.New(server.Addr)
//		})
//	}
//
// # What is tested
//
//   - [tokenstore.Store]: keys, values of every size up to the limit, whole replacement,
//     contexts that have ended, concurrent use, and a second handle on the same store.
//   - [tokenstore.Shared], [tokenstore.Lister] and [tokenstore.Prober], if the store
//     has them. What it lacks is skipped, and the test says so.
//
// What only a crash shows is not tested: that a Put is atomic, and durable when it
// returns. See to that yourself, by a transaction or by a rename after fsync.
//
// # What is left behind
//
// It may run on a store that contains values of a user. It uses only keys that
// begin with "storetest-" and a random part, and it deletes their values in the
// end. Locks and journals cannot be deleted, so a store that keeps them as files or
// rows still has those of the test afterwards.
//
// # Stores to read
//
// The repository has two complete stores as examples: examples/sqlitestore, for one
// machine, and examples/etcdstore, for many.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// patience limits the wait for what should happen at once. Only a broken store
// reaches it.
const patience = 30 * time.Second

// Run tests the whole contract in subtests of t.
//
// Each call of open returns another handle on the same store, as another process
// would open it. A store in memory returns the same value each time. open must
// not return nil; it may call t.Fatal, and uses t.Cleanup for what has to be
// undone. It is called by one goroutine at a time.
//
// Subtests of an optional interface are skipped if the store lacks the interface
// or returns [errors.ErrUnsupported]. A store that locks but has no journal, or
// has a journal but does not lock, fails.
//
// The subtests take a second or so on a store in memory. They need a store that
// answers within 30 seconds while four handles use it.
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
		{"Journal", (*suite).journal},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := &suite{T: t, open: open}
			s.store = s.handle()
			s.prefix = "storetest-" + hex.EncodeToString(noise(8)) + "-"
			part.run(s)
		})
	}
}

// suite is one subtest.
type suite struct {
	*testing.T
	open   func(*testing.T) tokenstore.Store
	store  tokenstore.Store // a handle
	prefix string           // of all keys
}

// handle opens one more handle on the store.
func (s *suite) handle() tokenstore.Store {
	s.Helper()
	store := s.open(s.T)
	if store == nil {
		s.Fatal("open returned nil")
	}
	return store
}

// key returns a key without a value. Its value is deleted in the end.
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

func (s *suite) delete(store tokenstore.Store, key string) {
	s.Helper()
	if err := store.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete: %v", err)
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
	got, err := store.Get(s.Context(), key)
	if !errors.Is(err, tokenstore.ErrNotFound) {
		s.Fatalf("Get of a key without a value: want ErrNotFound, got %d bytes and error %v",
			len(got), err)
	}
}

// noise returns random bytes, which no store can compress or guess.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	return data
}

// signed returns random bytes with a checksum, so that isSigned recognizes a
// value that is not whole.
func signed(size int) []byte {
	data := noise(size)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func isSigned(data []byte) bool {
	n := len(data) - 4
	return n >= 0 && binary.BigEndian.Uint32(data[n:]) == crc32.ChecksumIEEE(data[:n])
}
