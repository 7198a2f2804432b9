package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit: go-keyring pipes one command of at most 4,096 bytes to security(1), with the secret in base64. The names
// need no quotes, being plain; two bytes each are left for them all the same.
func systemLimit(service, key string) int {
	const command = "add-generic-password -U -s '' -a '' -w 'go-keyring-base64:'\n"
	return (4096 - len(command) - len(service) - len(key)) / 4 * 3
}

// probeByWriting: a locked keychain is read without being unlocked where there is nothing to read.
const probeByWriting = true

// lookForKeychain: there always is a keychain, and outside of ssh a person whom it may ask, for its password or whether security(1)
// may read an item.
func lookForKeychain(context.Context) (keychain, error) {
	return keychain{asks: os.Getenv("SSH_CONNECTION") == ""}, nil
}

// keychainError reads the exit status of security(1), which is the low byte of an OSStatus.
func keychainError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%w: security(1) failed: %s", ErrUnavailable, wire.SafeText(err.Error(), 0))
	}
	switch exit.ExitCode() {
	case 36: // errSecInteractionNotAllowed
		return fmt.Errorf("%w: it may not ask for its password here, as over ssh; run security unlock-keychain first, or keep the session in a tokenstore.File", ErrLocked)
	case 51: // errSecAuthFailed
		return fmt.Errorf("%w: the keychain's password was wrong; try again", ErrLocked)
	case 128: // errSecUserCanceled
		return fmt.Errorf("%w: its prompt was dismissed; try again and allow it", ErrLocked)
	case 37, 50: // errSecNoDefaultKeychain, errSecNoSuchKeychain
		return fmt.Errorf("%w: there is no default keychain; choose one in Keychain Access, or keep the session in a tokenstore.File", ErrUnavailable)
	default:
		return fmt.Errorf("%w: security(1) ended with status %d; security error %[2]d explains it", ErrUnavailable, exit.ExitCode())
	}
}
