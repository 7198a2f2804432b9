package security

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lastItem is the number of the last item: S1 to S90.
const lastItem = 90

const root = "../.."

// written is a test of the tree and the items that it carries: 1 in its name, 2 in the comment above it, 3 inside.
type written struct {
	dir, name string
	items     map[int]int
}

func (w written) String() string { return w.dir + "." + w.name }

var (
	inText = regexp.MustCompile(`\bS([0-9]+)\b`)
	inName = regexp.MustCompile(`S([0-9]+)`)
)

// tests finds every test and fuzz target of every module of the repository.
func tests(t *testing.T) []written {
	t.Helper()
	var found []written
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Name.Name == "TestMain" {
				continue
			}
			w := written{filepath.ToSlash(dir), f.Name.Name, map[int]int{}}
			carry := func(re *regexp.Regexp, text string, where int) {
				for _, m := range re.FindAllStringSubmatch(text, -1) {
					if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= lastItem && w.items[n] == 0 {
						w.items[n] = where
					}
				}
			}
			carry(inName, f.Name.Name, 1)
			carry(inText, f.Doc.Text(), 2)
			carry(inText, string(src[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset]), 3)
			found = append(found, w)
		}
		return nil
	}))
	slices.SortFunc(found, func(a, b written) int { return cmp.Compare(a.String(), b.String()) })
	require.NotEmpty(t, found)
	return found
}
