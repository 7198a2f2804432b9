// Command structure draws the imports of this repository into docs/house.md.
// Run it in any directory of the repository after a package or an import was
// added or removed:
//
//	go run ./internal/structure
//
// The tests of this package check that the picture is current, and that imports
// run one way.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "structure:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	imports, err := readImports(root)
	if err != nil {
		return err
	}
	path := filepath.Join(root, page)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	redrawn, err := redraw(string(text), draw(imports))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(redrawn), 0o644)
}
