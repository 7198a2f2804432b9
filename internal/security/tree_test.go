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

// Items are numbered from S1. There is none between lastOfFirst and nextItem, and
// items from nextItem on are added in any order: a number is one if a test carries
// it or a row has it.
const (
	lastOfFirst = 95
	nextItem    = 98
	lastItem    = 199
)

const root = "../.."

// Places in which a test carries an item's number, the plainest first.
const (
	byName    = 1
	byComment = 2
	byBody    = 3
)

// written is a test of the repository.
type written struct {
	dir, name string
	items     map[int]int // the numbers that it carries, and the plainest place of each
}

func (w written) String() string { return w.dir + "." + w.name }

var (
	inText = regexp.MustCompile(`\bS([0-9]+)\b`)
	inName = regexp.MustCompile(`S([0-9]+)`)
)

// tests finds the tests and fuzz targets of all modules of the repository.
func tests(t *testing.T) []written {
	t.Helper()
	var found []written
	visit := func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		more, err := testsOf(path)
		found = append(found, more...)
		return err
	}
	require.NoError(t, filepath.WalkDir(root, visit))
	slices.SortFunc(found, func(a, b written) int { return cmp.Compare(a.String(), b.String()) })
	require.NotEmpty(t, found)
	return found
}

// skipped reports whether no test lies below a directory of that name.
func skipped(dir string) bool {
	return dir == "node_modules" || dir == "testdata" || dir != ".." && strings.HasPrefix(dir, ".")
}

// testsOf returns the tests and fuzz targets of one file.
func testsOf(path string) ([]written, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Rel(root, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var found []written
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || !isTest(f) {
			continue
		}
		w := written{filepath.ToSlash(dir), f.Name.Name, map[int]int{}}
		w.carry(inName, f.Name.Name, byName)
		w.carry(inText, f.Doc.Text(), byComment)
		from, to := set.Position(f.Pos()).Offset, set.Position(f.End()).Offset
		w.carry(inText, string(src[from:to]), byBody)
		found = append(found, w)
	}
	return found, nil
}

func isTest(f *ast.FuncDecl) bool {
	name := f.Name.Name
	return f.Recv == nil && name != "TestMain" &&
		(strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"))
}

// carry notes the item numbers in text that have no plainer place.
func (w written) carry(number *regexp.Regexp, text string, place int) {
	for _, m := range number.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		if err == nil && n >= 1 && n <= lastItem && w.items[n] == 0 {
			w.items[n] = place
		}
	}
}

// carrying returns a pattern for go test -run: the tests of pkg that carry the
// item's number. It is empty if there are none.
func carrying(all []written, pkg string, item int) string {
	var names []string
	for _, w := range all {
		if w.dir == pkg && w.items[item] != 0 && strings.HasPrefix(w.name, "Test") {
			names = append(names, w.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// carriers returns the tests that the table names for an item: at most four, the
// plainest first, and one of each package before a second of any.
func carriers(all []written, item int) []string {
	for _, place := range []int{byName, byComment, byBody} {
		var first, more []string
		packages := map[string]bool{}
		for _, w := range all {
			if w.items[item] == 0 || w.items[item] > place || !shown(w) {
				continue
			}
			name := "`" + w.String() + "`"
			if packages[w.dir] {
				more = append(more, name)
			} else {
				first = append(first, name)
			}
			packages[w.dir] = true
		}
		if len(first)+len(more) > 1 || place == byBody {
			return slices.Concat(first, more)[:min(4, len(first)+len(more))]
		}
	}
	return nil
}

// shown reports whether the table names w. It names tests of the client, not
// those of the table or of the test server.
func shown(w written) bool {
	return !strings.HasPrefix(w.dir, "internal/security") &&
		!strings.HasPrefix(w.dir, "internal/authserver")
}
