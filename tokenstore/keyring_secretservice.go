//go:build linux || netbsd || openbsd || (cgo && (freebsd || dragonfly))

package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit: a Secret Service has none, but rewrites and re-encrypts its whole keyring at each change.
func systemLimit(_, _ string) int { return 64 << 10 }

// probeByWriting: what the service says about itself is enough.
const probeByWriting = false

const (
	secretsName       = "org.freedesktop.secrets"
	secretsPath       = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService    = "org.freedesktop.Secret.Service"
	secretsCollection = "org.freedesktop.Secret.Collection"
	loginCollection   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	noObject          = dbus.ObjectPath("/")
)

const elsewhere = "; or keep the session in a tokenstore.File"

// keychain is a session bus with a secret service on it.
type keychain struct {
	conn       *dbus.Conn
	service    dbus.BusObject
	collection dbus.ObjectPath // the one that go-keyring takes
	asks       bool            // go-keyring is going to ask a person for the keyring's password
}

// lookForKeychain returns a keychain where go-keyring can be called without a surprise: that would start a session bus of its own, and
// leave one running at each call. The keychain is closed by close, or when ctx ends.
func lookForKeychain(ctx context.Context) (k keychain, err error) {
	if k.conn, err = dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx)); err != nil {
		if busAddress() == "" {
			return k, fmt.Errorf("%w: there is no session bus, as in ssh, cron or a container: DBUS_SESSION_BUS_ADDRESS is not set and /run/user/%d/bus does not exist; "+
				"sign in to a desktop session or run under dbus-run-session"+elsewhere, ErrUnavailable, os.Getuid())
		}
		return k, busError("cannot be reached", err)
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if err := k.conn.Auth(nil); err != nil {
		return k, busError("refuses this user, as under sudo", err)
	}
	if err := k.conn.Hello(); err != nil {
		return k, busError("does not answer", err)
	}
	k.service = k.conn.Object(secretsName, secretsPath)
	// Together, for each answer is a way through two other processes. What nobody answers, because the service has yet to be
	// started, is asked again.
	running := ask(ctx, k.conn.BusObject(), "org.freedesktop.DBus.NameHasOwner", secretsName)
	all := k.collections(ctx)
	started, err := startSecretService(ctx, k.conn.BusObject(), running)
	if err != nil {
		return k, err
	}
	if started {
		all = k.collections(ctx)
	}
	// Nothing else goes along before this answer: only then has gnome-keyring noted that this client is there.
	var collections []dbus.ObjectPath
	if err := answer(all, &collections); err != nil {
		return k, keychainError(err)
	}
	if k.collection = loginCollection; !slices.Contains(collections, loginCollection) {
		if k.collection, err = defaultCollection(ctx, k.service); err != nil {
			return k, err
		}
	}
	// Not the property Locked: gnome-keyring aborts when it is read by a client that is gone, as after a kill (GLib asserts that a
	// getter which fails says why). Unlock shows nothing; it names the prompt that would.
	var (
		open   []dbus.ObjectPath
		prompt dbus.ObjectPath
	)
	if err := answer(ask(ctx, k.service, secretsService+".Unlock", []dbus.ObjectPath{k.collection}), &open, &prompt); err != nil {
		return k, keychainError(err)
	}
	k.asks = !slices.Contains(open, k.collection)
	if k.asks && !hasDisplay() {
		return k, fmt.Errorf("%w: the default keyring is locked and there is no display to ask for its password on; "+
			"sign in to the desktop, or unlock it with gnome-keyring-daemon --unlock (the password on its standard input)"+elsewhere, ErrLocked)
	}
	return k, nil
}

func (k keychain) close() {
	if k.conn != nil {
		_ = k.conn.Close()
	}
}

// get is go-keyring's Get on the connection that is there, with a third of its calls. Where something is in the way that a person may clear, such as an
// item with a lock of its own, it is that Get.
func (k keychain) get(ctx context.Context, service, key string) (string, error) {
	if k.asks {
		return keyring.Get(service, key)
	}
	found := ask(ctx, k.conn.Object(secretsName, k.collection), secretsCollection+".SearchItems", map[string]string{"username": key, "service": service})
	opened := ask(ctx, k.service, secretsService+".OpenSession", "plain", dbus.MakeVariant(""))
	var (
		items   []dbus.ObjectPath
		nothing dbus.Variant
		session dbus.ObjectPath
		secret  struct {
			Session     dbus.ObjectPath
			Parameters  []byte
			Value       []byte
			ContentType string
		}
	)
	err := answer(found, &items)
	if err == nil && len(items) == 0 {
		return "", keyring.ErrNotFound
	}
	if err == nil {
		err = answer(opened, &nothing, &session) // it ends with the connection
	}
	if err == nil {
		err = answer(ask(ctx, k.conn.Object(secretsName, items[0]), "org.freedesktop.Secret.Item.GetSecret", session), &secret)
	}
	if errors.As(err, new(dbus.Error)) {
		return keyring.Get(service, key)
	}
	return string(secret.Value), err
}

// ask sends a call that starts nothing. The answer comes later.
func ask(ctx context.Context, object dbus.BusObject, method string, args ...any) *dbus.Call {
	return object.GoWithContext(ctx, method, dbus.FlagNoAutoStart, make(chan *dbus.Call, 1), args...)
}

func (k keychain) collections(ctx context.Context) *dbus.Call {
	return ask(ctx, k.service, "org.freedesktop.DBus.Properties.Get", secretsService, "Collections")
}

func answer(call *dbus.Call, to ...any) error { return (<-call.Done).Store(to...) }

// startSecretService makes sure that a secret service runs: the bus may know one that has yet to be started.
func startSecretService(ctx context.Context, bus dbus.BusObject, asked *dbus.Call) (started bool, err error) {
	var running bool
	if err := answer(asked, &running); err != nil {
		return false, busError("does not answer", err)
	}
	if running {
		return false, nil
	}
	var startable []string
	if err := bus.CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&startable); err != nil {
		return false, busError("does not answer", err)
	}
	if !slices.Contains(startable, secretsName) {
		return false, fmt.Errorf("%w: no secret service runs on the session bus; start gnome-keyring, KWallet or KeePassXC (with its Secret Service integration on)"+elsewhere, ErrUnavailable)
	}
	if err := bus.CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0, secretsName, uint32(0)).Err; err != nil {
		return false, fmt.Errorf("%w: the secret service cannot be started: %s; start it by hand to see why"+elsewhere, ErrUnavailable, wire.SafeText(err.Error(), 0))
	}
	return true, nil
}

// defaultCollection is the one that go-keyring takes where there is no login keyring.
func defaultCollection(ctx context.Context, service dbus.BusObject) (path dbus.ObjectPath, err error) {
	if err := service.CallWithContext(ctx, secretsService+".ReadAlias", 0, "default").Store(&path); err != nil {
		return "", keychainError(err)
	}
	if path == noObject || path == "" {
		return "", fmt.Errorf("%w: the secret service has no default keyring; make one (in Passwords and Keys, KWalletManager or KeePassXC), "+
			"or sign in to the desktop with a password"+elsewhere, ErrUnavailable)
	}
	return path, nil
}

func busError(problem string, err error) error {
	return fmt.Errorf("%w: the session bus at %s %s (%s); it may have ended with the session that started it: sign in again or mend DBUS_SESSION_BUS_ADDRESS"+elsewhere,
		ErrUnavailable, wire.SafeText(busAddress(), 0), problem, wire.SafeText(err.Error(), 0))
}

// busAddress is what godbus goes by after it looked: it writes what it finds to the environment.
func busAddress() string {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "autolaunch:" {
		return address
	}
	return ""
}

func hasDisplay() bool {
	return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// keychainError makes a typed error of go-keyring's. D-Bus errors carry no secret.
func keychainError(err error) error {
	text := wire.SafeText(err.Error(), 0)
	var fault dbus.Error
	switch {
	case strings.Contains(text, "failed to unlock correct collection"):
		return fmt.Errorf("%w: the keyring stayed locked, as when its prompt is dismissed or cannot be shown; unlock it and try again", ErrLocked)
	case errors.As(err, &fault) && fault.Name == "org.freedesktop.Secret.Error.IsLocked":
		return fmt.Errorf("%w: the secret service says so; unlock the keyring and try again", ErrLocked)
	default:
		return fmt.Errorf("%w: the secret service failed: %s; restart it and try again", ErrUnavailable, text)
	}
}
