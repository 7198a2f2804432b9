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

	"github.com/nativeoauth/nativeoauth/internal/neutral"
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

// lookForKeychain returns nil where go-keyring can be called without a surprise, and whether it is going to ask a person for
// the keyring's password. go-keyring itself would start a session bus of its own, and leave one running at each call.
func lookForKeychain(ctx context.Context) (asks bool, err error) {
	conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		if busAddress() == "" {
			return false, fmt.Errorf("%w: there is no session bus, as in ssh, cron or a container: DBUS_SESSION_BUS_ADDRESS is not set and /run/user/%d/bus does not exist; "+
				"sign in to a desktop session or run under dbus-run-session"+elsewhere, ErrUnavailable, os.Getuid())
		}
		return false, busError("cannot be reached", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Auth(nil); err != nil {
		return false, busError("refuses this user, as under sudo", err)
	}
	if err := conn.Hello(); err != nil {
		return false, busError("does not answer", err)
	}
	if err := startSecretService(ctx, conn.BusObject()); err != nil {
		return false, err
	}
	collection, err := defaultCollection(ctx, conn.Object(secretsName, secretsPath))
	if err != nil {
		return false, err
	}
	locked, err := property[bool](ctx, conn.Object(secretsName, collection), secretsCollection, "Locked")
	if err != nil {
		return false, err
	}
	if locked && !hasDisplay() {
		return false, fmt.Errorf("%w: the default keyring is locked and there is no display to ask for its password on; "+
			"sign in to the desktop, or unlock it with gnome-keyring-daemon --unlock (the password on its standard input)"+elsewhere, ErrLocked)
	}
	return locked, nil
}

// startSecretService makes sure that a secret service runs: the bus may know one that has yet to be started.
func startSecretService(ctx context.Context, bus dbus.BusObject) error {
	var running bool
	if err := bus.CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, secretsName).Store(&running); err != nil {
		return busError("does not answer", err)
	}
	if running {
		return nil
	}
	var startable []string
	if err := bus.CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&startable); err != nil {
		return busError("does not answer", err)
	}
	if !slices.Contains(startable, secretsName) {
		return fmt.Errorf("%w: no secret service runs on the session bus; start gnome-keyring, KWallet or KeePassXC (with its Secret Service integration on)"+elsewhere, ErrUnavailable)
	}
	if err := bus.CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0, secretsName, uint32(0)).Err; err != nil {
		return fmt.Errorf("%w: the secret service cannot be started: %s; start it by hand to see why"+elsewhere, ErrUnavailable, neutral.Text(err.Error(), 0))
	}
	return nil
}

// defaultCollection is the one that go-keyring takes.
func defaultCollection(ctx context.Context, service dbus.BusObject) (dbus.ObjectPath, error) {
	all, err := property[[]dbus.ObjectPath](ctx, service, secretsService, "Collections")
	if err != nil {
		return "", err
	}
	if slices.Contains(all, loginCollection) {
		return loginCollection, nil
	}
	var path dbus.ObjectPath
	if err := service.CallWithContext(ctx, secretsService+".ReadAlias", 0, "default").Store(&path); err != nil {
		return "", keychainError(err)
	}
	if path == noObject || path == "" {
		return "", fmt.Errorf("%w: the secret service has no default keyring; make one (in Passwords and Keys, KWalletManager or KeePassXC), "+
			"or sign in to the desktop with a password"+elsewhere, ErrUnavailable)
	}
	return path, nil
}

func property[T any](ctx context.Context, object dbus.BusObject, iface, name string) (value T, err error) {
	err = object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, name).Store(&value)
	if err != nil {
		return value, keychainError(err)
	}
	return value, nil
}

func busError(problem string, err error) error {
	return fmt.Errorf("%w: the session bus at %s %s (%s); it may have ended with the session that started it: sign in again or mend DBUS_SESSION_BUS_ADDRESS"+elsewhere,
		ErrUnavailable, neutral.Text(busAddress(), 0), problem, neutral.Text(err.Error(), 0))
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
	text := neutral.Text(err.Error(), 0)
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
