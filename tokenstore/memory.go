package tokenstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that forgets everything when the process ends: for tests, and for programs that must leave nothing
// behind. The zero Memory is ready, and empty; its methods are safe for concurrent use. Do not copy one after use.
type Memory struct {
	mu      sync.Mutex
	values  map[string][]byte
	records map[string][]byte
	locks   map[string]chan struct{} // of one place each: full while the lock is held
}

var (
	_ Store    = (*Memory)(nil)
	_ Lister   = (*Memory)(nil)
	_ Locker   = (*Memory)(nil)
	_ Prober   = (*Memory)(nil)
	_ Recorder = (*Memory)(nil)
)

// String names the store for a person.
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

// Lock implements [Locker], within this Memory.
func (m *Memory) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
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

// Probe implements [Prober]: memory always works.
func (m *Memory) Probe(ctx context.Context) error { return ctx.Err() }

// ReadRecord implements [Recorder].
func (m *Memory) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	return m.read(ctx, key, &m.records)
}

// WriteRecord implements [Recorder].
func (m *Memory) WriteRecord(ctx context.Context, key string, data []byte) error {
	return m.write(ctx, key, data, &m.records)
}

func (m *Memory) read(ctx context.Context, key string, from *map[string][]byte) ([]byte, error) {
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

func (m *Memory) write(ctx context.Context, key string, data []byte, to *map[string][]byte) error {
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

// ownCopy is not nil even for nil: an empty value is a value.
func ownCopy(data []byte) []byte { return append(make([]byte, 0, len(data)), data...) }

// startingWith sorts keys and keeps those that start with prefix.
func startingWith(prefix string, keys []string) []string {
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Sort(keys)
	return keys
}
