package structure

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/nativeoauth/nativeoauth"

// readImports returns the imports between the packages of the repository, in
// all its modules. Keys and values are directories relative to root; values are
// sorted. A package without imports from the repository has an empty value.
//
// Files are parsed instead of built, so files for other systems count too. Test
// files do not count: a test may import what it needs.
func readImports(root string) (map[string][]string, error) {
	imports := map[string][]string{}
	err := walkGo(root, func(file string) error {
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		name := filepath.Join(root, file)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(file)
		found := imports[dir]
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			to, ours := strings.CutPrefix(imported, module+"/")
			if ours && !slices.Contains(found, to) {
				found = append(found, to)
			}
		}
		slices.Sort(found)
		imports[dir] = found
		return nil
	})
	return imports, err
}

// walkGo calls visit with the path of each Go file, relative to root and with
// forward slashes. It skips what the go command skips.
func walkGo(root string, visit func(file string) error) error {
	return filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != root && ignored(entry.Name()) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(relative))
	})
}

// ignored reports whether the go command ignores a directory of that name, or
// whether npm keeps its packages there.
func ignored(dir string) bool {
	return dir == "testdata" || dir == "node_modules" || dir[0] == '.' || dir[0] == '_'
}
