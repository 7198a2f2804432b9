package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// All values of a Sealed and all processes that use it must have the same
// passphrase. Otherwise a typing error would seal a session that nobody can open
// again. The proof is a sealed empty value. Its header has the salt, and opening
// it proves the passphrase.

const proofKey = "seal.passphrase"

// prove prompts for the passphrase, verifies it, and returns the derivation for
// new values. If nothing is sealed yet, it makes the proof.
func (s *Sealed) prove(ctx context.Context) (derivation, error) {
	proof, err := s.inner.Get(ctx, proofKey)
	if err == nil {
		return s.proveWith(ctx, proofKey, proof)
	}
	if !errors.Is(err, ErrNotFound) {
		return derivation{}, err
	}
	// If several processes come at once, one of them makes the proof. The others
	// wait, and their users then have to know the passphrase. A store that is not
	// Shared is for one client, so it needs no lock.
	held, unlock, err := lock(ctx, s.inner, proofKey)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return derivation{}, err
	}
	if err == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(held, cancel)()
		// The proof is stored or not by then, so an error of unlock does not matter.
		defer func() { _ = unlock() }()
	}
	if proof, err = s.inner.Get(ctx, proofKey); err == nil {
		return s.proveWith(ctx, proofKey, proof)
	} else if !errors.Is(err, ErrNotFound) {
		return derivation{}, err
	}
	from, err := s.proveWithoutProof(ctx)
	if err != nil {
		return derivation{}, err
	}
	secret, err := (*s.key.state).derive(ctx, from, true)
	if err != nil {
		return derivation{}, err
	}
	return from, s.inner.Put(ctx, proofKey, sealDerived(secret, from, proofKey, nil))
}

// proveWith verifies the passphrase against the sealed value under key.
func (s *Sealed) proveWith(ctx context.Context, key string, sealed []byte) (derivation, error) {
	h, err := parseHeader(sealed)
	if err != nil {
		return derivation{}, err
	}
	if h.from == (derivation{}) {
		return derivation{}, fmt.Errorf("%w: these values were sealed with a key, "+
			"not with a passphrase", ErrWrongKey)
	}
	secret, err := (*s.key.state).derive(ctx, h.from, false)
	if err != nil {
		return derivation{}, err
	}
	if _, err := h.open(secret, key); err != nil {
		(*s.key.state).forget(h.from)
		return derivation{}, err
	}
	return h.from, nil
}

// proveWithoutProof verifies the passphrase if the proof was lost. Any sealed
// value will do. If there is none, it returns a derivation with a new salt.
func (s *Sealed) proveWithoutProof(ctx context.Context) (derivation, error) {
	keys, err := list(ctx, s.inner, "")
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return derivation{}, err
	}
	for _, key := range keys {
		sealed, err := s.inner.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return derivation{}, err
		}
		if h, err := parseHeader(sealed); err == nil && h.from != (derivation{}) {
			return s.proveWith(ctx, key, sealed)
		}
	}
	return (*s.key.state).newDerivation(), nil
}
