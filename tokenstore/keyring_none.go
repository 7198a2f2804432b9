//go:build !(darwin || windows || linux || netbsd || openbsd || (cgo && (freebsd || dragonfly)))

package tokenstore

import (
	"context"
	"fmt"
	"runtime"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func systemLimit(_, _ string) int { return MaxData }

const probeByWriting = false

func lookForKeychain(context.Context) (keychain, error) {
	return keychain{}, fmt.Errorf("%w: programs built for %s without cgo have no keychain; keep the session in a tokenstore.File", ErrUnavailable, runtime.GOOS)
}

func keychainError(err error) error {
	return fmt.Errorf("%w: %s", ErrUnavailable, wire.SafeText(err.Error(), 0))
}
