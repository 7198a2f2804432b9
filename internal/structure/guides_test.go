package structure

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
	examples = regexp.MustCompile(`\]\(\.\./\.\./(examples/[a-z/]+?)(/[a-z_]+\.go)?\)`)
)

// The code in a guide is a part of the program that the guide names, so it compiles
// and runs. The README links to each guide.
func TestGuidesShowTheirPrograms(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	guides, err := filepath.Glob(filepath.Join(root, "docs", "guides", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, guides)
	for _, guide := range guides {
		name := filepath.Base(guide)
		require.True(t, strings.Contains(string(readme), "(docs/guides/"+name+")"),
			"the README has no link to %s", name)
		text, err := os.ReadFile(guide)
		require.NoError(t, err)
		named := examples.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, named, "%s names no program", name)
		code := strings.Builder{}
		for _, m := range named {
			dir := filepath.Join(root, filepath.FromSlash(m[1]))
			files, err := filepath.Glob(filepath.Join(dir, "*.go"))
			require.NoError(t, err)
			require.NotEmpty(t, files, "%s: no program in %s", name, m[1])
			for _, file := range files {
				data, err := os.ReadFile(file)
				require.NoError(t, err)
				code.Write(data)
			}
		}
		for _, m := range goBlock.FindAllStringSubmatch(string(text), -1) {
			require.True(t, strings.Contains(code.String(), m[1]),
				"%s shows what its programs do not have:\n%s", name, m[1])
		}
	}
}
