package tokenstore_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// The whole contract on files.
func TestFileKeepsTheContract(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sealed")
	storetest.Run(t, func(t *testing.T) tokenstore.Store {
		return tokenstore.NewFile(dir, key(t, "ab"))
	})
}

// The whole contract on sealed values in memory.
func TestSealedKeepsTheContract(t *testing.T) {
	t.Parallel()
	inner := &tokenstore.Memory{}
	storetest.Run(t, func(t *testing.T) tokenstore.Store { return tokenstore.Seal(inner, key(t, "ab")) })
}

// S65: the disk has ciphertext in private files. A file or directory that is not
// private is refused with a remedy.
func TestS65File(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "sealed")
	store := tokenstore.NewFile(dir, key(t, "ab"))
	require.NoError(t, store.Put(ctx, "k", []byte("canary-3f9a")))
	require.NoError(t, store.WriteJournal(ctx, "k", []byte("journal")))
	path := filepath.Join(dir, "key-k.sealed")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "canary")

	// A file that was swapped for that of another key.
	require.NoError(t, store.Put(ctx, "other", []byte("of another")))
	swapped, err := os.ReadFile(filepath.Join(dir, "key-other.sealed"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, swapped, 0o600))
	_, err = store.Get(ctx, "k")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	// A file that was cut short, and one that is not ours.
	require.NoError(t, os.WriteFile(path, raw[:len(raw)-1], 0o600))
	_, err = store.Get(ctx, "k")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	require.NoError(t, os.WriteFile(path, []byte("plaintext"), 0o600))
	_, err = store.Get(ctx, "k")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	_, err = tokenstore.NewFile(dir, key(t, "cd")).Get(ctx, "k")
	require.ErrorIs(t, err, tokenstore.ErrWrongKey)
	got, err := store.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, "canary-3f9a", string(got))

	if runtime.GOOS == "windows" {
		return
	}
	require.NoError(t, filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), p)
		return err
	}))
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = store.Get(ctx, "k")
	require.ErrorIs(t, err, tokenstore.ErrUnavailable)
	require.NotErrorIs(t, err, tokenstore.ErrNotFound)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))

	require.NoError(t, os.Chmod(dir, 0o755))
	_, list := store.List(ctx, "")
	_, _, lock := store.Lock(ctx, "k")
	_, get := store.Get(ctx, "k")
	_, read := store.ReadJournal(ctx, "k")
	for i, err := range []error{list, lock, get, read, store.Put(ctx, "k", nil), store.Delete(ctx, "k"), store.Probe(ctx), store.WriteJournal(ctx, "k", nil)} {
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, i)
		require.ErrorContains(t, err, "chmod 700")
	}
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, store.Probe(ctx))
}

// A File without a directory uses the home of the moment when it was made.
func TestFileWithoutADirectoryUsesTheHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	store := tokenstore.NewFile("", key(t, "ab"))
	require.NoError(t, store.Put(t.Context(), "k", []byte("v")))
	require.True(t, strings.HasPrefix(store.String(), "file "+home), store.String())
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	_, err := tokenstore.NewFile("", key(t, "ab")).Get(t.Context(), "k")
	require.ErrorIs(t, err, tokenstore.ErrUnavailable)
	got, err := store.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(got))
}

func TestProbeLeavesOnlyALock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sealed")
	store := tokenstore.NewFile(dir, key(t, "ab"))
	require.NoError(t, store.Probe(t.Context()))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "probe.lock", entries[0].Name())
	keys, err := store.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, keys)
}

// Eight processes increment a counter under its lock.
func TestProcessesLoseNoIncrement(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sealed")
	store := tokenstore.NewFile(dir, key(t, "ab"))
	require.NoError(t, store.Put(t.Context(), "count", []byte("0")))
	all(t, 8, "increment", dir)
	data, err := store.Get(t.Context(), "count")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(8*increments), string(data))
}

// S65: after SIGKILL at random moments, the value is always one that was put.
func TestS65KilledProcessesTearNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sealed")
	store := tokenstore.NewFile(dir, key(t, "ab"))
	require.NoError(t, store.Put(t.Context(), "k", []byte(strings.Repeat("x", 5000))))
	read := func() string {
		data, err := store.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, strings.Repeat(string(data[:1]), 5000), string(data))
		return string(data[:1])
	}
	for range 8 {
		before := read()
		writer := process(t, "write", dir, "")
		require.NoError(t, writer.Start())
		for end := time.Now().Add(time.Minute); read() == before; {
			require.True(t, time.Now().Before(end), "the writer writes nothing")
		}
		for end := time.Now().Add(rand.N(5 * time.Millisecond)); time.Now().Before(end); {
			read()
		}
		require.NoError(t, writer.Process.Kill())
		_ = writer.Wait()
		read()
	}
}

// If processes create a passphrase at once, one is prompted to create it. Every
// value then opens in every process.
func TestProcessesThatCreateAtOnceAgree(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sealed")
	outs := all(t, 3, "passphrase", dir)
	created := 0
	for _, out := range outs {
		require.Equal(t, 1, strings.Count(out, "create="), "prompted once per process")
		created += strings.Count(out, "create=true")
	}
	require.Equal(t, 1, created)

	prompted := 0
	store := tokenstore.NewFile(dir, tokenstore.Passphrase(func(context.Context, bool) ([]byte, error) {
		prompted++
		return []byte("correct horse"), nil
	}))
	keys, err := store.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2"}, keys)
	for _, k := range keys {
		_, err := store.Get(t.Context(), k)
		require.NoError(t, err)
	}
	require.Equal(t, 1, prompted)
}

func BenchmarkFile(b *testing.B) {
	store := tokenstore.NewFile(filepath.Join(b.TempDir(), "sealed"), key(b, "ab"))
	data := make([]byte, 10<<10)
	b.Run("Put/10KB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := store.Put(b.Context(), "k", data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Get/10KB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := store.Get(b.Context(), "k"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
