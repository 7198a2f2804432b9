package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The quick start is one text: in the README, in this program, and in the package's documentation.
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
	for _, path := range []string{"main.go", "../../oauthclient/example_test.go"} {
		require.Contains(t, read(path), "\n"+code, "%s and README.md differ", path)
	}
}
