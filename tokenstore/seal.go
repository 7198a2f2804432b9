package tokenstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrNewerFormat: the value was sealed by a newer version of this module. It is intact; update the program.
var ErrNewerFormat = errors.New("tokenstore: sealed by a newer version")

// A sealed value is a header, then AES-256-GCM's nonce, ciphertext and tag. The header, in clear but authenticated, is
//
//	magic   4 bytes  "naos"
//	version 1 byte
//	kind    1 byte   0: the key was used as it is; 1: it was derived from a passphrase by argon2id, with
//	        time, memory in KiB (4 bytes each, big endian), threads (1 byte), salt (16 bytes)
//	key id  8 bytes  tells a wrong key from a damaged value
//
// The name that the value is kept under is authenticated with it, so that a value moved under another name does not
// open. (A session's name stands for its issuer, client and account.)
const (
	sealMagic   = "naos"
	sealVersion = 1

	kindKey      = 0
	kindArgon2id = 1

	keyIDSize    = 8
	nonceAndTag  = 12 + 16
	sealOverhead = len(sealMagic) + 2 + derivationSize + keyIDSize + nonceAndTag // at most
)

// sealBytes seals plain with key for the name ad. A key may seal 2³² values.
func sealBytes(key [32]byte, ad string, plain []byte) []byte {
	return sealDerived(key, derivation{}, ad, plain)
}

// openBytes gives back what sealBytes sealed for ad. ErrWrongKey: another key, another name, or altered.
func openBytes(key [32]byte, ad string, sealed []byte) ([]byte, error) {
	h, err := parseHeader(sealed)
	if err != nil {
		return nil, err
	}
	return h.open(key, ad)
}

func sealDerived(key [32]byte, from derivation, ad string, plain []byte) []byte {
	out := make([]byte, 0, sealOverhead+len(plain))
	out = append(out, sealMagic...)
	out = append(out, sealVersion)
	out = from.append(out)
	id := keyID(key)
	out = append(out, id[:]...)
	return gcm(key).Seal(out, nil, plain, associated(out, ad))
}

// header is a sealed value, taken apart.
type header struct {
	from  derivation
	keyID [keyIDSize]byte
	clear []byte // the header's own bytes
	body  []byte // nonce, ciphertext, tag
}

func parseHeader(sealed []byte) (h header, err error) {
	rest := sealed
	if len(rest) < len(sealMagic)+2 || string(rest[:len(sealMagic)]) != sealMagic {
		return h, fmt.Errorf("%w: this is no sealed value", ErrDamaged)
	}
	rest = rest[len(sealMagic):]
	if version := rest[0]; version > sealVersion {
		return h, fmt.Errorf("%w: it has format %d and this program reads up to %d; update the program", ErrNewerFormat, version, sealVersion)
	} else if version < sealVersion {
		return h, fmt.Errorf("%w: there is no format %d", ErrDamaged, version)
	}
	if h.from, rest, err = parseDerivation(rest[1:]); err != nil {
		return h, err
	}
	if len(rest) < keyIDSize+nonceAndTag {
		return h, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	h.body = rest[copy(h.keyID[:], rest):]
	h.clear = sealed[:len(sealed)-len(h.body)]
	return h, nil
}

func (h header) open(key [32]byte, ad string) ([]byte, error) {
	if h.keyID != keyID(key) {
		return nil, fmt.Errorf("%w: another key or passphrase sealed this value", ErrWrongKey)
	}
	plain, err := gcm(key).Open(make([]byte, 0, len(h.body)), nil, h.body, associated(h.clear, ad))
	if err != nil {
		return nil, fmt.Errorf("%w, or was sealed for another name", ErrDamaged)
	}
	return plain, nil
}

// gcm puts a random nonce before the ciphertext. The errors are those of other key and block sizes.
func gcm(key [32]byte) cipher.AEAD {
	block, _ := aes.NewCipher(key[:])
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	return aead
}

// associated is unambiguous, because a header tells its own length.
func associated(header []byte, ad string) []byte {
	return append(slices.Clip(header), ad...)
}

// keyID is a fingerprint. For a passphrase it offers an attacker nothing that the tag does not: a guess costs one argon2id.
func keyID(key [32]byte) [keyIDSize]byte {
	sum := sha256.Sum256(append([]byte("nativeoauth key id\x00"), key[:]...))
	return [keyIDSize]byte(sum[:])
}

// derivation is how a key came from a passphrase; the zero derivation: it did not.
type derivation struct {
	time, memory uint32 // passes, KiB
	threads      uint8
	salt         [16]byte
}

const derivationSize = 4 + 4 + 1 + 16

func (d derivation) append(out []byte) []byte {
	if d == (derivation{}) {
		return append(out, kindKey)
	}
	out = append(out, kindArgon2id)
	out = binary.BigEndian.AppendUint32(out, d.time)
	out = binary.BigEndian.AppendUint32(out, d.memory)
	out = append(out, d.threads)
	return append(out, d.salt[:]...)
}

func parseDerivation(in []byte) (d derivation, rest []byte, err error) {
	kind, in := in[0], in[1:]
	switch {
	case kind == kindKey:
		return d, in, nil
	case kind != kindArgon2id:
		return d, nil, fmt.Errorf("%w: there is no kind of key %d", ErrDamaged, kind)
	case len(in) < derivationSize:
		return d, nil, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	d.time, d.memory, d.threads = binary.BigEndian.Uint32(in), binary.BigEndian.Uint32(in[4:]), in[8]
	copy(d.salt[:], in[9:])
	// Whoever can write the store chooses these: they cost us a second or so at most.
	if d.time < 1 || d.time > 10 || d.threads < 1 || d.threads > 16 || d.memory < 8*uint32(d.threads) || d.memory > 256<<10 {
		return d, nil, fmt.Errorf("%w: argon2id is asked for with parameters out of bounds", ErrDamaged)
	}
	return d, in[derivationSize:], nil
}

// Sealed is a Store that keeps ciphertext in another Store. See [Seal].
type Sealed struct {
	inner Store
	key   Key
	from  derivation // of a passphrase: what new values are sealed with; zero until it is proven. Guarded by the key's turn
}

var (
	_ Store    = (*Sealed)(nil)
	_ Lister   = (*Sealed)(nil)
	_ Locker   = (*Sealed)(nil)
	_ Prober   = (*Sealed)(nil)
	_ Recorder = (*Sealed)(nil)
)

// Seal returns a Store that keeps its values in inner, encrypted with key (AES-256-GCM) and bound to the name that
// they are kept under. Whoever can write inner can remove a value or bring back an older one of the same
// name; he can neither read one, nor alter it, nor pass one for another: Get then returns ErrWrongKey, and destroys
// nothing. Names, and the records of [Recorder], which hold no secrets, stay in clear.
//
// Sealed lists, locks, probes and keeps records as inner does, and returns [errors.ErrUnsupported] where inner cannot.
// A seal adds at most 67 bytes to a value. A passphrase is proven against a value of inner's named "seal.passphrase", which
// Sealed keeps to itself.
//
// A nil inner or a zero key is an error at the first Probe or use. Its methods are safe for concurrent use.
func Seal(inner Store, key Key) *Sealed { return &Sealed{inner: inner, key: key} }

// passphraseName keeps a sealed nothing: its header tells the salt, and opening it proves the passphrase.
const passphraseName = "seal.passphrase"

func (s *Sealed) check(ctx context.Context, key string) error {
	if err := s.ready(); err != nil {
		return err
	}
	if key == passphraseName {
		return fmt.Errorf("tokenstore: the key %q is the seal's own; choose another", passphraseName)
	}
	return checkCall(ctx, key)
}

func (s *Sealed) ready() error {
	if s.inner == nil {
		return errors.New("tokenstore: Seal was given no store")
	}
	return s.key.check()
}

// String names the store for a person.
func (s *Sealed) String() string { return "sealed " + nameOf(s.inner) }

// Get implements [Store]. ErrWrongKey: the value is there and does not open. ErrNewerFormat: a newer version sealed it.
func (s *Sealed) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	sealed, err := s.inner.Get(ctx, key)
	if err != nil {
		return nil, err // ErrNotFound asks nobody for a passphrase
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

// Delete implements [Store]. It needs no passphrase: what cannot be opened any more can be removed.
func (s *Sealed) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	return s.inner.Delete(ctx, key)
}

// List implements [Lister].
func (s *Sealed) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	keys, err := list(ctx, s.inner, prefix)
	return slices.DeleteFunc(keys, func(key string) bool { return key == passphraseName }), err
}

// Lock implements [Locker].
func (s *Sealed) Lock(ctx context.Context, key string) (held context.Context, unlock func() error, err error) {
	if err := s.check(ctx, key); err != nil {
		return nil, nil, err
	}
	return lock(ctx, s.inner, key)
}

// Probe implements [Prober]. It asks for the passphrase, and where nothing is sealed yet it keeps the proof of it: the
// one thing that it leaves behind.
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

// ReadRecord implements [Recorder].
func (s *Sealed) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	return readRecord(ctx, s.inner, key)
}

// WriteRecord implements [Recorder]. The record is not sealed: it holds no secret.
func (s *Sealed) WriteRecord(ctx context.Context, key string, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	return writeRecord(ctx, s.inner, key, data)
}

func (s *Sealed) open(ctx context.Context, h header, key string) ([]byte, error) {
	secret, from, err := s.sealingKey(ctx)
	switch {
	case err != nil:
		return nil, err
	case h.from == from:
		return h.open(secret, key)
	case from == derivation{}:
		return nil, fmt.Errorf("%w: this value was sealed with a passphrase, not with a key", ErrWrongKey)
	case h.from == derivation{}:
		return nil, fmt.Errorf("%w: this value was sealed with a key, not with a passphrase", ErrWrongKey)
	}
	// Another salt or cost: older parameters, or the proof was lost and made anew.
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

// sealingKey is the key for new values. With a passphrase it is proven first, once a process.
func (s *Sealed) sealingKey(ctx context.Context) (secret [32]byte, from derivation, err error) {
	k := *s.key.state
	if k.ask == nil {
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

// prove has the passphrase asked for, and makes sure that it is the one that all processes and all values here share: without
// that, a slip in typing would seal a session that nobody can open again.
func (s *Sealed) prove(ctx context.Context) (derivation, error) {
	proof, err := s.inner.Get(ctx, passphraseName)
	if err == nil {
		return s.proveWith(ctx, passphraseName, proof)
	}
	if !errors.Is(err, ErrNotFound) {
		return derivation{}, err
	}

	// Nothing is sealed yet. Of processes that come at once one creates; the others wait, and then have to know the passphrase.
	// (A store without locks is for one client.)
	held, unlock, err := lock(ctx, s.inner, passphraseName)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return derivation{}, err
	}
	if err == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(held, cancel)()
		defer func() { _ = unlock() }() // the proof is kept by now, or not
	}
	if proof, err = s.inner.Get(ctx, passphraseName); err == nil {
		return s.proveWith(ctx, passphraseName, proof)
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
	return from, s.inner.Put(ctx, passphraseName, sealDerived(secret, from, passphraseName, nil))
}

func (s *Sealed) proveWith(ctx context.Context, name string, sealed []byte) (derivation, error) {
	h, err := parseHeader(sealed)
	if err != nil {
		return derivation{}, err
	}
	if h.from == (derivation{}) {
		return derivation{}, fmt.Errorf("%w: what is here was sealed with a key, not with a passphrase", ErrWrongKey)
	}
	secret, err := (*s.key.state).derive(ctx, h.from, false)
	if err != nil {
		return derivation{}, err
	}
	if _, err := h.open(secret, name); err != nil {
		(*s.key.state).forget(h.from)
		return derivation{}, err
	}
	return h.from, nil
}

// proveWithoutProof is for a proof that was lost: any sealed value will do. If there is none, it gives a new salt.
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
