package tokenstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that forgets everything when the process ends. It is for
// tests, and for programs that must leave nothing behind. The zero Memory is
// empty and ready. Its methods are safe for concurrent use. Do not copy a Memory
// after its first use. For a Memory, durable means as long as the process lives.
//
// Memory implements [Shared] for all clients that use the same *Memory.
type Memory struct {
	mu       sync.Mutex
	values   map[string][]byte
	journals map[string][]byte
	locks    map[string]chan struct{} // capacity 1; full while the lock is held
}

var (
	_ Store  = (*Memory)(nil)
	_ Lister = (*Memory)(nil)
	_ Prober = (*Memory)(nil)
	_ Shared = (*Memory)(nil)
)

// String returns "memory", a name of the store for messages.
func (m *Memory) String() string { return "memory" }

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) {
	return m.read(ctx, key, &m.values)
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, key string, data []byte) error {
	return m.write(ctx, key, data, &m.values)
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// List implements [Lister].
func (m *Memory) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return startingWith(prefix, slices.Collect(maps.Keys(m.values))), nil
}

// Probe implements [Prober]. It fails only if ctx has ended.
func (m *Memory) Probe(ctx context.Context) error { return ctx.Err() }

// Lock implements [Shared]. The lock is one of this Memory and of no other.
func (m *Memory) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	if m.locks == nil {
		m.locks = make(map[string]chan struct{})
	}
	lock := m.locks[key]
	if lock == nil {
		lock = make(chan struct{}, 1)
		m.locks[key] = lock
	}
	m.mu.Unlock()

	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	var once sync.Once
	return held, func() error {
		once.Do(func() { end(); <-lock })
		return nil
	}, nil
}

// ReadJournal implements [Shared].
func (m *Memory) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	return m.read(ctx, key, &m.journals)
}

// WriteJournal implements [Shared]. It does not check that the caller has the
// lock.
func (m *Memory) WriteJournal(ctx context.Context, key string, data []byte) error {
	return m.write(ctx, key, data, &m.journals)
}

func (m *Memory) read(
	ctx context.Context, key string, from *map[string][]byte,
) ([]byte, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := (*from)[key]
	if !ok {
		return nil, ErrNotFound
	}
	return ownCopy(data), nil
}

func (m *Memory) write(
	ctx context.Context, key string, data []byte, to *map[string][]byte,
) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if *to == nil {
		*to = make(map[string][]byte)
	}
	(*to)[key] = ownCopy(data)
	return nil
}

// ownCopy returns a copy that is not nil even if data is: the empty value is a
// value.
func ownCopy(data []byte) []byte { return append(make([]byte, 0, len(data)), data...) }

// startingWith returns the keys that begin with prefix, sorted. It changes keys.
func startingWith(prefix string, keys []string) []string {
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Sort(keys)
	return keys
}
