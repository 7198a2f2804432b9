package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Chooser is the first of several stores that works on this machine, and stays it:
//
//	&tokenstore.Chooser{Stores: []tokenstore.Store{&tokenstore.Keyring{}, &tokenstore.File{Key: key}}}
//
// The first use probes the stores in order and remembers the choice in Dir, for all processes. From then on it is that
// store or an error, never another: a keychain that is locked today still holds the sessions. When the chosen store does not work, errors
// say which it is, and what to do. To choose anew, remove the file that they name, and sign in again.
//
// The choice belongs to the set of stores, told by their names (String; a store without it goes by its type, so that two of one type
// need it). Programs with the same set share it.
//
// Set the fields before the first use and leave them; do not copy a Chooser after it. Its methods are safe for concurrent use.
type Chooser struct {
	// Stores are tried in order. None is an error at the first Probe or use. A store that is no [Prober] is taken to work.
	Stores []Store
	// Dir is the directory of the memory, made when missing, and private; "" is "chosen" in nativeoauth's directory in the
	// user's home (see [File]).
	Dir string

	mu     sync.Mutex
	turn   chan struct{} // of one place: full while a goroutine chooses
	choice choice
}

type choice struct {
	store  Store // nil: none yet
	why    string
	memory string // the file
}

var (
	_ Store    = (*Chooser)(nil)
	_ Lister   = (*Chooser)(nil)
	_ Locker   = (*Chooser)(nil)
	_ Prober   = (*Chooser)(nil)
	_ Recorder = (*Chooser)(nil)
)

// Chosen returns the store in use, and chooses it if that has not been done; why says in a sentence how it was chosen. The error tells of
// each store why it does not work (ErrUnavailable), or why the memory cannot be used. One goroutine of one process chooses.
func (c *Chooser) Chosen(ctx context.Context) (s Store, why string, err error) {
	choice, err := c.decide(ctx)
	return choice.store, choice.why, err
}

func (c *Chooser) decide(ctx context.Context) (choice, error) {
	c.mu.Lock()
	if c.turn == nil {
		c.turn = make(chan struct{}, 1)
	}
	made := c.choice
	c.mu.Unlock()
	if made.store != nil {
		return made, nil
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return choice{}, ctx.Err()
	}
	defer func() { <-c.turn }()
	c.mu.Lock()
	made = c.choice
	c.mu.Unlock()
	if made.store != nil {
		return made, nil
	}
	made, err := c.choose(ctx)
	if err == nil {
		c.mu.Lock()
		c.choice = made
		c.mu.Unlock()
	}
	return made, err
}

func (c *Chooser) choose(ctx context.Context) (choice, error) {
	if err := ctx.Err(); err != nil {
		return choice{}, err
	}
	names, err := c.names()
	if err != nil {
		return choice{}, err
	}
	memory, err := c.memory(names)
	if err != nil {
		return choice{}, err
	}
	if made, err := c.recall(memory, names); made.store != nil || err != nil {
		return made, err
	}
	// Of processes that come at once one chooses, and the others find what it chose.
	unlock, err := securefile.Lock(ctx, memory+".lock")
	if err != nil {
		return choice{}, unavailable(err)
	}
	defer func() { _ = unlock() }()
	if made, err := c.recall(memory, names); made.store != nil || err != nil {
		return made, err
	}

	failed := []error{ErrUnavailable}
	for i, s := range c.Stores {
		err := probe(ctx, s)
		if ctx.Err() != nil {
			return choice{}, ctx.Err() // no probe that was cut short rules a store out
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			failed = append(failed, fmt.Errorf("%s: %w", names[i], err))
			continue
		}
		if err := securefile.WriteFile(memory, encodeMemory(names[i])); err != nil {
			return choice{}, unavailable(err)
		}
		why := names[i] + " works, and is the first choice"
		if len(failed) > 1 {
			why = fmt.Sprintf("%s works, and is the first that does: %s", names[i], sentence(failed[1:]))
		}
		return choice{s, why, memory}, nil
	}
	return choice{}, several{"tokenstore: none of the stores works: " + sentence(failed[1:]), failed}
}

// names also refuses what could not be told apart later.
func (c *Chooser) names() ([]string, error) {
	if len(c.Stores) == 0 {
		return nil, errors.New("tokenstore: Chooser has no Stores to choose from")
	}
	var names []string
	for _, s := range c.Stores {
		if s == nil {
			return nil, errors.New("tokenstore: Chooser has a nil store among its Stores")
		}
		name := strings.ToValidUTF8(nameOf(s), "\uFFFD") // as JSON will have it
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("tokenstore: Chooser has two stores named %q; give them a String method, or another Dir, to tell them apart", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// memory is the path of the file that remembers the choice among these stores. Their order does not matter, so that an
// update of the program which prefers another store does not lose what was chosen.
func (c *Chooser) memory(names []string) (string, error) {
	dir := c.Dir
	if dir == "" {
		state, err := stateDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(state, "chosen")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	sorted := slices.Sorted(slices.Values(names))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\x00")))
	return filepath.Join(dir, "among-"+hex.EncodeToString(sum[:16])), nil
}

// recall returns no store where none has been chosen.
func (c *Chooser) recall(memory string, names []string) (choice, error) {
	data, err := securefile.ReadFile(memory, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return choice{}, nil
	}
	if err != nil {
		return choice{}, unavailable(err)
	}
	name, err := decodeMemory(data)
	if err == nil {
		if i := slices.Index(names, name); i >= 0 {
			return choice{c.Stores[i], name + " was chosen earlier", memory}, nil
		}
		err = fmt.Errorf("it names %q, which is not among the stores", name)
	}
	// Choosing anew in silence would look for the sessions in another place.
	return choice{}, fmt.Errorf("%w: %s, which remembers the store that was chosen, cannot be used (%w): remove it to choose again, and sign in anew", ErrUnavailable, securefile.Quote(memory), err)
}

const (
	maxMemory     = 64 << 10
	memoryVersion = 1
)

type chooserMemory struct {
	Version int    `json:"version"`
	Store   string `json:"store"`
}

func encodeMemory(name string) []byte {
	data, _ := json.Marshal(chooserMemory{memoryVersion, name}) // an int and a string
	return append(data, '\n')
}

func decodeMemory(data []byte) (name string, err error) {
	var m chooserMemory
	if err := wire.UnmarshalJSON(data, &m); err != nil {
		return "", errors.New("it is not the JSON that was written")
	}
	if m.Version != memoryVersion {
		return "", fmt.Errorf("it has version %d, and this program knows %d", m.Version, memoryVersion)
	}
	if m.Store == "" {
		return "", errors.New("it names no store")
	}
	return m.Store, nil
}

// use runs do on the chosen store.
func (c *Chooser) use(ctx context.Context, do func(Store) error) error {
	choice, err := c.decide(ctx)
	if err != nil {
		return err
	}
	err = do(choice.store)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLocked) {
		return fmt.Errorf("%w (the sessions are kept in: %s; make it work again, or remove %s to choose another store, and sign in anew)",
			err, nameOf(choice.store), securefile.Quote(choice.memory))
	}
	return err
}

// String names the chosen store for a person, or before the choice those to choose from.
func (c *Chooser) String() string {
	c.mu.Lock()
	chosen := c.choice.store
	c.mu.Unlock()
	if chosen != nil {
		return nameOf(chosen)
	}
	var names []string
	for _, s := range c.Stores {
		names = append(names, nameOf(s))
	}
	return "first of " + strings.Join(names, ", ")
}

// Get implements [Store].
func (c *Chooser) Get(ctx context.Context, key string) (data []byte, err error) {
	err = c.use(ctx, func(s Store) error { data, err = s.Get(ctx, key); return err })
	return data, err
}

// Put implements [Store].
func (c *Chooser) Put(ctx context.Context, key string, data []byte) error {
	return c.use(ctx, func(s Store) error { return s.Put(ctx, key, data) })
}

// Delete implements [Store].
func (c *Chooser) Delete(ctx context.Context, key string) error {
	return c.use(ctx, func(s Store) error { return s.Delete(ctx, key) })
}

// List implements [Lister].
func (c *Chooser) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = c.use(ctx, func(s Store) error { keys, err = list(ctx, s, prefix); return err })
	return keys, err
}

// Lock implements [Locker].
func (c *Chooser) Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error) {
	err = c.use(ctx, func(s Store) error { held, unlock, err = lock(ctx, s, key); return err })
	return held, unlock, err
}

// Probe implements [Prober]: it chooses, if that has not been done, and then probes the chosen store.
func (c *Chooser) Probe(ctx context.Context) error {
	return c.use(ctx, func(s Store) error { return probe(ctx, s) })
}

// ReadRecord implements [Recorder].
func (c *Chooser) ReadRecord(ctx context.Context, key string) (data []byte, err error) {
	err = c.use(ctx, func(s Store) error { data, err = readRecord(ctx, s, key); return err })
	return data, err
}

// WriteRecord implements [Recorder].
func (c *Chooser) WriteRecord(ctx context.Context, key string, data []byte) error {
	return c.use(ctx, func(s Store) error { return writeRecord(ctx, s, key, data) })
}

// several is errors.Join on one line.
type several struct {
	text string
	errs []error
}

func (e several) Error() string   { return e.text }
func (e several) Unwrap() []error { return e.errs }

func sentence(errs []error) string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}
