package structure

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	page  = "docs/house.md"
	begin = "```mermaid\n"
	end   = "```\n"
)

// redraw returns page with its Mermaid block replaced.
func redraw(page, picture string) (string, error) {
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("the page has no line %q", strings.TrimSpace(begin))
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("the picture does not end with a line %q", strings.TrimSpace(end))
	}
	return before + begin + picture + end + after, nil
}

// draw returns a Mermaid flowchart. Layers are frames, packages are boxes and
// imports are arrows. It shows what a user's program can link, and the command:
// examples, test helpers and benchmarks would hide the structure.
//
// An import is left out if a longer path leads to the same package. With all of
// them, 40 arrows cross each other and most of them end at wire.
func draw(imports map[string][]string) string {
	shown := map[string][]string{}
	for pkg, list := range imports {
		if drawn(pkg) {
			shown[pkg] = list
		}
	}
	var b strings.Builder
	b.WriteString("flowchart TB\n")
	for i, l := range layers {
		var boxes []string
		for _, pkg := range slices.Sorted(maps.Keys(shown)) {
			if rank(pkg) == i {
				boxes = append(boxes, fmt.Sprintf("    %s[%s]\n", id(pkg), pkg))
			}
		}
		if len(boxes) > 0 {
			fmt.Fprintf(&b, "  subgraph L%d [%s]\n%s  end\n", i, l.name, strings.Join(boxes, ""))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(shown)) {
		for _, to := range shown[from] {
			if !detour(shown, from, to) {
				fmt.Fprintf(&b, "  %s --> %s\n", id(from), id(to))
			}
		}
	}
	return b.String()
}

// drawn reports whether pkg is in the picture.
func drawn(pkg string) bool {
	switch rank(pkg) {
	case 0:
		return strings.HasPrefix(pkg, "cmd/")
	case 1:
		return pkg == "oauthclient/oauthtest" || pkg == "oauthclient/inspect"
	}
	return true
}

// detour reports whether another package that from imports leads to the package
// to as well.
func detour(imports map[string][]string, from, to string) bool {
	return slices.ContainsFunc(imports[from], func(via string) bool {
		return via != to && leads(imports, via, to)
	})
}

// leads reports whether from imports the package to, directly or not. Imports
// have no cycle: the compiler refuses one.
func leads(imports map[string][]string, from, to string) bool {
	return slices.ContainsFunc(imports[from], func(next string) bool {
		return next == to || leads(imports, next, to)
	})
}

// id returns pkg as a name that Mermaid takes.
func id(pkg string) string {
	return strings.NewReplacer("/", "_", "-", "_", ".", "_").Replace(pkg)
}
