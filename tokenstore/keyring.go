package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// Keyring is the operating system's keychain: macOS Keychain, Windows Credential Manager, or the Secret Service
// (gnome-keyring, KWallet, KeePassXC) on Linux and the BSDs. The zero Keyring is ready; its methods are safe for
// concurrent use. Do not copy one after use.
//
// Where there is no keychain, every call fails with [ErrUnavailable] and says why and what to do: no session bus, an address
// that leads nowhere, no secret service, no default keyring. A keychain that only a person can unlock, with no
// display to ask on, is [ErrLocked]. Nothing is kept anywhere else instead.
//
// A value too large for an item of the system's keychain (2,560 bytes on Windows, about 2,900 on macOS) is sealed with
// AES-256-GCM in a file of Dir, a new file under a new key for each Put; the item then holds that key. Whether small or
// large, what a Put replaces stays readable until the new item was read back.
//
// # What it does not do
//
// It does not keep apart programs of the same user: on every system here, another program of that user can read the
// items. And it cannot take back a call to a keychain that hangs: see [Pending].
type Keyring struct {
	// Service sets items of one program apart from others'; "" is "nativeoauth". One that is not of [a-z0-9.-], or is longer than
	// 64 bytes, is hashed, because keychains quote names badly and Windows takes "A" for "a".
	Service string
	// Dir is where locks, records, index rows and sealed files lie, none of which is a secret by itself. "" is nativeoauth
	// under ~/.local/state, on macOS under ~/Library/Application Support, on Windows under AppData\Local. All processes
	// that share a session need the same.
	Dir string
	// Timeout bounds each call. 0 is 3 seconds; where the keychain is locked and there is a display to ask a person on, 60. A
	// call first waits, as long as its ctx does, for calls on the same Keyring that came before it.
	Timeout time.Duration

	gate  gate
	limit int // of an item's text, in bytes; 0: the system's

	beforeChange func() // nil but in tests, which stop the daemon here
}

var (
	_ Store    = (*Keyring)(nil)
	_ Lister   = (*Keyring)(nil)
	_ Locker   = (*Keyring)(nil)
	_ Prober   = (*Keyring)(nil)
	_ Recorder = (*Keyring)(nil)
)

const (
	unattended = 3 * time.Second
	attended   = time.Minute
)

// String names the store for a person.
func (k *Keyring) String() string { return "keychain" }

// Get implements [Store]. A value whose sealed file is gone is ErrDamaged: there is one, and nobody can open it.
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
	// Losing the index loses the listing, not the session; and mending it is worth no error.
	_ = op.files.addRow(key)
	return data, nil
}

// Put implements [Store].
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
	if err := op.change(func() error { return keyring.Set(op.service, key, text) }); err != nil {
		return err
	}
	// A Secret Service whose prompt is dismissed reports success and stores nothing.
	switch back, err := op.item(key); {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("tokenstore: reading back what was stored: %w", err)
	case back != text:
		return fmt.Errorf("%w: the keychain did not keep the value, as when its prompt is dismissed; try again and confirm it", ErrLocked)
	}
	op.sweep(key, it.file)
	return nil
}

// Delete implements [Store].
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
	// Deleting, too, reports success when its prompt is dismissed. And a keychain that was merged with another can
	// hold an item twice.
	for range 5 {
		err := op.change(func() error { return keyring.Delete(op.service, key) })
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
	return fmt.Errorf("%w: the keychain did not delete the item, as when its prompt is dismissed; try again and confirm it", ErrLocked)
}

// List implements [Lister], from the index in Dir: the keychain is not asked. A key whose Put or Delete was cut short can be
// listed without having a value. One that another Dir or a lost index hides is listed again once it was read.
func (k *Keyring) List(ctx context.Context, prefix string) ([]string, error) {
	files, _, err := k.place()
	if err != nil {
		return nil, err
	}
	return files.listRows(ctx, prefix)
}

// Lock implements [Locker] with a file lock in Dir. The keychain is not asked.
func (k *Keyring) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	files, _, err := k.place()
	if err != nil {
		return nil, nil, err
	}
	return files.lock(ctx, key)
}

// ReadRecord implements [Recorder].
func (k *Keyring) ReadRecord(ctx context.Context, key string) ([]byte, error) {
	files, _, err := k.place()
	if err != nil {
		return nil, err
	}
	return files.readRecord(ctx, key)
}

// WriteRecord implements [Recorder].
func (k *Keyring) WriteRecord(ctx context.Context, key string, data []byte) error {
	files, _, err := k.place()
	if err != nil {
		return err
	}
	return files.writeRecord(ctx, key, data)
}

// Probe implements [Prober]. It tries whether files can be made in Dir. With a Secret Service it then asks the bus, the service
// and the keyring whether they are there and unlocked, and stores nothing; where the keyring is locked and a person can be
// asked, the person is asked now, before anything depends on it. The other systems can only be tried: an item is written,
// read and deleted.
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
		err := op.change(func() error { return keyring.Set(op.service, probeKey, itemText) })
		if err != nil {
			return err
		}
	} else if !op.asks {
		return nil
	}
	// Reading unlocks, whether there is such an item or not.
	if _, err := op.item(probeKey); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if probeByWriting {
		return op.change(func() error { return keyring.Delete(op.service, probeKey) })
	}
	return nil
}

// probeKey is no key of a caller's: they have no '_'.
const probeKey = "probe_"

// place is where this store's items and files are.
func (k *Keyring) place() (files folder, service string, err error) {
	dir := k.Dir
	if dir == "" {
		if dir, err = stateDir(); err != nil {
			return "", "", err
		}
	}
	service = serviceName(k.Service)
	return folder(filepath.Join(dir, "keyring-"+service+".d")), service, nil
}

// serviceName is a name that no keychain misreads, and that no two different Services share.
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

// operation is one call of a Store method: a turn at the gate, with a deadline.
type operation struct {
	*turn
	ctx     context.Context // ends when the caller's does or the time is up
	cancel  context.CancelFunc
	service string
	files   folder
	bound   time.Duration
	keychain

	beforeChange func()
}

// errTimeUp is the cause of an operation's ctx where it was not the caller's.
var errTimeUp = errors.New("time is up")

// begin waits for its turn and looks whether the keychain is there before go-keyring is called, which would start a bus of
// its own, or wait for ever, or report what nobody can tell apart.
func (k *Keyring) begin(ctx context.Context) (*operation, error) {
	files, service, err := k.place()
	if err != nil {
		return nil, err
	}
	turn, err := k.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	op := &operation{turn: turn, service: service, files: files, bound: k.Timeout, beforeChange: k.beforeChange}
	if op.bound <= 0 {
		op.bound = unattended
	}
	started := time.Now()
	op.ctx, op.cancel = context.WithTimeoutCause(ctx, op.bound, errTimeUp)
	if err := op.look(); err != nil {
		op.end()
		return nil, err
	}
	if op.asks && k.Timeout <= 0 {
		op.cancel()
		op.bound = attended
		op.ctx, op.cancel = context.WithDeadlineCause(ctx, started.Add(op.bound), errTimeUp)
	}
	return op, nil
}

func (op *operation) end() {
	op.close()
	op.cancel()
	op.leave()
}

func (op *operation) look() error {
	var found keychain
	looking := op.ctx
	err := op.brief(func() (err error) { found, err = lookForKeychain(looking); return err })
	if err == nil {
		op.keychain = found
	}
	return err
}

// brief is call for what ends by itself soon after the time is up, unlike go-keyring's calls, and gets a moment for that: the gate stays open.
func (op *operation) brief(f func() error) error {
	waiting, stop := context.WithCancel(context.WithoutCancel(op.ctx))
	defer stop()
	defer context.AfterFunc(op.ctx, func() {
		select {
		case <-time.After(200 * time.Millisecond):
			stop()
		case <-waiting.Done():
		}
	})()
	_, err := op.attempt(waiting, f)
	return err
}

// change is call for what may still change something after op has given it up.
func (op *operation) change(f func() error) error {
	if op.beforeChange != nil {
		op.beforeChange()
	}
	done, err := op.attempt(op.ctx, f)
	if done != nil {
		return &Pending{Err: err, Done: done}
	}
	return err
}

func (op *operation) attempt(waiting context.Context, f func() error) (done <-chan struct{}, err error) {
	if op.ctx.Err() != nil {
		return nil, op.timeUp()
	}
	done, err = op.call(waiting, f)
	switch {
	case done != nil, err != nil && op.ctx.Err() != nil:
		return done, op.timeUp()
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrLocked):
		return nil, err
	case errors.Is(err, keyring.ErrNotFound):
		return nil, ErrNotFound
	}
	return nil, keychainError(err)
}

// timeUp tells whose time was up.
func (op *operation) timeUp() error {
	switch {
	case context.Cause(op.ctx) != errTimeUp:
		return fmt.Errorf("tokenstore: keychain: %w", op.ctx.Err())
	case op.asks:
		return fmt.Errorf("%w: nobody answered the keychain's prompt within %v; unlock it and try again", ErrLocked, op.bound)
	}
	return fmt.Errorf("%w: the keychain did not answer within %v; it hangs or asks a person: look for a prompt, or restart it", ErrUnavailable, op.bound)
}

// item reads the item's text.
func (op *operation) item(key string) (string, error) {
	var text string
	reading, found := op.ctx, op.keychain
	if err := op.brief(func() (err error) { text, err = found.get(reading, op.service, key); return err }); err != nil {
		return "", err
	}
	return text, nil
}

// lockWrites keeps other writers of key away until op ends, or the call that it gave up on: one writer's sweep would delete
// the file for which another has yet to write the item. It is not the lock of [Locker], which the caller may hold.
func (op *operation) lockWrites(key string) error {
	unlock, err := securefile.Lock(op.ctx, op.files.file(key, "write"))
	switch {
	case err != nil && op.ctx.Err() == nil:
		return unavailable(err)
	case err != nil && context.Cause(op.ctx) == errTimeUp:
		return fmt.Errorf("%w: another process has been writing this value for %v; see whether the keychain asks a person there, or hangs", ErrBusy, op.bound)
	case err != nil:
		return fmt.Errorf("tokenstore: %w", op.ctx.Err())
	}
	op.later(func() { _ = unlock() })
	return nil
}

// value reads the item, and the file where that holds the value. A writer may replace both between the two: then the file is
// gone, and the next item names another.
func (op *operation) value(key string) ([]byte, error) {
	for delay := time.Millisecond; ; delay *= 2 {
		text, err := op.item(key)
		if err != nil {
			return nil, err
		}
		it, err := decodeItem(text)
		if err != nil || it.data != nil {
			return it.data, err
		}
		data, err := op.readSealed(key, it)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
		if delay > 100*time.Millisecond {
			return nil, fmt.Errorf("%w: the file that holds it, %s, is missing", ErrDamaged, op.sealedFile(key, it.file))
		}
		select {
		case <-time.After(delay):
		case <-op.ctx.Done():
			return nil, op.timeUp()
		}
	}
}
