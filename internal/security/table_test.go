package security

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tests that carry each item's number into docs/security.md")

const document = root + "/docs/security.md"

// row is one line of the table: | S14 | defence, with its files and functions | tests | source |.
type row struct {
	line           int
	item           int
	defence, tests string
	source         string
}

var quoted = regexp.MustCompile("`([^`]+)`")

func rows(t *testing.T, lines []string) []row {
	t.Helper()
	var all []row
	for i, line := range lines {
		cells := strings.Split(line, " | ")
		first, ok := strings.CutPrefix(cells[0], "| S")
		n, err := strconv.Atoi(first)
		if !ok || err != nil {
			continue
		}
		require.Len(t, cells, 4, line)
		all = append(all, row{i, n, cells[1], cells[2], strings.TrimSuffix(cells[3], " |")})
	}
	return all
}

// The table of docs/security.md has a row for every item. What it names exists: files, functions in them, and tests, which carry the item's number.
// An item without a test, or one that does not apply without a reason, is printed.
func TestTable(t *testing.T) {
	data, err := os.ReadFile(document)
	require.NoError(t, err)
	lines := strings.Split(string(data), "\n")
	all := tests(t)
	if *update {
		for _, r := range rows(t, lines) {
			lines[r.line] = fmt.Sprintf("| S%d | %s | %s | %s |", r.item, r.defence, strings.Join(carriers(all, r.item), ", "), r.source)
		}
		require.NoError(t, os.WriteFile(document, []byte(strings.Join(lines, "\n")), 0o644))
	}
	known := map[string]written{}
	for _, w := range all {
		known["`"+w.String()+"`"] = w
	}
	seen := map[int]bool{}
	for _, r := range rows(t, lines) {
		if seen[r.item] {
			t.Errorf("S%d has two rows", r.item)
		}
		seen[r.item] = true
		checkDefence(t, r)
		if r.source == "" {
			t.Errorf("S%d names no source", r.item)
		}
		if strings.HasPrefix(r.tests, "does not apply: ") {
			continue
		}
		named := strings.Split(r.tests, ", ")
		for _, name := range named {
			w, ok := known[name]
			switch {
			case name == "":
				t.Errorf("S%d has no test", r.item)
			case !ok:
				t.Errorf("S%d names the test %s, which there is not (go test ./internal/security -run Table -update writes the column)", r.item, name)
			case w.items[r.item] == 0:
				t.Errorf("S%d names the test %s, which does not carry the number", r.item, name)
			}
		}
	}
	for n := 1; n <= lastItem; n++ {
		if !seen[n] {
			t.Errorf("S%d has no row", n)
		}
		if len(carriers(all, n)) == 0 {
			t.Errorf("S%d has no test that carries its number", n)
		}
	}
}

// checkDefence looks for what a defence names in quotes: files of the tree, and words that stand in one of them.
func checkDefence(t *testing.T, r row) {
	t.Helper()
	var text strings.Builder
	var words []string
	for _, m := range quoted.FindAllStringSubmatch(r.defence, -1) {
		if !strings.HasSuffix(m[1], ".go") {
			words = append(words, m[1])
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, m[1]))
		if err != nil {
			t.Errorf("S%d names the file %s, which there is not", r.item, m[1])
		}
		text.Write(data)
	}
	if text.Len() == 0 {
		t.Errorf("S%d names no file", r.item)
	}
	for _, word := range words {
		if !strings.Contains(text.String(), word) {
			t.Errorf("S%d: %q is in none of the files that it names", r.item, word)
		}
	}
}

// carriers are the tests that carry an item's number, those that do so most plainly: at most four, one a room before a second of any.
func carriers(all []written, item int) []string {
	for _, most := range []int{1, 2, 3} {
		var first, more []string
		rooms := map[string]bool{}
		for _, w := range all {
			if where := w.items[item]; where == 0 || where > most || strings.HasPrefix(w.dir, "internal/security") || strings.HasPrefix(w.dir, "internal/authserver") {
				continue
			}
			if rooms[w.dir] {
				more = append(more, "`"+w.String()+"`")
			} else {
				first = append(first, "`"+w.String()+"`")
			}
			rooms[w.dir] = true
		}
		if len(first)+len(more) > 1 || most == 3 {
			return slices.Concat(first, more)[:min(4, len(first)+len(more))]
		}
	}
	return nil
}
