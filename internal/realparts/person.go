//go:build linux

package realparts

import (
	"time"

	"github.com/godbus/dbus/v5"
)

// DismissPrompts puts a person before gnome-keyring's prompts, who looks at each and then dismisses it. gnome-keyring leaves it to another
// program to show them (gcr-prompter); this is one without a display.
func (s *Session) DismissPrompts(look func()) {
	s.tb.Helper()
	conn, err := dbus.Connect(s.Address)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = conn.Close() })
	if err = conn.Export(prompter{conn, look}, "/org/gnome/keyring/Prompter", "org.gnome.keyring.internal.Prompter"); err == nil {
		_, err = conn.RequestName("org.gnome.keyring.SystemPrompter", dbus.NameFlagDoNotQueue)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

type prompter struct {
	conn *dbus.Conn
	look func()
}

func (p prompter) BeginPrompting(from dbus.Sender, callback dbus.ObjectPath) *dbus.Error {
	go func() {
		time.Sleep(50 * time.Millisecond) // until gnome-keyring has our reply
		p.ready(from, callback, "")
	}()
	return nil
}

func (p prompter) PerformPrompt(from dbus.Sender, callback dbus.ObjectPath, _ string, _ map[string]dbus.Variant, _ string) *dbus.Error {
	go func() {
		p.look()
		p.ready(from, callback, "no")
	}()
	return nil
}

func (p prompter) StopPrompting(from dbus.Sender, callback dbus.ObjectPath) *dbus.Error {
	go p.conn.Object(string(from), callback).Call("org.gnome.keyring.internal.Prompter.Callback.PromptDone", 0)
	return nil
}

// ready asks for the next prompt, and tells how the last one ended.
func (p prompter) ready(from dbus.Sender, callback dbus.ObjectPath, reply string) {
	p.conn.Object(string(from), callback).Call("org.gnome.keyring.internal.Prompter.Callback.PromptReady", 0, reply, map[string]dbus.Variant{}, "")
}
