package tokenstore_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// newFile returns a sealed file store in a directory and with a key of its own.
func newFile(t *testing.T) *tokenstore.File {
	return tokenstore.NewFile(filepath.Join(t.TempDir(), "store"), randomKey(t))
}

func randomKey(t *testing.T) tokenstore.Key {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	key, err := tokenstore.ParseKey(hex.EncodeToString(raw[:]))
	require.NoError(t, err)
	return key
}

// kept returns what a store has under key; "": nothing.
func kept(t *testing.T, s tokenstore.Store, key string) string {
	data, err := s.Get(t.Context(), key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	return string(data)
}

// journal returns the journal of key; "": none, or an empty one.
func journal(t *testing.T, s tokenstore.Shared, key string) string {
	data, err := s.ReadJournal(t.Context(), key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	return string(data)
}

// fill puts values with journals.
func fill(t *testing.T, s tokenstore.Store, keys ...string) {
	for _, key := range keys {
		require.NoError(t, s.Put(t.Context(), key, []byte("value of "+key)))
		held, unlock, err := s.(tokenstore.Shared).Lock(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, s.(tokenstore.Shared).WriteJournal(held, key, []byte("journal of "+key)))
		require.NoError(t, unlock())
	}
}

func TestCopyMovesValuesAndJournals(t *testing.T) {
	t.Parallel()
	for name, dst := range map[string]tokenstore.Store{"another key": newFile(t), "another kind": &tokenstore.Memory{}} {
		t.Run(name, func(t *testing.T) {
			src := newFile(t)
			fill(t, src, "a", "b")
			require.NoError(t, tokenstore.Copy(t.Context(), dst, src))
			for _, key := range []string{"a", "b"} {
				require.Equal(t, "value of "+key, kept(t, dst, key))
				require.Equal(t, "journal of "+key, journal(t, dst.(tokenstore.Shared), key))
				require.Empty(t, kept(t, src, key), "a rotating refresh token is for one store only")
				require.Empty(t, journal(t, src, key))
			}
			require.NoError(t, tokenstore.Copy(t.Context(), dst, src), "nothing is left to do")
			require.Equal(t, "value of a", kept(t, dst, "a"))
		})
	}
}

// What dst has is not replaced, and nothing of src is lost.
func TestCopyReplacesNothing(t *testing.T) {
	t.Parallel()
	src, dst := newFile(t), newFile(t)
	fill(t, src, "a", "b")
	require.NoError(t, dst.Put(t.Context(), "a", []byte("newer")))
	require.ErrorContains(t, tokenstore.Copy(t.Context(), dst, src), "another session")
	require.Equal(t, "newer", kept(t, dst, "a"))
	require.Equal(t, "value of a", kept(t, src, "a"))
	require.Equal(t, "value of b", kept(t, dst, "b"), "the others are moved")
}

func TestCopyRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	src := newFile(t)
	fill(t, src, "a")
	require.ErrorContains(t, tokenstore.Copy(t.Context(), src, src), "both stores")
	dir := filepath.Join(t.TempDir(), "store")
	rekeyed := tokenstore.NewFile(dir, randomKey(t))
	require.ErrorContains(t, tokenstore.Copy(t.Context(), rekeyed, tokenstore.NewFile(dir, randomKey(t))), "both stores")
	require.ErrorIs(t, tokenstore.Copy(t.Context(), &vault{}, src), errors.ErrUnsupported)
	require.ErrorIs(t, tokenstore.Copy(t.Context(), src, &vault{}), errors.ErrUnsupported)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tokenstore.Copy(ended, newFile(t), src), context.Canceled)
	require.Equal(t, "value of a", kept(t, src, "a"))
}

// stopping is a store with an nth change that fails, before or after it happened, as if the
// process had died there.
type stopping struct {
	*tokenstore.File
	left  int
	after bool
}

var errStopped = errors.New("stopped")

func (s *stopping) change(do func() error) error {
	s.left--
	if s.left == 0 && !s.after {
		return errStopped
	}
	if err := do(); err != nil || s.left != 0 {
		return err
	}
	return errStopped
}

func (s *stopping) Put(ctx context.Context, key string, data []byte) error {
	return s.change(func() error { return s.File.Put(ctx, key, data) })
}

func (s *stopping) Delete(ctx context.Context, key string) error {
	return s.change(func() error { return s.File.Delete(ctx, key) })
}

func (s *stopping) WriteJournal(ctx context.Context, key string, data []byte) error {
	return s.change(func() error { return s.File.WriteJournal(ctx, key, data) })
}

// Wherever Copy is interrupted, nothing is lost, and a second call completes it.
func TestCopyInterruptedIsCompleted(t *testing.T) {
	t.Parallel()
	for point := 1; point <= 8; point++ {
		src, dst := newFile(t), newFile(t)
		fill(t, src, "a", "b")
		one, two := &stopping{File: src, left: point / 2, after: point%2 == 0}, &stopping{File: dst, left: point - point/2}
		_ = tokenstore.Copy(t.Context(), two, one)
		for _, key := range []string{"a", "b"} {
			require.Contains(t, []string{kept(t, src, key), kept(t, dst, key)}, "value of "+key, "point %d", point)
		}
		require.NoError(t, tokenstore.Copy(t.Context(), dst, src), "point %d", point)
		for _, key := range []string{"a", "b"} {
			require.Equal(t, "value of "+key, kept(t, dst, key), "point %d", point)
			require.Equal(t, "journal of "+key, journal(t, dst, key), "point %d", point)
			require.Empty(t, kept(t, src, key), "point %d", point)
		}
	}
}

// Copies that overlap move each value once, and whoever holds a lock is waited for.
func TestCopyWaitsForTheLocks(t *testing.T) {
	t.Parallel()
	src, dst := newFile(t), newFile(t)
	fill(t, src, "a", "b", "c")
	held, unlock, err := src.Lock(t.Context(), "b")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := tokenstore.Copy(ctx, dst, src); err != nil {
				t.Error(err)
			}
		})
	}
	require.NoError(t, src.Put(held, "b", []byte("rotated meanwhile")))
	require.Empty(t, kept(t, dst, "b"))
	require.NoError(t, unlock())
	all.Wait()
	require.Equal(t, "rotated meanwhile", kept(t, dst, "b"))
	require.Equal(t, "value of c", kept(t, dst, "c"))
}
