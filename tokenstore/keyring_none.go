//go:build !(darwin || windows || linux || netbsd || openbsd || (cgo && (freebsd || dragonfly)))

package tokenstore

import (
	"context"
	"fmt"
	"runtime"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// This file is for systems without a keychain. Nothing but openKeychain is ever
// called.

func systemLimit(_, _ string) int { return MaxData }

const probeByWriting = false

func openKeychain(context.Context, folder) (keychain, error) {
	return keychain{}, fmt.Errorf("%w: programs built for %s without cgo "+
		"have no keychain"+elsewhere, ErrUnavailable, runtime.GOOS)
}

func keychainError(err error) error {
	return fmt.Errorf("%w: %s", ErrUnavailable, wire.SafeText(err.Error(), 0))
}
