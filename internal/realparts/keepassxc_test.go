//go:build linux

package realparts_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A program that is not ours finds KeePassXC as the settings promise: locked or
// open, and with the dialogs that the test answers.
func TestKeePassXC(t *testing.T) {
	tool := realparts.Need(t, "secret-tool")[0]
	run := func(k *realparts.KeePassXC, stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(within(t), tool, append(args, "service", "s", "username", "u")...)
		cmd.Env = k.Environ()
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		return string(out), err
	}
	play := func(answer func() error) <-chan error {
		done := make(chan error, 1)
		go func() { done <- answer() }()
		return done
	}
	k := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{Locked: true, ConfirmAccess: true})
	answered := play(k.Unlock)
	_, err := run(k, "one", "store", "--label=x")
	require.NoError(t, err)
	require.NoError(t, <-answered)
	answered = play(k.AllowAccess)
	got, err := run(k, "", "lookup")
	require.NoError(t, err)
	require.NoError(t, <-answered)
	require.Equal(t, "one", got)
	require.Zero(t, k.Dialogs())
}
