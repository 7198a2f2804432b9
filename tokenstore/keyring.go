package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// Keyring is the keychain of the operating system: macOS Keychain, Windows
// Credential Manager, or the Secret Service (gnome-keyring, KWallet, KeePassXC)
// on Linux and the BSDs. The zero Keyring is ready. Its methods are safe for
// concurrent use, and several processes may use one keychain at once. Set the
// fields before the first use. Do not copy a Keyring after it.
//
// If there is no keychain, every call that needs it returns [ErrUnavailable]. The
// text says what is missing and what to do: for example, there is no session bus,
// no secret service, or no default keyring. If the user has to unlock the
// keychain and there is no display for the prompt, the error is [ErrLocked].
// Nothing is stored anywhere else instead.
//
// An item of a keychain has a limited size: 2,560 bytes on Windows and about
// 3,000 on macOS. A larger value is sealed with AES-256-GCM in a file of Dir. Each
// Put makes a new file under a new key, and the item then contains that key. The
// value that a Put replaces stays readable until the new item was read back.
//
// # Limits
//
// A Keyring does not protect programs of the same user from each other. On every
// system here, another program of that user can read the items. A Keyring cannot
// interrupt a call to a keychain that hangs; see [Pending].
type Keyring struct {
	// Service separates the items of one program from those of others. If it is
	// empty, it is "nativeoauth". A Service that is longer than 64 bytes or has
	// characters outside of [a-z0-9.-] is hashed. The reason is that keychains
	// quote names badly, and that Windows does not distinguish "A" from "a".
	Service string

	// Dir is the directory for locks, journals, index rows and sealed files. None
	// of them is a secret by itself. All processes that share a session need the
	// same Dir. If it is empty, it is ~/.local/state/nativeoauth, on macOS
	// ~/Library/Application Support/nativeoauth, on Windows
	// AppData\Local\nativeoauth.
	Dir string

	// Timeout is the longest time for one call. If it is zero or negative, it is 3
	// seconds, or 60 seconds if the keychain prompts the user: if it is locked, or
	// if a Secret Service still answers after 3 seconds while the call goes on.
	// Before that, a call waits for earlier calls on the same Keyring, as long as
	// its ctx allows.
	Timeout time.Duration

	// OnPrompt is called if a call waits for the user to answer a prompt of the
	// keychain. The program can then say so. It is called at most once in a call,
	// from any goroutine, and must return soon. If it is nil, or if
	// Timeout is not zero, nothing is called.
	OnPrompt func()

	queue    queue
	prompted atomic.Bool // a write has waited for the user before

	limit        int    // of an item's text, in bytes; 0: that of the system
	beforeChange func() // nil outside of tests, which stop the daemon here
}

var (
	_ Store    = (*Keyring)(nil)
	_ Lister   = (*Keyring)(nil)
	_ Prober   = (*Keyring)(nil)
	_ Prompter = (*Keyring)(nil)
	_ Shared   = (*Keyring)(nil)
)

const (
	unattended = 3 * time.Second // a healthy keychain needs about 0.1 seconds at most
	shown      = time.Second     // a prompt that is still there is one that the user sees
	attended   = time.Minute     // for the user to read a prompt and type a password
)

// String returns "keychain", a name of the store for messages.
func (k *Keyring) String() string { return "keychain" }

// Get implements [Store]. It returns ErrDamaged if the value was in a sealed file
// and the file is missing or altered.
func (k *Keyring) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, err
	}
	op, err := k.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer op.end()
	data, err := op.value(key)
	if err != nil {
		return nil, err
	}
	// A lost index row hides the key from List, so this restores it. The session
	// is intact either way, so a failure is no reason for an error.
	_ = op.files.addRow(key)
	return data, nil
}

// Put implements [Store]. It returns ErrDismissed if the user dismissed a prompt,
// and a [*Pending] if the keychain did not answer in time.
func (k *Keyring) Put(ctx context.Context, key string, data []byte) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	op, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer op.end()
	if err := op.lockWrites(key); err != nil {
		return err
	}
	if err := op.files.addRow(key); err != nil {
		return err
	}
	it := item{data: ownCopy(data)}
	text := it.encode()
	if len(text) > k.itemLimit(op.service, key) {
		if it, err = op.writeSealed(key, data); err != nil {
			return err
		}
		text = it.encode()
	}
	err = op.change(func() error { return op.set(op.service, key, text) })
	if err != nil {
		return err
	}
	if err := op.readBack(key, text); err != nil {
		return err
	}
	op.sweep(key, it.file)
	return nil
}

// Delete implements [Store]. It returns ErrDismissed if the user dismissed a
// prompt, and a [*Pending] if the keychain did not answer in time.
func (k *Keyring) Delete(ctx context.Context, key string) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	op, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer op.end()
	if err := op.lockWrites(key); err != nil {
		return err
	}
	// A Secret Service reports success if its prompt is dismissed, so the item is
	// read back. A keychain that was merged with another can have an item twice.
	for range 5 {
		err := op.change(func() error { return op.remove(op.service, key) })
		if err == nil {
			_, err = op.item(key)
		}
		if errors.Is(err, ErrNotFound) {
			op.sweep(key, "")
			return op.files.removeRow(key)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the keychain did not delete the item; "+
		"if it shows a prompt, try again and confirm it", ErrDismissed)
}

// List implements [Lister] with the index in Dir. It does not call the keychain.
// A key that another Dir or a lost index hides is listed again after a Get.
func (k *Keyring) List(ctx context.Context, prefix string) ([]string, error) {
	files, _, err := k.location()
	if err != nil {
		return nil, err
	}
	return files.listRows(ctx, prefix)
}

// Probe implements [Prober]. It first tests whether files can be made in Dir. It
// then asks a Secret Service whether it has an unlocked default keyring. If the
// keyring is locked and there is a display, the user is prompted to unlock it. On
// macOS and Windows, Probe writes, reads and deletes an item, because nothing
// less shows whether that works.
func (k *Keyring) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer op.end()
	if err := securefile.Probe(string(op.files)); err != nil {
		return unavailable(err)
	}
	if err := op.lockWrites(probeKey); err != nil {
		return err
	}
	if probeByWriting {
		err := op.change(func() error { return op.set(op.service, probeKey, itemText) })
		if err != nil {
			return err
		}
	} else if !op.locked {
		return nil
	}
	// Reading unlocks a Secret Service, even if there is no such item.
	if _, err := op.item(probeKey); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if probeByWriting {
		// A program with another Dir may have probed too, and deleted it.
		err := op.change(func() error { return op.remove(op.service, probeKey) })
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// Prompts implements [Prompter]. A locked Secret Service prompts for its password.
// KeePassXC may also prompt before an item is replaced, whatever its settings are
// (version 2.7.4 always does, once for each item and program), and so may any
// service at which an earlier write of this Keyring had to wait for the user. On
// macOS nothing tells, so Prompts returns false.
func (k *Keyring) Prompts(ctx context.Context) (get, put bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, false, err
	}
	op, err := k.begin(ctx)
	if err != nil {
		return false, false, err
	}
	defer op.end()
	if op.locked {
		return true, true, nil
	}
	if k.prompted.Load() {
		return false, true, nil
	}
	opened, asking := op.keychain, op.ctx
	err = op.brief(func() (err error) { put, err = opened.confirmsWrites(asking); return err })
	if err != nil {
		return false, false, err
	}
	return false, put, nil
}

// probeKey cannot be the key of a caller, because it has an underscore.
const probeKey = "probe_"

// Lock implements [Shared] with a file lock in Dir. It does not call the
// keychain.
func (k *Keyring) Lock(
	ctx context.Context, key string,
) (held context.Context, unlock func() error, err error) {
	files, _, err := k.location()
	if err != nil {
		return nil, nil, err
	}
	return files.lock(ctx, key)
}

// ReadJournal implements [Shared] with a file in Dir. It does not call the
// keychain.
func (k *Keyring) ReadJournal(ctx context.Context, key string) ([]byte, error) {
	files, _, err := k.location()
	if err != nil {
		return nil, err
	}
	return files.readJournal(ctx, key)
}

// WriteJournal implements [Shared] with a file in Dir. It does not call the
// keychain.
func (k *Keyring) WriteJournal(ctx context.Context, key string, data []byte) error {
	files, _, err := k.location()
	if err != nil {
		return err
	}
	return files.writeJournal(ctx, key, data)
}

// location returns the directory of this store and the service name of its items.
func (k *Keyring) location() (files folder, service string, err error) {
	dir := k.Dir
	if dir == "" {
		if dir, err = stateDir(); err != nil {
			return "", "", err
		}
	}
	service = serviceName(k.Service)
	return folder(filepath.Join(dir, "keyring-"+service+".d")), service, nil
}

// serviceName returns a name that every keychain reads correctly. Two different
// services never have the same name.
func serviceName(s string) string {
	const hashed = "sha256-"
	switch {
	case s == "":
		return "nativeoauth"
	case len(s) <= 64 && plainName(s) && (len(s) < len(hashed) || s[:len(hashed)] != hashed):
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return hashed + hex.EncodeToString(sum[:])
}

func (k *Keyring) itemLimit(service, key string) int {
	if k.limit > 0 {
		return k.limit
	}
	return systemLimit(service, key)
}
