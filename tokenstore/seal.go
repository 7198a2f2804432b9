package tokenstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// A sealed value is a header, followed by the nonce, ciphertext and tag of
// AES-256-GCM. The header is authenticated but not encrypted:
//
//	magic   4 bytes  "naos"
//	version 1 byte
//	kind    1 byte   0: the key was used as it is
//	                 1: the key was derived from a passphrase by argon2id, and
//	                 time, memory in KiB (4 bytes each, big endian),
//	                 threads (1 byte) and salt (16 bytes) follow
//	key id  8 bytes  distinguishes a wrong key from a damaged value
//
// The name under which the value is stored is authenticated too. A value that was
// moved to another name does not open. This matters because the name of a session
// stands for its issuer, client and account.
const (
	sealMagic   = "naos"
	sealVersion = 1

	kindKey      = 0
	kindArgon2id = 1
	keyIDSize    = 8
	nonceAndTag  = 12 + 16
	sealOverhead = len(sealMagic) + 2 + derivationSize + keyIDSize + nonceAndTag // at most
)

// sealBytes seals plain with key under name. A key may seal 2³² values, after
// which random nonces could repeat (NIST SP 800-38D, section 8.3).
func sealBytes(key [32]byte, name string, plain []byte) []byte {
	return sealDerived(key, derivation{}, name, plain)
}

// openBytes returns what sealBytes sealed under name. The error matches
// ErrWrongKey if the key or the name is another one, or if sealed was altered.
func openBytes(key [32]byte, name string, sealed []byte) ([]byte, error) {
	h, err := parseHeader(sealed)
	if err != nil {
		return nil, err
	}
	return h.open(key, name)
}

func sealDerived(key [32]byte, from derivation, name string, plain []byte) []byte {
	out := make([]byte, 0, sealOverhead+len(plain))
	out = append(out, sealMagic...)
	out = append(out, sealVersion)
	out = from.append(out)
	id := keyID(key)
	out = append(out, id[:]...)
	return gcm(key).Seal(out, nil, plain, associated(out, name))
}

// header is a sealed value, split into its parts.
type header struct {
	from  derivation
	keyID [keyIDSize]byte
	clear []byte // the bytes of the header
	body  []byte // nonce, ciphertext, tag
}

// parseHeader reads bytes that an attacker may have written. It opens nothing.
func parseHeader(sealed []byte) (h header, err error) {
	rest := sealed
	if len(rest) < len(sealMagic)+2 || string(rest[:len(sealMagic)]) != sealMagic {
		return h, fmt.Errorf("%w: this is no sealed value", ErrDamaged)
	}
	rest = rest[len(sealMagic):]
	if version := rest[0]; version > sealVersion {
		return h, fmt.Errorf("%w: it has format %d and this program reads up to %d; "+
			"update the program", ErrNewerFormat, version, sealVersion)
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

func (h header) open(key [32]byte, name string) ([]byte, error) {
	if h.keyID != keyID(key) {
		return nil, fmt.Errorf("%w: another key or passphrase sealed this value", ErrWrongKey)
	}
	plain := make([]byte, 0, len(h.body)) // an empty value is not nil
	plain, err := gcm(key).Open(plain, nil, h.body, associated(h.clear, name))
	if err != nil {
		return nil, fmt.Errorf("%w, or was sealed for another name", ErrDamaged)
	}
	return plain, nil
}

// gcm returns AES-256-GCM that puts a random nonce before the ciphertext. Its
// errors are about other sizes of keys and blocks.
func gcm(key [32]byte) cipher.AEAD {
	block, _ := aes.NewCipher(key[:])
	aead, _ := cipher.NewGCMWithRandomNonce(block)
	return aead
}

// associated returns the bytes that are authenticated with the ciphertext. They
// are unambiguous, because a header determines its own length.
func associated(header []byte, name string) []byte {
	return append(slices.Clip(header), name...)
}

// keyID is a fingerprint of a key. If the key comes from a passphrase, it helps an
// attacker no more than the tag does: each guess costs one argon2id.
func keyID(key [32]byte) [keyIDSize]byte {
	sum := sha256.Sum256(append([]byte("nativeoauth key id\x00"), key[:]...))
	return [keyIDSize]byte(sum[:])
}

// derivation is how a key is derived from a passphrase. The zero derivation means
// that the key was not derived.
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
	d.time, d.memory = binary.BigEndian.Uint32(in), binary.BigEndian.Uint32(in[4:])
	d.threads = in[8]
	copy(d.salt[:], in[9:])
	if !d.affordable() {
		return d, nil, fmt.Errorf("%w: its argon2id parameters are out of bounds", ErrDamaged)
	}
	return d, in[derivationSize:], nil
}

// affordable bounds the parameters. An attacker with write access to the store
// chooses them, before anything is authenticated. Within these bounds a
// derivation takes a second or so and 256 MiB at most.
func (d derivation) affordable() bool {
	return d.time >= 1 && d.time <= 10 &&
		d.threads >= 1 && d.threads <= 16 &&
		d.memory >= 8*uint32(d.threads) && d.memory <= 256<<10
}
