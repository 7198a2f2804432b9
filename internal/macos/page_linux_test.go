package macos

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const page = "../../docs/platforms.md"

var update = flag.Bool("update", false, "write what was run into docs/platforms.md")

// passed has a row of the page for each test that passed.
var (
	passedMu sync.Mutex
	passed   []string
)

// note keeps the row of a test: its name, and its comment.
func note(t *testing.T, dir, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Name.Name != name || strings.HasSuffix(file, "_linux_test.go") || strings.HasSuffix(file, "_windows_test.go") {
				continue
			}
			passedMu.Lock()
			defer passedMu.Unlock()
			passed = append(passed, fmt.Sprintf("| `%s` %s | %s |", dir, name, strings.Join(strings.Fields(f.Doc.Text()), " ")))
			return
		}
	}
	t.Errorf("%s has no test %s with a comment", dir, name)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && *update {
		if err := write(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// write puts the rows into the page.
func write() error {
	const begin, end = "<!-- macos: go test ./internal/macos -update -->\n", "<!-- /macos -->"
	data, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table", page)
	}
	slices.Sort(passed)
	table := fmt.Sprintf("\nPassed on %s, with %s:\n\n| Test | What it shows |\n| --- | --- |\n%s\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), strings.Join(passed, "\n"))
	return os.WriteFile(page, []byte(before+begin+table+end+after), 0o644)
}

// The page names each test that runs here.
func TestPageIsCurrent(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	for dir, names := range tests {
		for _, name := range names {
			if !*update {
				require.Contains(t, string(data), "| `"+dir+"` "+name+" |",
					"go test ./internal/macos -update writes it")
			}
		}
	}
}
