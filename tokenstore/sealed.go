package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Sealed is a Store that keeps encrypted values in another Store. Make one with
// [Seal]. Every method of the zero Sealed returns an error. The methods are safe
// for concurrent use.
type Sealed struct {
	inner Store
	key   Key
	// from is the derivation for new values if the key is a passphrase. It is zero
	// until the passphrase is proven, and guarded by the turn of the key.
	from derivation
}

var (
	_ Store  = (*Sealed)(nil)
	_ Lister = (*Sealed)(nil)
	_ Prober = (*Sealed)(nil)
	_ Shared = (*Sealed)(nil)
)

// Seal returns a Store that keeps its values in inner, encrypted with key. Each
// value is sealed with AES-256-GCM and is bound to its key in the store.
//
// An attacker with access to inner can neither read a value, nor alter it, nor
// move it to another key: Get then returns ErrWrongKey and destroys nothing. The
// attacker can delete a value, or restore an older one under the same key. The
// keys of the store and the journals of [Shared] are not encrypted.
//
// Sealed has all optional interfaces. If inner lacks one, its methods return
// [errors.ErrUnsupported]. A seal adds at most 67 bytes to a value. To verify a
// passphrase, Sealed keeps a value of its own in inner, under the key
// "seal.passphrase". That key is refused for other values and is not listed.
//
// If inner is nil or key is the zero Key, every method of the Sealed returns an
// error that says so.
func Seal(inner Store, key Key) *Sealed { return &Sealed{inner: inner, key: key} }

// check begins every method that has a key.
func (s *Sealed) check(ctx context.Context, key string) error {
	if err := s.ready(); err != nil {
		return err
	}
	if key == proofKey {
		return fmt.Errorf("tokenstore: the key %q is reserved for the seal; "+
			"choose another", proofKey)
	}
	return checkCall(ctx, key)
}

func (s *Sealed) ready() error {
	if s.inner == nil {
		return errors.New("tokenstore: Seal was given no store")
	}
	return s.key.check()
}

// String returns a name of the store for messages: "sealed" and the name of the
// inner store.
func (s *Sealed) String() string {
	if s.inner == nil {
		return "sealed"
	}
	return "sealed " + nameOf(s.inner)
}

// Get implements [Store]. It returns ErrWrongKey, ErrDamaged or ErrNewerFormat if
// the value cannot be opened. It prompts for a passphrase only if there is a
// value.
func (s *Sealed) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	sealed, err := s.inner.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(sealed)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, h, key)
}

// Put implements [Store].
func (s *Sealed) Put(ctx context.Context, key string, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	secret, from, err := s.sealingKey(ctx)
	if err != nil {
		return err
	}
	return s.inner.Put(ctx, key, sealDerived(secret, from, key, data))
}

// Delete implements [Store]. It needs no passphrase, so that a value that cannot
// be opened any more can be removed.
func (s *Sealed) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	return s.inner.Delete(ctx, key)
}

// List implements [Lister]. It needs no passphrase.
func (s *Sealed) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	keys, err := list(ctx, s.inner, prefix)
	return slices.DeleteFunc(keys, func(key string) bool { return key == proofKey }), err
}

// Probe implements [Prober]. It prompts for the passphrase. If nothing is sealed
// yet, it stores the proof of the new passphrase, which is all that it leaves
// behind.
func (s *Sealed) Probe(ctx context.Context) error {
	if err := s.ready(); err != nil {
		return err
	}
	probed := probe(ctx, s.inner)
	if probed != nil && !errors.Is(probed, errors.ErrUnsupported) {
		return probed
	}
	if _, _, err := s.sealingKey(ctx); err != nil {
		return err
	}
	return probed
}

// Prompts implements [Prompter] for the prompts of the inner store. The prompt for
// the passphrase is the program's own.
func (s *Sealed) Prompts(ctx context.Context) (get, put bool, err error) {
	if err := s.ready(); err != nil {
		return false, false, err
	}
	return prompts(ctx, s.inner)
}

// Lock implements [Shared] with the lock of the inner store.
func (s *Sealed) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	if err := s.check(ctx, key); err != nil {
		return nil, nil, err
	}
	return lock(ctx, s.inner, key)
}

// ReadJournal implements [Shared] with the journal of the inner store.
func (s *Sealed) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	return readJournal(ctx, s.inner, key)
}

// WriteJournal implements [Shared] with the journal of the inner store. The
// journal is not encrypted, because it contains no secrets.
func (s *Sealed) WriteJournal(ctx context.Context, key string, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	return writeJournal(ctx, s.inner, key, data)
}

// open opens a value that may have been sealed with other parameters than the
// current ones.
func (s *Sealed) open(ctx context.Context, h header, key string) ([]byte, error) {
	secret, from, err := s.sealingKey(ctx)
	switch {
	case err != nil:
		return nil, err
	case h.from == from:
		return h.open(secret, key)
	case from == derivation{}:
		return nil, fmt.Errorf("%w: this value was sealed with a passphrase, "+
			"not with a key", ErrWrongKey)
	case h.from == derivation{}:
		return nil, fmt.Errorf("%w: this value was sealed with a key, "+
			"not with a passphrase", ErrWrongKey)
	}
	// Another salt or cost: the value has older parameters, or the proof was lost
	// and made anew.
	k := *s.key.state
	end, err := k.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if secret, err = k.derive(ctx, h.from, false); err != nil {
		return nil, err
	}
	plain, err := h.open(secret, key)
	if err != nil {
		delete(k.keys, h.from)
	}
	return plain, err
}

// sealingKey returns the key for new values. A passphrase is proven first, once
// per process.
func (s *Sealed) sealingKey(ctx context.Context) (secret [32]byte, from derivation, err error) {
	k := *s.key.state
	if k.prompt == nil {
		return k.key, derivation{}, nil
	}
	end, err := k.begin(ctx)
	if err != nil {
		return secret, from, err
	}
	defer end()
	if s.from == (derivation{}) {
		if s.from, err = s.prove(ctx); err != nil {
			return secret, derivation{}, err
		}
	}
	secret, err = k.derive(ctx, s.from, false)
	return secret, s.from, err
}
