package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

// bare hides all optional interfaces.
type bare struct{ tokenstore.Store }

// A store without optional interfaces passes. So does a wrapper around such a
// store.
func TestStoresWithoutOptionalInterfacesPass(t *testing.T) {
	t.Parallel()
	var memory tokenstore.Memory
	t.Run("bare", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) tokenstore.Store { return bare{&memory} })
	})
	t.Run("unsupported", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) tokenstore.Store { return unsupported{&memory} })
	})
}

type unsupported struct{ tokenstore.Store }

func (unsupported) List(context.Context, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
func (unsupported) Probe(context.Context) error { return errors.ErrUnsupported }
func (unsupported) Lock(context.Context, string) (context.Context, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}
func (unsupported) ReadJournal(context.Context, string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
func (unsupported) WriteJournal(context.Context, string, []byte) error { return errors.ErrUnsupported }

// faulty is a Memory with one fault: a field that is not nil replaces the method.
type faulty struct {
	*tokenstore.Memory
	get   func(ctx context.Context, key string) ([]byte, error)
	put   func(ctx context.Context, key string, data []byte) error
	del   func(ctx context.Context, key string) error
	list  func(ctx context.Context, prefix string) ([]string, error)
	lock  func(ctx context.Context, key string) (context.Context, func() error, error)
	probe func(ctx context.Context) error
	read  func(ctx context.Context, key string) ([]byte, error)
	write func(ctx context.Context, key string, data []byte) error
}

func (f *faulty) Get(ctx context.Context, key string) ([]byte, error) {
	if f.get != nil {
		return f.get(ctx, key)
	}
	return f.Memory.Get(ctx, key)
}

func (f *faulty) Put(ctx context.Context, key string, data []byte) error {
	if f.put != nil {
		return f.put(ctx, key, data)
	}
	return f.Memory.Put(ctx, key, data)
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if f.del != nil {
		return f.del(ctx, key)
	}
	return f.Memory.Delete(ctx, key)
}

func (f *faulty) List(ctx context.Context, prefix string) ([]string, error) {
	if f.list != nil {
		return f.list(ctx, prefix)
	}
	return f.Memory.List(ctx, prefix)
}

func (f *faulty) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	if f.lock != nil {
		return f.lock(ctx, key)
	}
	return f.Memory.Lock(ctx, key)
}

func (f *faulty) Probe(ctx context.Context) error {
	if f.probe != nil {
		return f.probe(ctx)
	}
	return f.Memory.Probe(ctx)
}

func (f *faulty) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	if f.read != nil {
		return f.read(ctx, key)
	}
	return f.Memory.ReadJournal(ctx, key)
}

func (f *faulty) WriteJournal(ctx context.Context, key string, data []byte) error {
	if f.write != nil {
		return f.write(ctx, key, data)
	}
	return f.Memory.WriteJournal(ctx, key, data)
}

// faults are faulty stores, each with the subtest that has to notice the fault. Many
// are faults that the back ends of go-keyring and file stores really had.
var faults = []struct {
	name, part string
	add        func(*faulty, *tokenstore.Memory)
}{
	{"a limit of 2,560 bytes", "RoundTrip", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			if len(data) > 2560 {
				return errors.New("too big")
			}
			return m.Put(ctx, key, data)
		}
	}},
	{"long values are cut", "RoundTrip", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			return m.Put(ctx, key, data[:min(len(data), 500_000)])
		}
	}},
	{"an empty value is missing", "RoundTrip", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			data, err := m.Get(ctx, key)
			if err == nil && len(data) == 0 {
				return nil, tokenstore.ErrNotFound
			}
			return data, err
		}
	}},
	{"an empty value is nil", "RoundTrip", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			data, err := m.Get(ctx, key)
			if len(data) == 0 {
				data = nil
			}
			return data, err
		}
	}},
	{"values are trimmed", "EveryByte", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			data, err := m.Get(ctx, key)
			return bytes.TrimSpace(data), err
		}
	}},
	{"values are UTF-8", "EveryByte", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			return m.Put(ctx, key, bytes.ToValidUTF8(data, []byte("?")))
		}
	}},
	{"the first value stays", "Overwrite", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			if _, err := m.Get(ctx, key); err == nil {
				return nil
			}
			return m.Put(ctx, key, data)
		}
	}},
	{"Put reports success and stores nothing", "Handles", func(f *faulty, _ *tokenstore.Memory) {
		f.put = func(ctx context.Context, _ string, _ []byte) error { return ctx.Err() }
	}},
	{"Put keeps the caller's slice", "OwnSlices", func(f *faulty, _ *tokenstore.Memory) {
		kept := unchecked(f)
		f.put = func(_ context.Context, key string, data []byte) error { kept.Store(key, data); return nil }
	}},
	{"Get returns its own slice", "OwnSlices", func(f *faulty, _ *tokenstore.Memory) {
		kept := unchecked(f)
		f.put = func(_ context.Context, key string, data []byte) error {
			kept.Store(key, bytes.Clone(data))
			return nil
		}
	}},
	{"a missing value is empty", "NotFound", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			data, err := m.Get(ctx, key)
			if errors.Is(err, tokenstore.ErrNotFound) {
				return []byte{}, nil
			}
			return data, err
		}
	}},
	{"a missing value is another error", "NotFound", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			data, err := m.Get(ctx, key)
			if err != nil {
				err = errors.New("no such item")
			}
			return data, err
		}
	}},
	{"Delete of a missing value fails", "Delete", func(f *faulty, m *tokenstore.Memory) {
		f.del = func(ctx context.Context, key string) error {
			if _, err := m.Get(ctx, key); err != nil {
				return err
			}
			return m.Delete(ctx, key)
		}
	}},
	{"Delete deletes nothing", "Delete", func(f *faulty, _ *tokenstore.Memory) {
		f.del = func(ctx context.Context, _ string) error { return ctx.Err() }
	}},
	{"Delete deletes more", "Delete", func(f *faulty, m *tokenstore.Memory) {
		f.del = func(ctx context.Context, key string) error {
			all, _ := m.List(ctx, "")
			for _, other := range all {
				_ = m.Delete(ctx, other)
			}
			return m.Delete(ctx, key)
		}
	}},
	{"any key is taken", "Keys", func(f *faulty, _ *tokenstore.Memory) {
		kept := unchecked(f)
		f.put = func(_ context.Context, key string, data []byte) error {
			kept.Store(key, bytes.Clone(data))
			return nil
		}
	}},
	{"a bad key is a missing value", "Keys", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			if tokenstore.CheckKey(key) != nil {
				return nil, tokenstore.ErrNotFound
			}
			return m.Get(ctx, key)
		}
	}},
	{"long keys are refused", "Keys", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			if len(key) > 100 {
				return errors.New("name too long")
			}
			return m.Put(ctx, key, data)
		}
	}},
	{"trailing dots are dropped", "KeysApart", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) { return m.Get(ctx, strings.TrimRight(key, ".")) }
		f.put = func(ctx context.Context, key string, data []byte) error {
			return m.Put(ctx, strings.TrimRight(key, "."), data)
		}
	}},
	{"more than MaxData is cut", "TooLarge", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			return m.Put(ctx, key, data[:min(len(data), tokenstore.MaxData)])
		}
	}},
	{"an ended ctx is ignored", "EndedContext", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			return m.Put(context.WithoutCancel(ctx), key, data)
		}
	}},
	{"an ended ctx looks like nothing stored", "EndedContext", func(f *faulty, m *tokenstore.Memory) {
		f.get = func(ctx context.Context, key string) ([]byte, error) {
			if ctx.Err() != nil {
				return nil, tokenstore.ErrNotFound
			}
			return m.Get(ctx, key)
		}
	}},
	{"values are written in two halves", "NeverTorn", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			old, _ := m.Get(ctx, key)
			half := slices.Concat(data[:len(data)/2], old[min(len(old), len(data)/2):])
			if err := m.Put(ctx, key, half); err != nil {
				return err
			}
			time.Sleep(2 * time.Millisecond)
			return m.Put(ctx, key, data)
		}
	}},
	{"values are removed, then replaced", "NeverTorn", func(f *faulty, m *tokenstore.Memory) {
		f.put = func(ctx context.Context, key string, data []byte) error {
			if err := m.Delete(ctx, key); err != nil {
				return err
			}
			time.Sleep(2 * time.Millisecond)
			return m.Put(ctx, key, data)
		}
	}},
	{"List ignores the prefix", "List", func(f *faulty, m *tokenstore.Memory) {
		f.list = func(ctx context.Context, _ string) ([]string, error) { return m.List(ctx, "storetest-") }
		_ = m.Put(context.Background(), "storetest-another", nil)
	}},
	{"List is not sorted", "List", func(f *faulty, m *tokenstore.Memory) {
		f.list = func(ctx context.Context, prefix string) ([]string, error) {
			keys, err := m.List(ctx, prefix)
			slices.Reverse(keys)
			return keys, err
		}
	}},
	{"List forgets the deleted late", "List", func(f *faulty, m *tokenstore.Memory) {
		var mu sync.Mutex
		seen := map[string]bool{}
		f.list = func(ctx context.Context, prefix string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			keys, err := m.List(ctx, prefix)
			for _, key := range keys {
				seen[key] = true
			}
			keys = keys[:0]
			for key := range seen {
				if strings.HasPrefix(key, prefix) {
					keys = append(keys, key)
				}
			}
			slices.Sort(keys)
			return keys, err
		}
	}},
	{"Probe fails", "Probe", func(f *faulty, _ *tokenstore.Memory) {
		f.probe = func(context.Context) error { return tokenstore.ErrUnavailable }
	}},
	{"Probe leaves its item", "Probe", func(f *faulty, m *tokenstore.Memory) {
		f.probe = func(ctx context.Context) error { return m.Put(ctx, "probe", nil) }
	}},
	{"Lock excludes nobody", "LockExcludes", func(f *faulty, _ *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			if err := errors.Join(ctx.Err(), tokenstore.CheckKey(key)); err != nil {
				return nil, nil, err
			}
			held, end := context.WithCancel(context.WithoutCancel(ctx))
			return held, func() error { end(); return nil }, nil
		}
	}},
	{"Lock waits beyond its ctx", "LockContext", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, unlock, err := m.Lock(late, key)
			if err != nil {
				return nil, nil, tokenstore.ErrBusy
			}
			held, end := context.WithCancel(context.WithoutCancel(ctx))
			return held, func() error { end(); return unlock() }, nil
		}
	}},
	{"held ends with Lock's ctx", "LockContext", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			_, unlock, err := m.Lock(ctx, key)
			if err != nil {
				return nil, nil, err
			}
			held, end := context.WithCancel(ctx)
			return held, func() error { end(); return unlock() }, nil
		}
	}},
	{"held never ends", "LockContext", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			_, unlock, err := m.Lock(ctx, key)
			return context.WithoutCancel(ctx), unlock, err
		}
	}},
	{"held carries no values", "LockContext", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			_, unlock, err := m.Lock(ctx, key)
			if err != nil {
				return nil, nil, err
			}
			held, end := context.WithCancel(context.Background())
			return held, func() error { end(); return unlock() }, nil
		}
	}},
	{"a second unlock fails", "LockUnlock", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			held, unlock, err := m.Lock(ctx, key)
			return held, func() error {
				if held.Err() != nil {
					return errors.New("not locked")
				}
				return unlock()
			}, err
		}
	}},
	{"a second unlock releases another caller's lock", "LockUnlock", func(f *faulty, m *tokenstore.Memory) {
		var mu sync.Mutex
		current := map[string]func() error{}
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			held, unlock, err := m.Lock(ctx, key)
			if err != nil {
				return nil, nil, err
			}
			mu.Lock()
			current[key] = unlock
			mu.Unlock()
			return held, func() error { // of any holder
				mu.Lock()
				defer mu.Unlock()
				return current[key]()
			}, nil
		}
	}},
	{"one lock for all keys", "LockKeysApart", func(f *faulty, m *tokenstore.Memory) {
		f.lock = func(ctx context.Context, key string) (context.Context, func() error, error) {
			if err := tokenstore.CheckKey(key); err != nil {
				return nil, nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, time.Second) // so that this fails soon
			defer cancel()
			return m.Lock(ctx, "one")
		}
	}},
	{"journals are values", "Journal", func(f *faulty, m *tokenstore.Memory) { f.read, f.write = m.Get, m.Put }},
	{"journals are appended", "Journal", func(f *faulty, m *tokenstore.Memory) {
		f.write = func(ctx context.Context, key string, data []byte) error {
			old, err := m.ReadJournal(ctx, key)
			if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
				return err
			}
			return m.WriteJournal(ctx, key, append(old, data...))
		}
	}},
	{"journals are deleted with the value", "Journal", func(f *faulty, m *tokenstore.Memory) {
		f.read = func(ctx context.Context, key string) ([]byte, error) {
			if _, err := m.Get(ctx, key); err != nil && strings.HasSuffix(key, "-a") {
				if data, err := m.ReadJournal(ctx, key); err == nil && len(data) > 10 {
					return nil, tokenstore.ErrNotFound
				}
			}
			return m.ReadJournal(ctx, key)
		}
	}},
	{"a journal keeps the caller's slice", "Journal", func(f *faulty, m *tokenstore.Memory) {
		var kept sync.Map
		f.read = func(ctx context.Context, key string) ([]byte, error) {
			if data, ok := kept.Load(key); ok {
				return data.([]byte), nil
			}
			return m.ReadJournal(ctx, key)
		}
		f.write = func(_ context.Context, key string, data []byte) error {
			kept.Store(key, data)
			return nil
		}
	}},
	{"one journal for all keys", "Journal", func(f *faulty, m *tokenstore.Memory) {
		f.read = func(ctx context.Context, _ string) ([]byte, error) { return m.ReadJournal(ctx, "one") }
		f.write = func(ctx context.Context, _ string, data []byte) error {
			return m.WriteJournal(ctx, "one", data)
		}
	}},
	{"ReadJournal waits for the lock", "Journal", func(f *faulty, m *tokenstore.Memory) {
		f.read = func(ctx context.Context, key string) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second) // so that this fails soon
			defer cancel()
			_, unlock, err := m.Lock(ctx, key)
			if err != nil {
				return nil, err
			}
			defer func() { _ = unlock() }()
			return m.ReadJournal(ctx, key)
		}
	}},
	{"a lock without a journal", "LockExcludes", func(f *faulty, _ *tokenstore.Memory) {
		f.read = func(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
		f.write = func(context.Context, string, []byte) error { return errors.ErrUnsupported }
	}},
	{"a journal without a lock", "Journal", func(f *faulty, _ *tokenstore.Memory) {
		f.lock = func(context.Context, string) (context.Context, func() error, error) {
			return nil, nil, errors.ErrUnsupported
		}
	}},
	{"journals are listed", "List", func(f *faulty, m *tokenstore.Memory) {
		f.write = func(ctx context.Context, key string, data []byte) error {
			_ = m.Put(ctx, key, nil)
			return m.WriteJournal(ctx, key, data)
		}
	}},
}

// unchecked gives f values of its own, without the checks of the contract.
func unchecked(f *faulty) *sync.Map {
	var kept sync.Map
	f.get = func(_ context.Context, key string) ([]byte, error) {
		if data, ok := kept.Load(key); ok {
			return data.([]byte), nil
		}
		return nil, tokenstore.ErrNotFound
	}
	f.del = func(_ context.Context, key string) error { kept.Delete(key); return nil }
	return &kept
}

const faultVariable = "STORETEST_FAULT"

// TestFault fails. TestFaultsAreFound runs it in a process of its own.
func TestFault(t *testing.T) {
	name := os.Getenv(faultVariable)
	if name == "" {
		return
	}
	for _, fault := range faults {
		if fault.name == name {
			memory := &tokenstore.Memory{}
			store := &faulty{Memory: memory}
			fault.add(store, memory)
			storetest.Run(t, func(*testing.T) tokenstore.Store { return store })
		}
	}
}

// A suite that cannot fail proves nothing. Each fault must be noticed by the subtest
// that is for it.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(self, "-test.run=^TestFault$/^"+fault.part+"$", "-test.v", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault.name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the suite passes a store with this fault:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestFault/"+fault.part)
			require.NotContains(t, string(out), "panic:")
			require.NotContains(t, string(out), "DATA RACE")
		})
	}
}
