package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit is CRED_MAX_CREDENTIAL_BLOB_SIZE.
func systemLimit(_, _ string) int { return 5 * 512 }

// probeByWriting: a logon without a credential store shows only when something is to be written.
const probeByWriting = true

// lookForKeychain: the Credential Manager is part of the system, and asks nobody.
func lookForKeychain(context.Context) (keychain, error) { return keychain{}, nil }

const errNoSuchLogonSession = syscall.Errno(1312) // ERROR_NO_SUCH_LOGON_SESSION

func keychainError(err error) error {
	if errors.Is(err, errNoSuchLogonSession) {
		return fmt.Errorf("%w: this logon has no Credential Manager, as over ssh with a key or in a service; sign in to the desktop, or keep the session in a tokenstore.File", ErrUnavailable)
	}
	return fmt.Errorf("%w: the Credential Manager failed: %s", ErrUnavailable, wire.SafeText(err.Error(), 0))
}
