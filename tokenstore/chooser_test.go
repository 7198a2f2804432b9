package tokenstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// broken is a store that is not there.
type broken struct{ *tokenstore.Memory }

func (broken) String() string { return "broken" }
func (broken) Probe(context.Context) error {
	return errors.Join(tokenstore.ErrUnavailable, errors.New("no such thing here"))
}

// named is a Memory with a name, that works or not.
type named struct {
	*tokenstore.Memory
	name  string
	works bool
}

func (n named) String() string { return n.name }
func (n named) Probe(ctx context.Context) error {
	if !n.works {
		return errors.Join(tokenstore.ErrLocked, errors.New("unlock "+n.name))
	}
	return n.Memory.Probe(ctx)
}
func (n named) Put(ctx context.Context, key string, data []byte) error {
	if err := n.Probe(ctx); err != nil {
		return err
	}
	return n.Memory.Put(ctx, key, data)
}

func stores(works ...bool) []tokenstore.Store {
	names := []string{"first", "second", "third"}
	var all []tokenstore.Store
	for i, w := range works {
		all = append(all, named{&tokenstore.Memory{}, names[i], w})
	}
	return all
}

func TestChooserTakesTheFirstThatWorks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "chosen")
	c := &tokenstore.Chooser{Stores: stores(false, true, true), Dir: dir}
	require.Equal(t, "first of first, second, third", c.String())
	s, why, err := c.Chosen(ctx)
	require.NoError(t, err)
	require.Equal(t, c.Stores[1], s)
	require.Contains(t, why, "second works")
	require.Contains(t, why, "unlock first")
	require.Equal(t, "second", c.String())
	require.NoError(t, c.Put(ctx, "k", []byte("v")))
	_, err = c.Stores[1].Get(ctx, "k")
	require.NoError(t, err)

	// The next process: the first works now, and is not taken; in another order it is the same choice.
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
		all := stores(true, true, true)
		next := &tokenstore.Chooser{Stores: []tokenstore.Store{all[order[0]], all[order[1]], all[order[2]]}, Dir: dir}
		s, why, err = next.Chosen(ctx)
		require.NoError(t, err)
		require.Equal(t, all[1], s)
		require.Contains(t, why, "chosen earlier")
	}

	// S64: when it does not work it is an error that names it, and nothing is kept elsewhere.
	all := stores(true, false, true)
	later := &tokenstore.Chooser{Stores: all, Dir: dir}
	for _, err := range []error{later.Put(ctx, "k", nil), later.Probe(ctx)} {
		require.ErrorIs(t, err, tokenstore.ErrLocked)
		require.ErrorContains(t, err, "second")
		require.ErrorContains(t, err, filepath.Join(dir, "among-"))
	}
	for _, i := range []int{0, 2} {
		keys, err := all[i].(named).List(ctx, "")
		require.NoError(t, err)
		require.Empty(t, keys)
	}

	// As the error says: the file removed, it chooses again.
	files, err := filepath.Glob(filepath.Join(dir, "among-*"))
	require.NoError(t, err)
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
	s, _, err = (&tokenstore.Chooser{Stores: all, Dir: dir}).Chosen(ctx)
	require.NoError(t, err)
	require.Equal(t, all[0], s)
}

func TestChooserWithNothingThatWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "chosen")
	c := &tokenstore.Chooser{Stores: []tokenstore.Store{broken{&tokenstore.Memory{}}, stores(false)[0]}, Dir: dir}
	for range 2 {
		err := c.Probe(t.Context())
		require.ErrorIs(t, err, tokenstore.ErrUnavailable)
		require.ErrorIs(t, err, tokenstore.ErrLocked, "the reasons are there too")
		require.ErrorContains(t, err, "no such thing here")
		require.ErrorContains(t, err, "unlock first")
	}
	files, err := filepath.Glob(filepath.Join(dir, "among-*"))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing is remembered but the lock: %v", files)
}

func TestChooserRefusesWhatItCannotTellApart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, list := range map[string][]tokenstore.Store{
		"none": nil, "nil": {nil}, "twins": {&tokenstore.Memory{}, &tokenstore.Memory{}},
	} {
		require.Error(t, (&tokenstore.Chooser{Stores: list, Dir: t.TempDir() + "/c"}).Probe(ctx), name)
	}
	_, err := (&tokenstore.Chooser{}).Get(ctx, "k")
	require.Error(t, err)
	require.NotErrorIs(t, err, tokenstore.ErrNotFound)
}

// A memory that cannot be used is an error, not another choice.
func TestADamagedMemory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "chosen")
	all := stores(true, true)
	require.NoError(t, (&tokenstore.Chooser{Stores: all, Dir: dir}).Probe(ctx))
	files, err := filepath.Glob(filepath.Join(dir, "among-*"))
	require.NoError(t, err)
	path := files[0]
	require.False(t, strings.HasSuffix(path, ".lock"))
	for _, text := range []string{"", "{}", `{"version":1}`, `{"version":2,"store":"first"}`, `{"version":1,"store":"elsewhere"}`,
		`{"version":1,"store":"first","store":"second"}`, `{"version":1,"STORE":"first"}`, "first"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, _, err := (&tokenstore.Chooser{Stores: all, Dir: dir}).Chosen(ctx)
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, text)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "remove it")
	}
}

// A probe that was cut short says nothing about the store.
func TestAnEndedContextChoosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "chosen")
	ctx, cancel := context.WithCancel(t.Context())
	c := &tokenstore.Chooser{Stores: []tokenstore.Store{cancelling{&tokenstore.Memory{}, cancel}, stores(true)[0]}, Dir: dir}
	_, _, err := c.Chosen(ctx)
	require.ErrorIs(t, err, context.Canceled)
	s, _, err := c.Chosen(t.Context())
	require.NoError(t, err)
	require.Equal(t, "cancelling", s.(cancelling).String())
}

type cancelling struct {
	*tokenstore.Memory
	cancel context.CancelFunc
}

func (cancelling) String() string { return "cancelling" }
func (c cancelling) Probe(ctx context.Context) error {
	c.cancel()
	return ctx.Err()
}

func TestGoroutinesChooseOnce(t *testing.T) {
	t.Parallel()
	var probes atomic.Int32
	c := &tokenstore.Chooser{Stores: []tokenstore.Store{counting{&tokenstore.Memory{}, &probes}}, Dir: filepath.Join(t.TempDir(), "chosen")}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, _, err := c.Chosen(t.Context())
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, probes.Load())
}

type counting struct {
	*tokenstore.Memory
	probes *atomic.Int32
}

func (c counting) Probe(context.Context) error { c.probes.Add(1); return nil }

// Processes that choose at once, and find different stores working, agree.
func TestProcessesThatChooseAtOnceAgree(t *testing.T) {
	t.Parallel()
	for range 3 {
		outs := all(t, 4, "choose", filepath.Join(t.TempDir(), "chosen"))
		first, second := 0, 0
		for _, out := range outs {
			first += strings.Count(out, "chose=first")
			second += strings.Count(out, "chose=second")
		}
		require.True(t, first == 4 || second == 4, "%d chose the first, %d the second", first, second)
	}
}
