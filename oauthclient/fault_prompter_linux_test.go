//go:build linux

package oauthclient_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

// dismissPrompts plays a user that dismisses each prompt of gnome-keyring.
// gnome-keyring leaves it to another program, gcr-prompter, to show its
// prompts. This is one without a display. It calls shown before it dismisses a
// prompt.
func dismissPrompts(t *testing.T, s *realparts.Session, shown func()) {
	t.Helper()
	conn, err := dbus.Connect(s.Address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	const path, name = "/org/gnome/keyring/Prompter", "org.gnome.keyring.internal.Prompter"
	require.NoError(t, conn.Export(prompter{conn, shown}, path, name))
	_, err = conn.RequestName("org.gnome.keyring.SystemPrompter", dbus.NameFlagDoNotQueue)
	require.NoError(t, err)
}

// prompter implements org.gnome.keyring.internal.Prompter, the D-Bus interface
// between gnome-keyring and gcr-prompter. Its methods return before they call
// back, because gnome-keyring waits for their reply first.
type prompter struct {
	conn  *dbus.Conn
	shown func()
}

// BeginPrompting announces a prompt.
func (p prompter) BeginPrompting(from dbus.Sender, callback dbus.ObjectPath) *dbus.Error {
	go func() {
		time.Sleep(50 * time.Millisecond) // until gnome-keyring has our reply
		p.ready(from, callback, "")
	}()
	return nil
}

// PerformPrompt shows a prompt. This one is dismissed.
func (p prompter) PerformPrompt(
	from dbus.Sender, callback dbus.ObjectPath, _ string, _ map[string]dbus.Variant, _ string,
) *dbus.Error {
	go func() {
		p.shown()
		p.ready(from, callback, "no")
	}()
	return nil
}

// StopPrompting ends a prompt.
func (p prompter) StopPrompting(from dbus.Sender, callback dbus.ObjectPath) *dbus.Error {
	go p.conn.Object(string(from), callback).Call(promptCallback+".PromptDone", 0)
	return nil
}

const promptCallback = "org.gnome.keyring.internal.Prompter.Callback"

// ready says how the last prompt ended ("" before the first), and asks for the
// next one.
func (p prompter) ready(from dbus.Sender, callback dbus.ObjectPath, reply string) {
	p.conn.Object(string(from), callback).
		Call(promptCallback+".PromptReady", 0, reply, map[string]dbus.Variant{}, "")
}

// A prompt of the real gnome-keyring is shown to the user and dismissed.
func TestDismissPrompts(t *testing.T) {
	t.Parallel()
	tool := realparts.Need(t, "secret-tool")[0]
	s := realparts.SecretService(t, realparts.Locked)
	shown := make(chan struct{}, 10)
	dismissPrompts(t, s, func() { shown <- struct{}{} })
	store := exec.Command(tool, "store", "--label=x", "a", "b")
	store.Env = append(s.Environ(), "DISPLAY=:99")
	store.Stdin = strings.NewReader("secret")
	store.WaitDelay = time.Second
	out, err := store.CombinedOutput()
	t.Logf("%s", out)
	require.Error(t, err)
	require.Len(t, shown, 1)
}
