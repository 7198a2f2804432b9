package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A command line makes the command that it names and no other, with the same help
// as among all of them. What names no command finds all, for the help and for "did
// you mean".
func TestOnlyTheCommandThatRunsIsMade(t *testing.T) {
	t.Parallel()
	help := func(made, args []string) string {
		var out bytes.Buffer
		a := &app{stdout: output{&out}, console: newConsole(io.Discard, nil)}
		root := a.root(made)
		root.SetArgs(args)
		require.NoError(t, root.Execute())
		require.NoError(t, a.helpErr)
		return out.String()
	}
	a := &app{console: newConsole(io.Discard, nil)}
	var names []string
	for _, c := range a.root(nil).Commands() {
		names = append(names, c.Name())
	}
	for _, c := range a.subcommands() {
		require.Contains(t, names, c.name)
		args := []string{c.name, "--help"}
		require.Len(t, (&app{console: a.console}).root(args).Commands(), 1)
		require.Equal(t, help(nil, args), help(args, args))
	}
	all := len(a.subcommands()) + 2 // completion and help
	for _, args := range [][]string{{"tokn"}, {"help", "token"}, {"--profile", "x", "token"}, {"__complete", "token", ""}, {"completion"}} {
		require.Len(t, (&app{console: a.console}).root(args).Commands(), all, args)
	}
}
