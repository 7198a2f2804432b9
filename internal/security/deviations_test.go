package security

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each row of docs/providers.md's table of deviations says what the SDK does and
// why, and names a test that exists.
func TestDeviations(t *testing.T) {
	data, err := os.ReadFile(root + "/docs/providers.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(data), "## Deviations from the specifications\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	known := map[string]bool{}
	for _, w := range tests(t) {
		known[w.String()] = true
	}
	checked := 0
	for line := range strings.SplitSeq(section, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| deviation") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		require.Len(t, cells, 4, line)
		decided := strings.HasPrefix(cells[1], "accepted") || strings.HasPrefix(cells[1], "refused") ||
			strings.HasPrefix(cells[1], "option")
		require.True(t, decided, line)
		require.NotEmpty(t, cells[2], line)
		require.True(t, known[strings.Trim(cells[3], "`")], "%s does not exist", cells[3])
		checked++
	}
	require.NotZero(t, checked)
}
