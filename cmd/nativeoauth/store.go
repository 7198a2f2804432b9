package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/words"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The values of --store.
const (
	storeKeychain = "keychain"
	storeFile     = "file"
	storeMemory   = "memory"
)

// openStore returns the store for s. It reads the key file, but not the store.
func (a *app) openStore(s *settings) (tokenstore.Store, error) {
	if s.KeyFile != "" && s.Store != storeFile {
		return nil, usage("--key-file is for --store file")
	}
	switch s.Store {
	case "", storeKeychain: // never a silent fallback to a file
		return a.keychain(), nil
	case storeMemory:
		return &tokenstore.Memory{}, nil
	case storeFile:
		if s.KeyFile == "" {
			return tokenstore.NewFile("", tokenstore.Passphrase(a.askPassphrase)), nil
		}
		key, err := a.readKey(s)
		if err != nil {
			return nil, err
		}
		return tokenstore.NewFile("", key), nil
	}
	return nil, usage("--store %q is not one of keychain, file, memory", s.Store)
}

// keychain returns the system's keychain. The user may not see its prompt, such as
// behind another window, so the command says what it waits for, once.
func (a *app) keychain() *tokenstore.Keyring {
	return &tokenstore.Keyring{OnPrompt: sync.OnceFunc(func() {
		a.console.say("%s", a.console.words.Keychain)
	})}
}

// readKey reads the key file of s, once in a run: a descriptor can be read only once.
func (a *app) readKey(s *settings) (tokenstore.Key, error) {
	path := s.KeyFile
	if key, ok := a.keys[path]; ok {
		return key, nil
	}
	if path == "-" || path == "/dev/stdin" {
		switch {
		case s.ClientSecretFile == "-":
			return tokenstore.Key{}, usage(
				"--key-file and --client-secret-file cannot both read standard input")
		case interactive(a.stdin): // the terminal would show the key
			return tokenstore.Key{}, usage(
				"--key-file %s is a terminal; give a file or a pipe", path)
		}
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		// Only a missing file: the command would replace the key of a session that is there.
		return tokenstore.Key{}, fmt.Errorf("--key-file: there is no file %s; "+
			"make a new key with: %s", securefile.Quote(path), newKeyCommand(runtime.GOOS, path))
	}
	key, err := tokenstore.ReadKey(path)
	if err != nil {
		return tokenstore.Key{}, fmt.Errorf("--key-file: %w", err)
	}
	if a.keys == nil {
		a.keys = map[string]tokenstore.Key{}
	}
	a.keys[path] = key
	return key, nil
}

// isStream reports whether the key came from standard input or another descriptor,
// which the next run does not have.
func isStream(path string) bool { return path == "-" || securefile.Inherited(path) }

// minPassphrase is the minimum length of a new passphrase, in bytes. A thief of the
// file can try passphrases without limit.
const minPassphrase = 12

// askPassphrase prompts for the passphrase on the terminal, twice for a new one.
func (a *app) askPassphrase(ctx context.Context, create bool) ([]byte, error) {
	// A passphrase from a pipe would end up in a script. A key file is made for that.
	f, ok := a.stdin.(*os.File)
	if !ok || !interactive(f) {
		return nil, errors.New("the passphrase of the session file cannot be typed " +
			"without a terminal; give --key-file")
	}
	if !create {
		return a.readHidden(ctx, f, a.console.words.Passphrase)
	}
	for {
		first, err := a.readHidden(ctx, f, words.Fill(
			a.console.words.New, "count", strconv.Itoa(minPassphrase)))
		if err != nil {
			return nil, err
		}
		if len(first) < minPassphrase {
			a.console.say("%s", a.console.words.TooShort)
			continue
		}
		second, err := a.readHidden(ctx, f, a.console.words.Again)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(first, second) {
			return first, nil
		}
		a.console.say("%s", a.console.words.NotTheSame)
	}
}

// readHidden reads a line without showing it. However it ends, the terminal echoes
// again afterwards.
func (a *app) readHidden(ctx context.Context, f *os.File, prompt string) ([]byte, error) {
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	type line struct {
		text []byte
		err  error
	}
	// A read of a terminal cannot be cancelled. After a signal its goroutine stays until
	// the process ends, so the terminal is restored here.
	got := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		got <- line{text, err}
	}()
	// The prompt invites the user to type, so it is printed when the terminal no longer
	// echoes.
	for range 1000 {
		now, err := term.GetState(int(f.Fd()))
		if err != nil || len(got) > 0 || *now != *state {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_, _ = fmt.Fprint(a.console, prompt)
	select {
	case l := <-got:
		if l.err != nil { // the terminal is gone, and its SIGHUP may come a moment later
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
