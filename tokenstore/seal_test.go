package tokenstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// S65: only the same key and the same name open a value. Every altered bit, every
// cut and every swap is refused.
func TestS65SealedBytes(t *testing.T) {
	t.Parallel()
	plain := []byte("canary-3f9a")
	for _, from := range []derivation{{}, {time: 1, memory: 64, threads: 1, salt: [16]byte{9}}} {
		sealed := sealDerived(keyA, from, "name", plain)
		require.NotContains(t, string(sealed), "canary")
		require.LessOrEqual(t, len(sealed), len(plain)+sealOverhead)
		got, err := openBytes(keyA, "name", sealed)
		require.NoError(t, err)
		require.Equal(t, plain, got)
		require.NotEqual(t, sealed, sealDerived(keyA, from, "name", plain), "the nonce is fresh")

		_, err = openBytes(keyB, "name", sealed)
		require.ErrorIs(t, err, ErrWrongKey)
		require.ErrorContains(t, err, "another key")
		_, err = openBytes(keyA, "other", sealed)
		require.ErrorIs(t, err, ErrWrongKey)
		require.ErrorContains(t, err, "another name")

		for i := range sealed {
			for bit := range 8 {
				flipped := bytes.Clone(sealed)
				flipped[i] ^= 1 << bit
				_, err := openBytes(keyA, "name", flipped)
				require.Error(t, err, "byte %d, bit %d", i, bit)
				require.True(t, errors.Is(err, ErrWrongKey) || i == 4 && errors.Is(err, ErrNewerFormat), "byte %d, bit %d: %v", i, bit, err)
				require.NotContains(t, err.Error(), "canary")
			}
		}
		for n := range sealed {
			_, err := openBytes(keyA, "name", sealed[:n])
			require.ErrorIs(t, err, ErrWrongKey, n)
		}
		_, err = openBytes(keyA, "name", append(bytes.Clone(sealed), 0))
		require.ErrorIs(t, err, ErrWrongKey)
	}
	empty, err := openBytes(keyA, "", sealBytes(keyA, "", nil))
	require.NoError(t, err)
	require.NotNil(t, empty)
	require.Empty(t, empty)
}

// The stored format is a promise to every later version. The first version sealed
// these values.
func TestTheFormatStays(t *testing.T) {
	t.Parallel()
	for _, sealed := range []string{
		"6e616f7301001500b81189ba18d7f9aad3144f32fb06e854043b6118bb92e34345fe01359e8f63e51c42fe5f5c3c7dbf88f0da",
		"6e616f730101000000030001000004aabb00000000000000000000000000001500b81189ba18d7e45ae88184df16733ada7f904d019c47d8150418d8d2c42af933280f8fde2db5144ac66aba",
	} {
		raw, err := hex.DecodeString(sealed)
		require.NoError(t, err)
		plain, err := openBytes(keyA, "name", raw)
		require.NoError(t, err)
		require.Equal(t, "a session", string(plain))
	}
}

// A value of a newer version is neither damaged nor missing.
func TestANewerFormatHasItsOwnError(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	s := Seal(inner, testKey(t))
	require.NoError(t, s.Put(ctx, "k", []byte("x")))
	sealed, err := inner.Get(ctx, "k")
	require.NoError(t, err)
	sealed[4] = sealVersion + 1
	require.NoError(t, inner.Put(ctx, "k", sealed))
	_, err = s.Get(ctx, "k")
	require.ErrorIs(t, err, ErrNewerFormat)
	require.NotErrorIs(t, err, ErrWrongKey)
	require.NotErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "update the program")
	kept, err := inner.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, sealed, kept, "nothing is destroyed")
}

// An attacker with write access to the store cannot make us spend gigabytes or
// minutes.
func TestDerivationsAreBounded(t *testing.T) {
	t.Parallel()
	good := derivation{time: 3, memory: 64 << 10, threads: 4}
	for _, bad := range []derivation{
		{time: 0, memory: 64, threads: 1}, {time: 11, memory: 64, threads: 1}, {time: 1, memory: 7, threads: 1},
		{time: 1, memory: 1 << 30, threads: 1}, {time: 1, memory: 64, threads: 0}, {time: 1, memory: 1 << 10, threads: 17},
	} {
		_, err := parseHeader(sealDerived(keyA, bad, "n", nil))
		require.ErrorIs(t, err, ErrWrongKey, fmt.Sprint(bad))
	}
	h, err := parseHeader(sealDerived(keyA, good, "n", nil))
	require.NoError(t, err)
	require.Equal(t, good, h.from)
}

// S65: the same through the Store, with a swapped value and another key. The inner
// store has ciphertext.
func TestS65SealedStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	s := Seal(inner, testKey(t))
	require.NoError(t, s.Put(ctx, "alice", []byte("canary-alice")))
	require.NoError(t, s.Put(ctx, "bob", []byte("canary-bob")))
	for _, key := range []string{"alice", "bob"} {
		sealed, err := inner.Get(ctx, key)
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "canary")
	}

	alices, err := inner.Get(ctx, "alice")
	require.NoError(t, err)
	require.NoError(t, inner.Put(ctx, "bob", alices))
	_, err = s.Get(ctx, "bob")
	require.ErrorIs(t, err, ErrWrongKey)

	other, err := ParseKey(strings.Repeat("cd", 32))
	require.NoError(t, err)
	_, err = Seal(inner, other).Get(ctx, "alice")
	require.ErrorIs(t, err, ErrWrongKey)
	got, err := s.Get(ctx, "alice")
	require.NoError(t, err)
	require.Equal(t, "canary-alice", string(got), "a failed Get destroys nothing")

	require.NoError(t, Seal(inner, other).Delete(ctx, "alice"), "what cannot be opened can be removed")
	_, err = s.Get(ctx, "alice")
	require.ErrorIs(t, err, ErrNotFound)
}

// Without a key or a store inside, every method returns an error.
func TestNoKeyIsAnErrorEverywhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, s := range map[string]interface {
		Store
		Lister
		Prober
		Shared
	}{"Seal": Seal(&Memory{}, Key{}), "Passphrase(nil)": Seal(&Memory{}, Passphrase(nil)), "nil inner": Seal(nil, testKey(t)),
		"zero Sealed": &Sealed{}, "File": NewFile(t.TempDir()+"/sealed", Key{}), "zero File": &File{}} {
		_, get := s.Get(ctx, "k")
		_, list := s.List(ctx, "")
		_, _, lock := s.Lock(ctx, "k")
		_, read := s.ReadJournal(ctx, "k")
		for i, err := range []error{get, list, lock, read, s.Probe(ctx), s.Put(ctx, "k", nil), s.Delete(ctx, "k"), s.WriteJournal(ctx, "k", nil)} {
			require.Error(t, err, "%s %d", name, i)
			require.NotErrorIs(t, err, ErrNotFound)
			require.NotErrorIs(t, err, errors.ErrUnsupported)
		}
	}
}

// A wrapper returns errors.ErrUnsupported for what its inner store lacks.
func TestWrappersPromiseOnlyWhatTheInnerStoreHas(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, s := range map[string]interface {
		Store
		Lister
		Prober
		Shared
	}{
		"Sealed":     Seal(bare{&Memory{}}, testKey(t)),
		"passphrase": Seal(bare{&Memory{}}, cheapPassphrase("pw", nil)),
	} {
		_, list := s.List(ctx, "")
		_, _, lock := s.Lock(ctx, "k")
		_, read := s.ReadJournal(ctx, "k")
		for i, err := range []error{list, lock, read, s.Probe(ctx), s.WriteJournal(ctx, "k", nil)} {
			require.ErrorIs(t, err, errors.ErrUnsupported, "%s %d", name, i)
		}
		require.NoError(t, s.Put(ctx, "k", []byte("v")))
		got, err := s.Get(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, "v", string(got))
	}
}

// One prompt serves all values of a process.
func TestThePassphraseIsPromptedOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	var creates []bool
	s := Seal(inner, cheapPassphrase("pw", func(create bool) { creates = append(creates, create) }))

	_, err := s.Get(ctx, "k")
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, s.Delete(ctx, "k"))
	require.Empty(t, creates, "nothing to open, no prompt")

	require.NoError(t, s.Probe(ctx))
	for i := range 10 {
		require.NoError(t, s.Put(ctx, fmt.Sprint("k", i), []byte("v")))
	}
	require.Equal(t, []bool{true}, creates)
	require.Len(t, (*s.key.state).keys, 1, "many values, one derivation")

	keys, err := s.List(ctx, "")
	require.NoError(t, err)
	require.Len(t, keys, 10, "the proof is not listed")
	_, err = s.Get(ctx, proofKey)
	require.Error(t, err)
	require.Error(t, s.Put(ctx, proofKey, nil))
	require.Error(t, s.Delete(ctx, proofKey))

	// Another process.
	creates = nil
	s = Seal(inner, cheapPassphrase("pw", func(create bool) { creates = append(creates, create) }))
	for i := range 10 {
		got, err := s.Get(ctx, fmt.Sprint("k", i))
		require.NoError(t, err)
		require.Equal(t, "v", string(got))
	}
	require.Equal(t, []bool{false}, creates)
	require.Len(t, (*s.key.state).keys, 1)
}

// A mistyped passphrase neither opens nor seals anything, and the next use prompts
// again.
func TestAWrongPassphraseSealsNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	require.NoError(t, Seal(inner, cheapPassphrase("right", nil)).Put(ctx, "k", []byte("v")))
	before, err := inner.List(ctx, "")
	require.NoError(t, err)

	answers := []string{"wrong", "also wrong", "", "right"}
	failure := errors.New("no terminal")
	prompted := 0
	s := Seal(inner, cheap(Passphrase(func(_ context.Context, create bool) ([]byte, error) {
		require.False(t, create)
		prompted++
		if prompted == 5 {
			return nil, failure
		}
		return []byte(answers[prompted-1]), nil
	})))
	_, err = s.Get(ctx, "k")
	require.ErrorIs(t, err, ErrWrongKey)
	require.ErrorIs(t, s.Put(ctx, "new", []byte("v")), ErrWrongKey)
	require.ErrorIs(t, s.Probe(ctx), ErrWrongKey)
	after, err := inner.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, before, after)
	got, err := s.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(got))
	require.Equal(t, 4, prompted)

	_, err = Seal(inner, cheap(Passphrase(func(context.Context, bool) ([]byte, error) { return nil, failure }))).Get(ctx, "k")
	require.ErrorIs(t, err, failure)
}

func TestKeysAndPassphrasesDoNotMix(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	require.NoError(t, Seal(inner, testKey(t)).Put(ctx, "by-key", []byte("v")))
	phrase := Seal(inner, cheapPassphrase("pw", nil))
	require.NoError(t, phrase.Put(ctx, "by-phrase", []byte("v")))
	_, err := phrase.Get(ctx, "by-key")
	require.ErrorIs(t, err, ErrWrongKey)
	_, err = Seal(inner, testKey(t)).Get(ctx, "by-phrase")
	require.ErrorIs(t, err, ErrWrongKey)
}

// If the proof is lost, no session is: any sealed value proves the passphrase, and
// the proof is made again.
func TestALostProofLosesNoSession(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	require.NoError(t, Seal(inner, testKey(t)).Put(ctx, "a-by-key", []byte("v")))
	require.NoError(t, Seal(inner, cheapPassphrase("right", nil)).Put(ctx, "k", []byte("v")))
	require.NoError(t, inner.Delete(ctx, proofKey))

	notNew := func(create bool) { require.False(t, create) }
	require.ErrorIs(t, Seal(inner, cheapPassphrase("wrong", notNew)).Put(ctx, "k2", nil), ErrWrongKey)
	require.NoError(t, Seal(inner, cheapPassphrase("right", notNew)).Put(ctx, "k2", []byte("v")))
	_, err := inner.Get(ctx, proofKey)
	require.NoError(t, err)

	s := Seal(inner, cheapPassphrase("right", notNew))
	for _, key := range []string{"k", "k2"} {
		_, err = s.Get(ctx, key)
		require.NoError(t, err)
	}
	require.Len(t, (*s.key.state).keys, 1, "still one salt")
}

// The parameters may change. What was sealed with others still opens.
func TestOtherParametersStillOpen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner := &Memory{}
	old := Seal(inner, cheapPassphrase("pw", nil))
	require.NoError(t, old.Put(ctx, "old", []byte("v")))
	newer := cheapPassphrase("pw", nil)
	(*newer.state).cost.memory = 128
	require.NoError(t, inner.Delete(ctx, proofKey))
	s := Seal(bare{inner}, newer) // it cannot list, so it makes a new proof
	require.NoError(t, s.Put(ctx, "new", []byte("v")))
	for range 2 {
		for _, key := range []string{"old", "new"} {
			got, err := s.Get(ctx, key)
			require.NoError(t, err)
			require.Equal(t, "v", string(got))
		}
	}
	require.Len(t, (*s.key.state).keys, 2)

	// A value under another passphrase is an error and leaves no wrong key behind.
	foreign := &Memory{}
	require.NoError(t, Seal(foreign, cheapPassphrase("another", nil)).Put(ctx, "foreign", []byte("v")))
	sealed, err := foreign.Get(ctx, "foreign")
	require.NoError(t, err)
	require.NoError(t, inner.Put(ctx, "foreign", sealed))
	_, err = s.Get(ctx, "foreign")
	require.ErrorIs(t, err, ErrWrongKey)
	require.Len(t, (*s.key.state).keys, 2)
}

// If several stores create a passphrase at once, one of them creates it, and the
// others need the same passphrase.
func TestTwoThatCreateAtOnceAgree(t *testing.T) {
	t.Parallel()
	for range 50 {
		inner := &Memory{}
		var created, other atomic.Int32
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			s := Seal(inner, cheapPassphrase([]string{"one", "two"}[i%2], func(create bool) {
				if create {
					created.Add(1)
				} else {
					other.Add(1)
				}
			}))
			wg.Go(func() { errs[i] = s.Put(t.Context(), fmt.Sprint("k", i), []byte("v")) })
		}
		wg.Wait()
		require.EqualValues(t, 1, created.Load())
		require.EqualValues(t, 3, other.Load())
		wrong := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ErrWrongKey)
				wrong++
			}
		}
		require.Equal(t, 2, wrong, "those with the other passphrase")
		keys, err := inner.List(t.Context(), "k")
		require.NoError(t, err)
		require.Len(t, keys, 2)
	}
}

// Goroutines share one prompt. One that gives up does not disturb it.
func TestOnePromptForManyGoroutines(t *testing.T) {
	t.Parallel()
	prompting, answer := make(chan struct{}), make(chan struct{})
	var prompted atomic.Int32
	s := Seal(&Memory{}, cheap(Passphrase(func(context.Context, bool) ([]byte, error) {
		if prompted.Add(1) == 1 {
			close(prompting)
		}
		<-answer
		return []byte("pw"), nil
	})))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { require.NoError(t, s.Put(t.Context(), fmt.Sprint("k", i), []byte("v"))) })
	}
	<-prompting
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Put(ctx, "impatient", nil), context.DeadlineExceeded)
	close(answer)
	wg.Wait()
	require.EqualValues(t, 1, prompted.Load())
}

// Foreign bytes cause no panic, and nothing but a sealed value opens.
func FuzzOpenBytes(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(sealBytes(keyA, "name", []byte("x")))
	f.Add(sealDerived(keyA, derivation{time: 1, memory: 64, threads: 1}, "name", []byte("x")))
	genuine := map[string]bool{}
	for range 4 {
		sealed := sealBytes(keyA, "name", []byte("x"))
		genuine[string(sealed)] = true
		f.Add(sealed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		h, err := parseHeader(sealed)
		if err == nil {
			require.Equal(t, sealed, append(bytes.Clone(h.clear), h.body...))
			again := append([]byte(sealMagic), sealVersion)
			again = append(h.from.append(again), h.keyID[:]...)
			require.Equal(t, h.clear, again, "one header has one spelling")
		}
		if !bytes.HasPrefix(sealed, []byte(sealMagic)) {
			require.ErrorIs(t, err, ErrWrongKey)
		}
		if _, err := openBytes(keyB, "name", sealed); err == nil {
			t.Fatal("opened with a key that sealed nothing")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		plain := make([]byte, size)
		b.Run(fmt.Sprintf("seal/%dKB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				sealBytes(keyA, "name", plain)
			}
		})
		sealed := sealBytes(keyA, "name", plain)
		b.Run(fmt.Sprintf("open/%dKB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := openBytes(keyA, "name", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
