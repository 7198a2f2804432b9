package tokenstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// Key seals values: 32 random bytes ([ParseKey], [ReadKey]), or a passphrase ([Passphrase]). The zero Key is an error at
// the first Probe or use of what it was given to; there is no way to keep values unsealed.
//
// A Key prints, marshals and logs as "[redacted]". Copies share one state; a Key is safe for concurrent use.
//
// A key kept beside what it seals protects nothing: let it come from where the store's files do not, such as a
// secret of the CI system, or a file on another volume.
type Key struct {
	// A pointer to a pointer, because fmt follows one to a struct: as an unexported field under a verb that does not fit
	// pointers (%s), it would print all of it.
	state **keyState
}

func newKey(state *keyState) Key { return Key{&state} }

// ParseKey returns the key that s tells: 32 bytes in base64 (standard or URL alphabet, with or without padding) or in
// hex, as "openssl rand -base64 32" makes them. Space around it is ignored. It is not for passphrases: see [Passphrase].
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	state := &keyState{}
	if !decodeKey(&state.key, s) {
		return Key{}, fmt.Errorf("tokenstore: a key is 32 random bytes in base64 (43 or 44 characters) or hex (64), and this is not (it has %d characters): make one with openssl rand -base64 32", len(s))
	}
	if state.key == [32]byte{} {
		return Key{}, errors.New("tokenstore: the key is all zeros: make one with openssl rand -base64 32")
	}
	return newKey(state), nil
}

func decodeKey(key *[32]byte, s string) bool {
	var (
		b   []byte
		err error
	)
	switch unpadded := strings.TrimSuffix(s, "="); {
	case len(s) == 64:
		b, err = hex.DecodeString(s)
	case len(unpadded) != 43 || strings.ContainsAny(s, "\r\n"): // which the decoder would skip
		return false
	case strings.ContainsAny(s, "-_"):
		b, err = base64.RawURLEncoding.Strict().DecodeString(unpadded)
	default:
		b, err = base64.RawStdEncoding.Strict().DecodeString(unpadded)
	}
	return err == nil && copy(key[:], b) == len(key)
}

// ReadKey returns the key in the file at path, in a form that [ParseKey] takes. The file must be a regular file of the
// process's own user, with mode 0600 or less and one name; a symbolic link is refused. Where a system mounts secrets
// in another way (Kubernetes: links), read the file yourself and use ParseKey. ErrUnavailable: the
// file is not there, or is refused; the error names the remedy.
func ReadKey(path string) (Key, error) {
	data, err := securefile.ReadGiven(path, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, fmt.Errorf("%w: there is no key file %s: make one with (umask 077; openssl rand -base64 32 >file)", ErrUnavailable, securefile.Quote(path))
	}
	if err != nil {
		return Key{}, fmt.Errorf("%w: the key file: %w", ErrUnavailable, err)
	}
	defer clear(data)
	key, err := ParseKey(string(data))
	if err != nil {
		return Key{}, fmt.Errorf("%w (in the file %s)", err, securefile.Quote(path))
	}
	return key, nil
}

// Passphrase returns a key derived from what a person knows, by argon2id with the second recommended parameters of
// RFC 9106 §4 (64 MiB, 3 passes, 4 lanes); parameters and salt are kept with each sealed value, so that they may
// change in later versions. Any bytes are a passphrase, except none.
//
// ask is called at the first use that needs it, by one goroutine while others wait, and once a process if all goes well. create
// says that nothing is sealed yet in this store, so that a new passphrase is chosen here: ask twice, and refuse weak ones. A passphrase
// that does not fit what is sealed is forgotten with ErrWrongKey, and the next use asks again. ctx is that of the use. What ask returns
// belongs to the Key; an error of ask is the use's. The passphrase and the keys stay in the process's memory.
func Passphrase(ask func(ctx context.Context, create bool) ([]byte, error)) Key {
	if ask == nil {
		return Key{}
	}
	return newKey(&keyState{
		ask:  ask,
		hash: argon2.IDKey,
		turn: make(chan struct{}, 1),
		cost: derivation{time: 3, memory: 64 << 10, threads: 4},
	})
}

// keyState is what the copies of a Key share.
type keyState struct {
	key [32]byte // where ask is nil

	ask func(ctx context.Context, create bool) ([]byte, error)
	// hash is argon2id, which only programs with a passphrase link.
	hash func(passphrase, salt []byte, time, memory uint32, threads uint8, size uint32) []byte
	turn chan struct{} // full while one use asks, derives or proves; guards what follows
	cost derivation    // of new derivations, without a salt

	passphrase []byte                  // nil until asked
	keys       map[derivation][32]byte // so that many values cost one derivation
}

func (k Key) check() error {
	if k.state == nil {
		return errors.New("tokenstore: the key is missing: make one with ParseKey, ReadKey or Passphrase")
	}
	return nil
}

// begin waits for the turn; end gives it back.
func (k *keyState) begin(ctx context.Context) (end func(), err error) {
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// derive returns the key, and asks for the passphrase first if need be. The caller has the turn.
func (k *keyState) derive(ctx context.Context, from derivation, create bool) ([32]byte, error) {
	if key, ok := k.keys[from]; ok {
		return key, nil
	}
	if err := ctx.Err(); err != nil {
		return [32]byte{}, err
	}
	if k.passphrase == nil {
		answer, err := k.ask(ctx, create)
		if err != nil {
			return [32]byte{}, fmt.Errorf("tokenstore: no passphrase: %w", err)
		}
		if len(answer) == 0 {
			return [32]byte{}, fmt.Errorf("%w: the passphrase is empty", ErrWrongKey)
		}
		k.passphrase = bytes.Clone(answer)
		clear(answer)
	}
	key := [32]byte(k.hash(k.passphrase, from.salt[:], from.time, from.memory, from.threads, 32))
	if k.keys == nil {
		k.keys = make(map[derivation][32]byte)
	}
	k.keys[from] = key
	return key, nil
}

// forget drops a passphrase that proved wrong. What other stores proved stays.
func (k *keyState) forget(from derivation) {
	clear(k.passphrase)
	k.passphrase = nil
	delete(k.keys, from)
}

func (k *keyState) newDerivation() derivation {
	d := k.cost
	_, _ = rand.Read(d.salt[:]) // never fails
	return d
}

func (k Key) text() string {
	if k.state == nil {
		return ""
	}
	return "[redacted]"
}

// String returns "[redacted]", or "" for the zero Key.
func (k Key) String() string { return k.text() }

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.text()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON too.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.text()), nil }

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.text()) }
