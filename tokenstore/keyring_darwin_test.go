package tokenstore

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The exit status of security(1) is all that tells what went wrong.
func TestKeychainErrorsInterpretTheStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		36: ErrLocked, 45: ErrDismissed, 51: ErrLocked, 128: ErrDismissed, 44: ErrNotFound,
		37: ErrUnavailable, 1: ErrUnavailable, 53: ErrUnavailable,
	} {
		err := exec.Command("/bin/sh", "-c", "exit "+strconv.Itoa(status)).Run()
		require.ErrorIs(t, keychainError(err), want, "status %d", status)
	}
	require.ErrorIs(t, keychainError(errors.New("exec")), ErrUnavailable)
	err := exec.Command("/bin/sh", "-c", "exit 53").Run()
	require.ErrorContains(t, keychainError(err), "security error -25291") // errSecNotAvailable
	err = exec.Command("/bin/sh", "-c", "kill -INT $$").Run()
	require.ErrorContains(t, keychainError(err), "a signal")
}

// The longest text of an item fits into the line, and no longer one does.
func TestItemsUseTheWholeLine(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"s", "ss", "sss", "ssss", strings.Repeat("s", 71)} {
		key := strings.Repeat("k", MaxKey)
		limit := systemLimit(service, key)
		require.LessOrEqual(t, len(storeCommand(service, key, strings.Repeat("x", limit))), maxLine)
		require.Greater(t, len(storeCommand(service, key, strings.Repeat("x", limit+1))), maxLine)
		require.Error(t, keychain{}.set(service, key, strings.Repeat("x", limit+1)))
	}
}
