//go:build linux || netbsd || openbsd || (cgo && (freebsd || dragonfly))

package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit returns the longest text of an item, in bytes. A Secret Service has
// no limit, but it encrypts and writes its whole keyring at each change.
func systemLimit(_, _ string) int { return 64 << 10 }

// probeByWriting is false because the service says whether it works.
const probeByWriting = false

// The names of the Secret Service API, version 0.2 (specifications.freedesktop.org).
const (
	secretsName       = "org.freedesktop.secrets"
	secretsPath       = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService    = "org.freedesktop.Secret.Service"
	secretsCollection = "org.freedesktop.Secret.Collection"
	secretsItem       = "org.freedesktop.Secret.Item"
	loginCollection   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	noObject          = dbus.ObjectPath("/")
	keepassxcName     = "org.keepassxc.KeePassXC.MainWindow"
)

// keychain is a connection to a session bus that has a secret service.
type keychain struct {
	conn       *dbus.Conn
	service    dbus.BusObject
	collection dbus.ObjectPath // the one that go-keyring uses
	locked     bool            // go-keyring will prompt for the keyring's password
	prompts    bool            // the same: only a locked keyring surely prompts
}

// openKeychain returns a keychain on which go-keyring works without a surprise.
// Without a session bus, go-keyring would start one at each call and leave it
// running. The keychain is closed by close, or when ctx ends.
func openKeychain(ctx context.Context, _ folder) (k keychain, err error) {
	if k.conn, err = connectSessionBus(ctx); err != nil {
		return keychain{}, err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	k.service = k.conn.Object(secretsName, secretsPath)
	locked, err := k.choose(ctx)
	if err != nil {
		return k, err
	}
	if locked && !hasDisplay() {
		return k, fmt.Errorf("%w: the default keyring is locked, and there is no display "+
			"to prompt for its password; sign in to the desktop, or unlock the keyring with "+
			"gnome-keyring-daemon --unlock (the password on its standard input)"+elsewhere,
			ErrLocked)
	}
	k.locked, k.prompts = locked, locked
	return k, nil
}

// choose finds the collection that go-keyring uses, and whether the user has to
// unlock it. Almost everywhere that is an unlocked login keyring, which takes one
// request. Many processes may wait for one service, and it answers them one after
// the other.
func (k *keychain) choose(ctx context.Context) (locked bool, err error) {
	k.collection = loginCollection
	if locked, err := k.isLocked(ctx); err == nil && !locked {
		return false, nil
	}
	// It is locked, or there is none, or no service runs.
	collections, err := k.collections(ctx)
	if err != nil {
		return false, err
	}
	if !slices.Contains(collections, loginCollection) {
		if k.collection, err = defaultCollection(ctx, k.service); err != nil {
			return false, err
		}
	}
	return k.isLocked(ctx)
}

func (k keychain) close() {
	if k.conn != nil {
		_ = k.conn.Close()
	}
}

// connectSessionBus returns a connection of its own to the session bus. It never
// starts a bus.
func connectSessionBus(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	switch {
	case err != nil && busAddress() == "":
		return nil, fmt.Errorf("%w: there is no session bus, as in ssh, cron or a container: "+
			"DBUS_SESSION_BUS_ADDRESS is not set and /run/user/%d/bus does not exist; "+
			"sign in to a desktop session or run under dbus-run-session"+elsewhere,
			ErrUnavailable, os.Getuid())
	case err != nil:
		return nil, busError("cannot be reached", err)
	}
	if err := conn.Auth(nil); err != nil {
		_ = conn.Close()
		return nil, busError("refuses this user, as under sudo", err)
	}
	if err := conn.Hello(); err != nil {
		_ = conn.Close()
		return nil, busError("does not answer", err)
	}
	return conn, nil
}

// collections returns the keyrings of the secret service, and starts the service
// if the bus knows how.
func (k keychain) collections(ctx context.Context) ([]dbus.ObjectPath, error) {
	request := func() *dbus.Call {
		return send(ctx, k.service, "org.freedesktop.DBus.Properties.Get",
			secretsService, "Collections")
	}
	// Both requests go out together, because each answer takes a detour through two
	// other processes. If the service had to be started, the second one got no
	// answer and is repeated.
	running := send(ctx, k.conn.BusObject(), "org.freedesktop.DBus.NameHasOwner", secretsName)
	reply := request()
	started, err := startSecretService(ctx, k.conn.BusObject(), running)
	if err != nil {
		return nil, err
	}
	if started {
		reply = request()
	}
	var collections []dbus.ObjectPath
	if err := receive(reply, &collections); err != nil {
		return nil, keychainError(err)
	}
	return collections, nil
}

// isLocked reports whether the user has to unlock the collection. It does not read
// the property Locked: gnome-keyring aborts if a client reads it and is gone
// before the answer, as after a kill (GLib asserts that a getter that fails says
// why). Unlock shows nothing by itself; it returns the prompt that would.
func (k keychain) isLocked(ctx context.Context) (bool, error) {
	var (
		open   []dbus.ObjectPath
		prompt dbus.ObjectPath
	)
	reply := send(ctx, k.service, secretsService+".Unlock", []dbus.ObjectPath{k.collection})
	// No other request is sent before this answer. Until then gnome-keyring has not
	// registered this client, and a second request can make it abort.
	if err := receive(reply, &open, &prompt); err != nil {
		return false, keychainError(err)
	}
	return !slices.Contains(open, k.collection), nil
}

// answers reports whether the service answers requests. If it does while a call
// of go-keyring goes on, it most likely shows a prompt: a service that hangs
// answers nothing. It is not asked with a Ping, which D-Bus libraries answer
// without the program.
func (k keychain) answers(ctx context.Context) bool {
	if k.conn == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var collection dbus.ObjectPath
	reply := send(ctx, k.service, secretsService+".ReadAlias", "default")
	return receive(reply, &collection) == nil
}

// confirmsWrites reports whether the service is KeePassXC. Nothing in the
// protocol tells that a service prompts before it replaces an item.
func (k keychain) confirmsWrites(ctx context.Context) (bool, error) {
	bus, owners := k.conn.BusObject(), [2]string{}
	for i, name := range []string{secretsName, keepassxcName} {
		reply := send(ctx, bus, "org.freedesktop.DBus.GetNameOwner", name)
		err := receive(reply, &owners[i])
		if errors.As(err, new(dbus.Error)) {
			return false, nil // nobody owns the name
		}
		if err != nil {
			return false, busError("does not answer", err)
		}
	}
	return owners[0] == owners[1], nil
}

// get does what go-keyring's Get does, on the open connection and with a third of
// the requests. If a prompt may be needed, such as for an item with its own lock,
// it uses go-keyring, which shows the prompt.
func (k keychain) get(ctx context.Context, service, key string) (string, error) {
	if k.locked {
		return libraryGet(service, key)
	}
	found := send(ctx, k.conn.Object(secretsName, k.collection), secretsCollection+".SearchItems",
		map[string]string{"username": key, "service": service})
	opened := send(ctx, k.service, secretsService+".OpenSession", "plain", dbus.MakeVariant(""))
	var (
		items   []dbus.ObjectPath
		nothing dbus.Variant
		session dbus.ObjectPath // ends with the connection
		secret  struct {
			Session     dbus.ObjectPath
			Parameters  []byte
			Value       []byte
			ContentType string
		}
	)
	err := receive(found, &items)
	if err == nil && len(items) == 0 {
		return "", ErrNotFound
	}
	if err == nil {
		err = receive(opened, &nothing, &session)
	}
	if err == nil {
		item := k.conn.Object(secretsName, items[0])
		err = receive(send(ctx, item, secretsItem+".GetSecret", session), &secret)
	}
	if errors.As(err, new(dbus.Error)) {
		return libraryGet(service, key)
	}
	return string(secret.Value), err
}

// send sends a request that starts no service. Use receive for its answer.
func send(ctx context.Context, object dbus.BusObject, method string, args ...any) *dbus.Call {
	reply := make(chan *dbus.Call, 1)
	return object.GoWithContext(ctx, method, dbus.FlagNoAutoStart, reply, args...)
}

func receive(call *dbus.Call, to ...any) error { return (<-call.Done).Store(to...) }

// startSecretService makes sure that a secret service runs. The call running is a
// NameHasOwner request that was sent before.
func startSecretService(
	ctx context.Context, bus dbus.BusObject, running *dbus.Call,
) (started bool, err error) {
	var runs bool
	if err := receive(running, &runs); err != nil {
		return false, busError("does not answer", err)
	}
	if runs {
		return false, nil
	}
	var startable []string
	err = bus.CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&startable)
	if err != nil {
		return false, busError("does not answer", err)
	}
	if !slices.Contains(startable, secretsName) {
		return false, fmt.Errorf("%w: no secret service runs on the session bus; "+
			"start gnome-keyring, KWallet or KeePassXC (with its Secret Service integration on)"+
			elsewhere, ErrUnavailable)
	}
	err = bus.CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0,
		secretsName, uint32(0)).Err
	if err != nil {
		return false, fmt.Errorf("%w: the secret service cannot be started: %s; "+
			"start it by hand to see why"+elsewhere,
			ErrUnavailable, wire.SafeText(err.Error(), 0))
	}
	return true, nil
}

// defaultCollection returns the keyring that go-keyring uses if there is no login
// keyring.
func defaultCollection(
	ctx context.Context, service dbus.BusObject,
) (path dbus.ObjectPath, err error) {
	err = service.CallWithContext(ctx, secretsService+".ReadAlias", 0, "default").Store(&path)
	if err != nil {
		return "", keychainError(err)
	}
	if path == noObject || path == "" {
		return "", fmt.Errorf("%w: the secret service has no default keyring; "+
			"make one (in Passwords and Keys, KWalletManager or KeePassXC), "+
			"or sign in to the desktop with a password"+elsewhere, ErrUnavailable)
	}
	return path, nil
}

// busError is about a bus that has an address and does not work.
func busError(problem string, err error) error {
	return fmt.Errorf("%w: the session bus at %s %s (%s); "+
		"it may have ended with the session that started it: "+
		"sign in again or correct DBUS_SESSION_BUS_ADDRESS"+elsewhere,
		ErrUnavailable, wire.SafeText(busAddress(), 0), problem, wire.SafeText(err.Error(), 0))
}

// busAddress returns the address that godbus used, or "" if it found none. godbus
// writes an address that it finds to the environment.
func busAddress() string {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "autolaunch:" {
		return address
	}
	return ""
}

// hasDisplay reports whether the service can show a prompt. Without a display
// gnome-keyring would wait for ever.
func hasDisplay() bool {
	return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// keychainError returns one of this package's errors for one of go-keyring's. The
// text of a D-Bus error contains no secret.
func keychainError(err error) error {
	text := wire.SafeText(err.Error(), 0)
	var fault dbus.Error
	switch {
	// go-keyring has no typed error for this.
	case strings.Contains(text, "failed to unlock correct collection"):
		return fmt.Errorf("%w: the keyring stayed locked; "+
			"its prompt was dismissed or cannot be shown; unlock it and try again", ErrDismissed)
	case errors.As(err, &fault) && fault.Name == "org.freedesktop.Secret.Error.IsLocked":
		return fmt.Errorf("%w: the secret service says so; "+
			"unlock the keyring and try again", ErrLocked)
	default:
		return fmt.Errorf("%w: the secret service failed: %s; restart it and try again",
			ErrUnavailable, text)
	}
}
