package tokenstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// securityTool is Apple's security(1). The API of the Keychain would need cgo.
const securityTool = "/usr/bin/security"

// maxLine is the longest line that security(1) reads from its standard input, with
// its end. It takes the rest of a longer line for another command. If that is only
// the line's end, the empty command succeeds, and with it a write that failed.
const maxLine = 4095

// itemBase64 begins an item as go-keyring writes it, so that other programs can
// read it. security(1) prints a password in hexadecimal if it is not plain text.
const itemBase64 = "go-keyring-base64:"

// systemLimit returns the longest text of an item, in bytes. The command that
// stores it is one line, and has the text in base64.
func systemLimit(service, key string) int {
	return (maxLine - len(storeCommand(service, key, ""))) / 4 * 3
}

// storeCommand returns the line that stores an item. Neither name needs quotes; see
// serviceName.
func storeCommand(service, key, text string) string {
	return "add-generic-password -U -s " + service + " -a " + key + " -w " +
		itemBase64 + base64.StdEncoding.EncodeToString([]byte(text)) + "\n"
}

// probeByWriting is true because a locked keychain answers a read without being
// unlocked if it has no such item.
const probeByWriting = true

// keychain is the default keychain of the user. Nothing is kept open between calls.
type keychain struct {
	locked  bool // known to be; always false here
	prompts bool // the system may prompt the user in any call
	files   folder
}

// openKeychain always finds a keychain. Outside of ssh it may prompt the user, for
// the keychain's password or for permission to let security(1) read an item.
func openKeychain(_ context.Context, files folder) (keychain, error) {
	return keychain{prompts: os.Getenv("SSH_CONNECTION") == "", files: files}, nil
}

func (keychain) close() {}

// answers is false because nothing tells a prompt from a keychain that hangs.
func (keychain) answers(context.Context) bool { return false }

func (keychain) confirmsWrites(context.Context) (bool, error) { return false, nil }

// get ends security(1) when ctx ends. That changes nothing.
func (k keychain) get(ctx context.Context, service, key string) (string, error) {
	if err := k.awaitLate(ctx, key); err != nil {
		return "", err
	}
	cmd := security(ctx, "find-generic-password", "-s", service, "-a", key, "-w")
	var out bytes.Buffer
	cmd.Stdout = &out // without stderr, which may have warnings
	if err := cmd.Run(); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(out.String(), "\n")
	encoded, ok := strings.CutPrefix(text, itemBase64)
	if !ok {
		return text, nil // of another program; see decodeItem
	}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return text, nil
	}
	return string(data), nil
}

// set passes the text through a pipe. Any user can read the arguments of a program.
func (k keychain) set(service, key, text string) error {
	command := storeCommand(service, key, text)
	if len(command) > maxLine {
		return errors.New("the command for security(1) is too long")
	}
	cmd := security(context.Background(), "-i")
	cmd.Stdin = strings.NewReader(command)
	cmd.Stdout = io.Discard
	return k.change(cmd, key)
}

func (k keychain) remove(service, key string) error {
	cmd := security(context.Background(), "delete-generic-password", "-s", service, "-a", key)
	return k.change(cmd, key)
}

// change runs a command that changes the item of key. If this process is killed, the
// command goes on, and may wait for the user as long as it likes. So it inherits a
// lock, and nobody changes or reads the item before it has ended. Otherwise it
// could replace a newer refresh token by an older one.
//
// The caller holds the lock of all writers, so only such a late command is waited
// for. If the caller gives up meanwhile, its own change is late too.
func (k keychain) change(cmd *exec.Cmd, key string) error {
	held, err := k.openLate(key, os.O_RDWR|os.O_CREATE)
	if err == nil {
		defer held.Close()
		err = flock(held, syscall.LOCK_EX)
	}
	if err != nil {
		return unavailable(err)
	}
	cmd.ExtraFiles = []*os.File{held}
	return cmd.Run()
}

// awaitLate waits until no command that a dead process has left changes the item of
// key. It does not wait for the command of a process that lives: until that has
// ended, the old value is the right one.
func (k keychain) awaitLate(ctx context.Context, key string) error {
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		f, err := k.openLate(key, os.O_RDONLY)
		if err != nil {
			return nil // nothing was ever written under this key
		}
		err = flock(f, syscall.LOCK_SH|syscall.LOCK_NB)
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		unlock, ok, err := securefile.TryLock(k.files.file(key, "write"))
		if err != nil || !ok {
			return nil
		}
		_ = unlock()
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openLate opens the lock file of the commands that change the item of key.
func (k keychain) openLate(key string, flag int) (*os.File, error) {
	return os.OpenFile(k.files.file(key, "late"), flag|syscall.O_NOFOLLOW, 0o600)
}

// flock ends with the last process that has the file open. It does not use
// LOCK_UN, which would end it for a child too.
func flock(f *os.File, how int) (err error) {
	for {
		if err = syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// security returns a run of security(1). It is in a process group of its own:
// Ctrl-C, which a terminal sends to the whole group, would end it in the middle of
// a Put. The Put may be that of a refresh token that the provider has just rotated.
func security(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, securityTool, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// keychainError interprets the exit status of security(1), which is the low byte
// of an OSStatus. The texts that it prints are in the user's language.
func keychainError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%w: security(1) failed: %s",
			ErrUnavailable, wire.SafeText(err.Error(), 0))
	}
	switch exit.ExitCode() {
	case 44: // errSecItemNotFound
		return ErrNotFound
	case 36: // errSecInteractionNotAllowed
		return fmt.Errorf("%w: the keychain cannot prompt for its password here, as over ssh; "+
			"run security unlock-keychain first"+elsewhere, ErrLocked)
	case 45: // errSecDuplicateItem: it could be neither replaced nor made
		return fmt.Errorf("%w: the keychain did not let its item be replaced; "+
			"try again and allow it, or delete the item in Keychain Access", ErrDismissed)
	case 51: // errSecAuthFailed
		return fmt.Errorf("%w: the keychain's password was wrong; try again", ErrLocked)
	case 128: // errSecUserCanceled
		return fmt.Errorf("%w: the keychain's prompt was dismissed; "+
			"try again and allow it", ErrDismissed)
	case 37, 50: // errSecNoDefaultKeychain, errSecNoSuchKeychain
		return fmt.Errorf("%w: there is no default keychain; "+
			"choose one in Keychain Access"+elsewhere, ErrUnavailable)
	case -1:
		return fmt.Errorf("%w: security(1) was ended by a signal; try again", ErrUnavailable)
	case 1, 2: // its own errors
		return fmt.Errorf("%w: security(1) ended with status %d", ErrUnavailable, exit.ExitCode())
	default: // of the OSStatus values from -25344 on, in SecBase.h
		return fmt.Errorf("%w: security(1) ended with status %d; "+
			"this explains it: security error %d",
			ErrUnavailable, exit.ExitCode(), exit.ExitCode()-25344)
	}
}
