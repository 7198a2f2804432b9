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
	"os"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// Key seals values for [Seal] and [NewFile]. It is 32 random bytes, from
// [ParseKey] or [ReadKey], or it is derived from a passphrase; see [Passphrase].
// With the zero Key, every method of the store returns an error.
//
// A Key prints, marshals and logs as "[redacted]". Copies of a Key share one
// state. A Key is safe for concurrent use.
//
// A key that lies beside the files that it seals protects nothing. Keep it
// elsewhere, such as in a secret of the CI system or on another volume.
type Key struct {
	// This is a pointer to a pointer because package fmt follows one pointer to a
	// struct. With a verb that does not fit pointers (%s), it would print all of an
	// unexported field.
	state **keyState
}

func newKey(state *keyState) Key { return Key{&state} }

// ParseKey returns the key that s contains: 32 bytes in base64 (the standard or
// the URL alphabet, with or without padding) or in hexadecimal. The command
// "openssl rand -base64 32" makes one. Space around the key is ignored. Any other
// s is an error, and so are 32 zero bytes. The error does not contain s. Use
// [Passphrase] for a passphrase.
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	state := &keyState{}
	if !decodeKey(&state.key, s) {
		return Key{}, fmt.Errorf("tokenstore: a key is 32 random bytes "+
			"in base64 (43 or 44 characters) or hex (64), and this is not (it has %d characters): "+
			"make one with openssl rand -base64 32", len(s))
	}
	if state.key == [32]byte{} {
		return Key{}, errors.New("tokenstore: the key is all zeros: " +
			"make one with openssl rand -base64 32")
	}
	return newKey(state), nil
}

// decodeKey reports whether s is one of the spellings of a key.
func decodeKey(key *[32]byte, s string) bool {
	var (
		b   []byte
		err error
	)
	switch unpadded := strings.TrimSuffix(s, "="); {
	case len(s) == 64:
		b, err = hex.DecodeString(s)
	// The decoder would skip line breaks.
	case len(unpadded) != 43 || strings.ContainsAny(s, "\r\n"):
		return false
	case strings.ContainsAny(s, "-_"):
		b, err = base64.RawURLEncoding.Strict().DecodeString(unpadded)
	default:
		b, err = base64.RawStdEncoding.Strict().DecodeString(unpadded)
	}
	return err == nil && copy(key[:], b) == len(key)
}

// ReadKey returns the key in the file at path, which has one of the forms that
// [ParseKey] accepts. The path "-" is standard input, and other descriptors of the
// process have their names in /dev: /dev/stdin, or what a shell makes of
// <(command).
//
// A file must be owned by the user of the process, with mode 0600 or less. Others
// may read it only if root owns it and nobody else can change it: container
// runtimes mount secrets like that. A symbolic link is followed if the user or root
// owns it. If the file is missing or refused, the error matches ErrUnavailable and
// says what to do.
func ReadKey(path string) (Key, error) {
	data, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, fmt.Errorf("%w: there is no key file %s: "+
			"make a key with openssl rand -base64 32, and write it to that file",
			ErrUnavailable, securefile.Quote(path))
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

func readKey(path string) ([]byte, error) {
	const max = 1 << 10 // bytes; a key has 64 at most
	if path == "-" {
		return securefile.ReadOpened(os.Stdin, "standard input", max)
	}
	return securefile.ReadGiven(path, max)
}

// Passphrase returns a key that is derived from a passphrase of the user. The
// derivation is argon2id with the second recommended parameters of RFC 9106,
// section 4: 64 MiB, 3 passes, 4 lanes. It takes about 0.1 seconds. Parameters
// and salt are stored with each sealed value, so that later versions can change
// them. Any bytes are a passphrase, except none.
//
// The function prompt returns the passphrase. It is called when a store first
// needs it, by one goroutine while others wait, and with the ctx of that call.
// Normally that happens once per process. If create is true, nothing is sealed in
// the store yet and the user chooses a new passphrase: prompt twice, and refuse a
// weak one. The slice that prompt returns belongs to the Key, which clears it. An
// error of prompt is returned to the caller of the store.
//
// A passphrase that does not open what the store contains is forgotten. The call
// returns ErrWrongKey, and the next call prompts again. A correct passphrase and
// the keys derived from it stay in the memory of the process.
//
// If prompt is nil, Passphrase returns the zero Key.
func Passphrase(prompt func(ctx context.Context, create bool) ([]byte, error)) Key {
	if prompt == nil {
		return Key{}
	}
	return newKey(&keyState{
		prompt: prompt,
		hash:   argon2.IDKey,
		turn:   make(chan struct{}, 1),
		cost:   derivation{time: 3, memory: 64 << 10, threads: 4},
	})
}

// keyState is what the copies of a Key share.
type keyState struct {
	key [32]byte // used if prompt is nil

	prompt func(ctx context.Context, create bool) ([]byte, error)
	// hash is argon2id. As a field, it is linked only into programs that use a
	// passphrase.
	hash func(passphrase, salt []byte, time, memory uint32, threads uint8, size uint32) []byte
	turn chan struct{} // capacity 1; full while a goroutine uses the fields below
	cost derivation    // of new derivations, without a salt

	passphrase []byte                  // nil until the user has typed it
	keys       map[derivation][32]byte // so that many values cost one derivation
}

// check refuses the zero Key.
func (k Key) check() error {
	if k.state == nil {
		return errors.New("tokenstore: the key is missing: " +
			"make one with ParseKey, ReadKey or Passphrase")
	}
	return nil
}

// begin waits until the caller may use the state. The function end releases it.
func (k *keyState) begin(ctx context.Context) (end func(), err error) {
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// derive returns the key, and prompts for the passphrase first if need be. It is
// called between begin and end.
func (k *keyState) derive(ctx context.Context, from derivation, create bool) ([32]byte, error) {
	if key, ok := k.keys[from]; ok {
		return key, nil
	}
	if err := ctx.Err(); err != nil {
		return [32]byte{}, err
	}
	if k.passphrase == nil {
		typed, err := k.prompt(ctx, create)
		if err != nil {
			return [32]byte{}, fmt.Errorf("tokenstore: no passphrase: %w", err)
		}
		if len(typed) == 0 {
			return [32]byte{}, fmt.Errorf("%w: the passphrase is empty", ErrWrongKey)
		}
		k.passphrase = bytes.Clone(typed)
		clear(typed)
	}
	derived := k.hash(k.passphrase, from.salt[:], from.time, from.memory, from.threads, 32)
	key := [32]byte(derived)
	if k.keys == nil {
		k.keys = make(map[derivation][32]byte)
	}
	k.keys[from] = key
	return key, nil
}

// forget drops a passphrase that proved wrong. Keys that proved right elsewhere
// stay.
func (k *keyState) forget(from derivation) {
	clear(k.passphrase)
	k.passphrase = nil
	delete(k.keys, from)
}

// newDerivation returns the current parameters with a fresh salt.
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

// Format implements [fmt.Formatter]. Every verb prints what String returns.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.text()) }

// MarshalText implements [encoding.TextMarshaler] with what String returns. JSON
// uses it too.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.text()), nil }

// LogValue implements [slog.LogValuer] with what String returns.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.text()) }
