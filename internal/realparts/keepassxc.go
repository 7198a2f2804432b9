//go:build linux

package realparts

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// KeePassXCSettings are the settings that decide when KeePassXC prompts. The zero
// value has an open database and confirms nothing that can be switched off.
type KeePassXCSettings struct {
	NoDatabase    bool // none was opened, as after the first start
	Locked        bool // the database is locked; the password is [KeyringPassword]
	ConfirmAccess bool // a program's first read of an item is confirmed
}

// KeePassXC is a real KeePassXC that serves the Secret Service of a [Session] and
// shows its dialogs on a display of its own. The methods play the user.
type KeePassXC struct {
	*Session
	settings KeePassXCSettings
	display  string
	dir      string
}

// The dialogs of KeePassXC, by their titles.
const (
	accessDialog = "Access Request"
	unlockDialog = "Unlock Database"
)

// StartKeePassXC starts a session with KeePassXC and an empty database. It needs
// keepassxc, Xvfb and xdotool (see [Need]).
func StartKeePassXC(tb testing.TB, settings KeePassXCSettings) *KeePassXC {
	tb.Helper()
	Need(tb, "keepassxc", "keepassxc-cli", "Xvfb", "xdotool")
	k := &KeePassXC{Session: SecretService(tb, NoService), settings: settings}
	k.dir = filepath.Dir(k.Home)
	k.startDisplay()
	k.makeDatabase()
	k.write(filepath.Join(k.dir, "keepassxc.ini"), fmt.Sprintf(`[General]
ConfigVersion=2
SingleInstance=false
UpdateCheckMessageShown=true
[GUI]
CheckForUpdates=false
[FdoSecrets]
Enabled=true
ShowNotification=false
ConfirmDeleteItem=false
ConfirmAccessItem=%v
`, settings.ConfirmAccess))
	args := []string{
		"--config", filepath.Join(k.dir, "keepassxc.ini"),
		"--localconfig", filepath.Join(k.dir, "local.ini"),
	}
	var password io.Reader
	if !settings.NoDatabase {
		args = append(args, k.database())
	}
	if !settings.NoDatabase && !settings.Locked {
		args = append(args, "--pw-stdin")
		password = strings.NewReader(KeyringPassword + "\n")
	}
	k.keyring = k.run(password, "keepassxc", args...)
	k.wait("KeePassXC", k.ready)
	return k
}

func (k *KeePassXC) database() string { return filepath.Join(k.dir, "passwords.kdbx") }

// startDisplay starts an X server for its window.
func (k *KeePassXC) startDisplay() {
	k.tb.Helper()
	k.display = Display(k.tb)
	k.Env = append(k.Env, "DISPLAY="+k.display, "QT_QPA_PLATFORM=xcb")
}

// makeDatabase makes an empty database whose only group is offered to the
// programs of the session. Nothing but KeePassXC's window sets that, so the
// database comes from XML.
func (k *KeePassXC) makeDatabase() {
	k.tb.Helper()
	empty := filepath.Join(k.dir, "empty.kdbx")
	k.cli("db-create", "-q", "-p", "-t", "100", empty)
	text := k.cli("export", "-q", empty)
	group := regexp.MustCompile(`<Root>\s*<Group>\s*<UUID>([^<]+)`).FindStringSubmatch(text)
	if group == nil {
		k.tb.Fatal("the exported database has no group")
	}
	id, err := base64.StdEncoding.DecodeString(group[1])
	if err != nil || len(id) != 16 {
		k.tb.Fatalf("the group has the ID %q", group[1])
	}
	h := hex.EncodeToString(id)
	exposed := fmt.Sprintf("<CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key>"+
		"<Value>{%s-%s-%s-%s-%s}</Value></Item></CustomData>", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
	xml := filepath.Join(k.dir, "database.xml")
	k.write(xml, strings.Replace(text, "</Meta>", exposed+"</Meta>", 1))
	k.cli("import", "-q", "-p", "-t", "100", xml, k.database())
}

// cli runs keepassxc-cli, which reads the password as often as it asks for it.
func (k *KeePassXC) cli(args ...string) (output string) {
	k.tb.Helper()
	cmd := exec.Command("keepassxc-cli", args...)
	cmd.Env = k.Environ()
	cmd.Stdin = strings.NewReader(KeyringPassword + "\n" + KeyringPassword + "\n")
	out, err := cmd.Output()
	if err != nil {
		k.tb.Fatalf("keepassxc-cli %s: %v", args[0], err)
	}
	return string(out)
}

// ready reports whether KeePassXC serves its database on the bus, in the wanted
// state.
func (k *KeePassXC) ready(ctx context.Context, conn *dbus.Conn) bool {
	const secrets = "org.freedesktop.secrets"
	var collection dbus.ObjectPath
	err := conn.Object(secrets, "/org/freedesktop/secrets").CallWithContext(ctx,
		"org.freedesktop.Secret.Service.ReadAlias", dbus.FlagNoAutoStart, "default").Store(&collection)
	if k.settings.NoDatabase {
		return err == nil && collection == "/"
	}
	if err != nil || collection == "/" {
		return false
	}
	var locked bool
	err = conn.Object(secrets, collection).CallWithContext(ctx,
		"org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart,
		"org.freedesktop.Secret.Collection", "Locked").Store(&locked)
	return err == nil && locked == k.settings.Locked
}

// AllowAccess waits for the dialog that asks whether the program may use an item,
// and allows it. The same program is not asked again for this item.
func (k *KeePassXC) AllowAccess() error { return k.answer(accessDialog, "key", "Return") }

// Unlock waits for the dialog that asks for the database's password, and types it.
func (k *KeePassXC) Unlock() error {
	return k.answer(unlockDialog, "type", "--delay", "20", "--args", "1", KeyringPassword, "key", "Return")
}

// DismissUnlock waits for the same dialog and closes it.
func (k *KeePassXC) DismissUnlock() error { return k.answer(unlockDialog, "key", "Escape") }

// AllowAll allows each access that is asked for, until stop is called.
func (k *KeePassXC) AllowAll() (stop func() (allowed int, err error)) {
	ctx, cancel := context.WithCancel(context.Background())
	allowed, ended := 0, make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if k.Dialogs() == 0 {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			if err := k.AllowAccess(); err != nil {
				ended <- err
				return
			}
			allowed++
		}
		ended <- nil
	}()
	return func() (int, error) {
		cancel()
		err := <-ended
		return allowed, err
	}
}

// Dialogs returns how many dialogs are open.
func (k *KeePassXC) Dialogs() int {
	out, _ := k.xdotool("search", "--onlyvisible", "--name", accessDialog+"|"+unlockDialog)
	return len(strings.Fields(out))
}

// answer waits for a dialog, gives it the keyboard, does what action says and
// waits until the dialog is gone.
func (k *KeePassXC) answer(title string, action ...string) error {
	out, err := k.xdotool("search", "--sync", "--onlyvisible", "--name", title)
	if err != nil {
		return err
	}
	window := strings.Fields(out)[0]
	time.Sleep(500 * time.Millisecond) // until the dialog has its focus in order
	if _, err := k.xdotool("windowfocus", window); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // a focus is not confirmed without a window manager
	if _, err := k.xdotool(action...); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		out, _ := k.xdotool("search", "--onlyvisible", "--name", title)
		if !strings.Contains(out, window) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the dialog %q stays open after %q", title, action)
}

func (k *KeePassXC) xdotool(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "xdotool", args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+k.display)
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("xdotool %q: %w", args, err)
	}
	return string(out), nil
}
