//go:build linux

package realparts

import (
	"time"

	"github.com/godbus/dbus/v5"
)

// DismissPrompts plays a user that dismisses each prompt of gnome-keyring.
// gnome-keyring leaves it to another program, gcr-prompter, to show its
// prompts. This is one without a display. It calls shown before it dismisses a
// prompt.
func (s *Session) DismissPrompts(shown func()) {
	s.tb.Helper()
	conn, err := dbus.Connect(s.Address)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = conn.Close() })
	const path, name = "/org/gnome/keyring/Prompter", "org.gnome.keyring.internal.Prompter"
	if err = conn.Export(prompter{conn, shown}, path, name); err == nil {
		_, err = conn.RequestName("org.gnome.keyring.SystemPrompter", dbus.NameFlagDoNotQueue)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
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
