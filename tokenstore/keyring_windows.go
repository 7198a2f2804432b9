package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// systemLimit returns the longest text of an item, in bytes:
// CRED_MAX_CREDENTIAL_BLOB_SIZE.
func systemLimit(_, _ string) int { return 5 * 512 }

// probeByWriting is true because a logon without a credential store fails only
// when something is written.
const probeByWriting = true

// openKeychain always finds the Credential Manager, which is part of the system
// and never prompts.
func openKeychain(context.Context, folder) (keychain, error) { return keychain{}, nil }

const errNoSuchLogonSession = syscall.Errno(1312) // ERROR_NO_SUCH_LOGON_SESSION

func keychainError(err error) error {
	if errors.Is(err, errNoSuchLogonSession) {
		return fmt.Errorf("%w: this logon has no Credential Manager, "+
			"as over ssh with a key or in a service; sign in to the desktop"+elsewhere,
			ErrUnavailable)
	}
	return fmt.Errorf("%w: the Credential Manager failed: %s",
		ErrUnavailable, wire.SafeText(err.Error(), 0))
}
