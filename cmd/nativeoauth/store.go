package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The values of --store.
const (
	storeKeychain = "keychain"
	storeFile     = "file"
	storeMemory   = "memory"
)

// openStore returns the store that is meant. Nothing is read yet.
func (a *app) openStore(s *settings) (tokenstore.Store, error) {
	if s.KeyFile != "" && s.Store != storeFile {
		return nil, usage("--key-file is for --store file")
	}
	switch s.Store {
	case "", storeKeychain:
		return &tokenstore.Keyring{}, nil
	case storeMemory:
		return &tokenstore.Memory{}, nil
	case storeFile:
		if s.KeyFile == "" {
			return &tokenstore.File{Key: tokenstore.Passphrase(a.askPassphrase)}, nil
		}
		key, err := tokenstore.ReadKey(s.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--key-file: %w; a new key is made with: (umask 077; openssl rand -base64 32 > %s)", err, quote(s.KeyFile))
		}
		return &tokenstore.File{Key: key}, nil
	}
	return nil, usage("--store %q is not one of keychain, file, memory", s.Store)
}

// minPassphrase is the length under which a new passphrase is refused: what it protects can be guessed at without limit.
const minPassphrase = 12

// askPassphrase asks on the terminal.
func (a *app) askPassphrase(ctx context.Context, create bool) ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !interactive(f) {
		return nil, errors.New("there is no terminal to ask for the passphrase of the sealed file on; give --key-file")
	}
	if !create {
		return a.readHidden(ctx, f, "Passphrase of the session file: ")
	}
	for {
		first, err := a.readHidden(ctx, f, fmt.Sprintf("New passphrase for the session file (%d characters or more): ", minPassphrase))
		if err != nil {
			return nil, err
		}
		if len(first) < minPassphrase {
			a.console.say("That is too short.")
			continue
		}
		second, err := a.readHidden(ctx, f, "The same again: ")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		a.console.say("The two differ.")
	}
}

// readHidden reads a line without showing it. Whatever ends it, the terminal shows again what is typed.
func (a *app) readHidden(ctx context.Context, f *os.File, prompt string) ([]byte, error) {
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	type line struct {
		text []byte
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		got <- line{text, err}
	}()
	// The prompt invites typing: it comes when what is typed is not shown any more.
	for range 1000 {
		if now, err := term.GetState(int(f.Fd())); err != nil || len(got) > 0 || !reflect.DeepEqual(now, state) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_, _ = fmt.Fprint(a.console, prompt)
	select {
	case l := <-got:
		if l.err != nil { // a terminal that vanished: its signal may be a moment behind
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		a.console.say("")
		return l.text, l.err
	case <-ctx.Done():
		_ = term.Restore(int(f.Fd()), state)
		a.console.say("")
		return nil, ctx.Err()
	}
}
