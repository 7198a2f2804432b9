package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit returns the longest text of an item, in bytes. go-keyring pipes one
// command of at most 4,096 bytes to security(1), with the secret in base64. Plain
// names need no quotes, but two bytes are reserved for each name.
func systemLimit(service, key string) int {
	const command = "add-generic-password -U -s '' -a '' -w 'go-keyring-base64:'\n"
	return (4096 - len(command) - len(service) - len(key)) / 4 * 3
}

// probeByWriting is true because a locked keychain answers a read without being
// unlocked if it has no such item.
const probeByWriting = true

// openKeychain always finds a keychain. Outside of ssh it may prompt the user, for
// the keychain's password or for permission to let security(1) read an item.
func openKeychain(context.Context) (keychain, error) {
	return keychain{prompts: os.Getenv("SSH_CONNECTION") == ""}, nil
}

// keychainError interprets the exit status of security(1), which is the low byte
// of an OSStatus.
func keychainError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%w: security(1) failed: %s",
			ErrUnavailable, wire.SafeText(err.Error(), 0))
	}
	switch exit.ExitCode() {
	case 36: // errSecInteractionNotAllowed
		return fmt.Errorf("%w: the keychain cannot prompt for its password here, as over ssh; "+
			"run security unlock-keychain first"+elsewhere, ErrLocked)
	case 51: // errSecAuthFailed
		return fmt.Errorf("%w: the keychain's password was wrong; try again", ErrLocked)
	case 128: // errSecUserCanceled
		return fmt.Errorf("%w: the keychain's prompt was dismissed; "+
			"try again and allow it", ErrDismissed)
	case 37, 50: // errSecNoDefaultKeychain, errSecNoSuchKeychain
		return fmt.Errorf("%w: there is no default keychain; "+
			"choose one in Keychain Access"+elsewhere, ErrUnavailable)
	default:
		return fmt.Errorf("%w: security(1) ended with status %d; security error %[2]d explains it",
			ErrUnavailable, exit.ExitCode())
	}
}
