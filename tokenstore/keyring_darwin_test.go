package tokenstore

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// The exit status of security(1) is all that tells what went wrong.
func TestKeychainErrorsInterpretTheStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{36: ErrLocked, 51: ErrLocked, 128: ErrLocked, 37: ErrUnavailable, 1: ErrUnavailable} {
		err := exec.Command("/bin/sh", "-c", "exit "+strconv.Itoa(status)).Run()
		require.ErrorIs(t, keychainError(err), want, "status %d", status)
	}
	require.ErrorIs(t, keychainError(errors.New("exec")), ErrUnavailable)
}
