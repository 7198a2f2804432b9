package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The quick start of the README is this program's text, so it compiles and runs.
func TestQuickStartIsOneText(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	_, rest, ok := strings.Cut(read("../../README.md"), "```go\n")
	require.True(t, ok, "the README has no Go code")
	code, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	require.Contains(t, code, "SessionOrLogin")
	require.Contains(t, read("main.go"), "\n"+code, "main.go and README.md differ")
}
