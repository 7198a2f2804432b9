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

var update = flag.Bool("update", false,
	"write the tests that carry each item's number into docs/security.md")

const document = root + "/docs/security.md"

// row is a row of the table: item, defence, tests, source.
type row struct {
	line           int // its index in the document
	item           int
	defence, tests string
	source         string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rows returns the table's rows.
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

// The table of docs/security.md has one row for each item. The files, the words
// in them and the tests that a row names exist, and the tests carry the item's
// number.
func TestTable(t *testing.T) {
	data, err := os.ReadFile(document)
	require.NoError(t, err)
	lines := strings.Split(string(data), "\n")
	all := tests(t)
	if *update {
		for _, r := range rows(t, lines) {
			names := strings.Join(carriers(all, r.item), ", ")
			lines[r.line] = fmt.Sprintf("| S%d | %s | %s | %s |", r.item, r.defence, names, r.source)
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
		if r.source == "" {
			t.Errorf("S%d names no source", r.item)
		}
		checkDefence(t, r)
		checkTests(t, r, known)
		checkRemoval(t, r)
	}
	for n := 1; n <= lastItem; n++ {
		tested := len(carriers(all, n)) > 0
		if n > lastOfFirst && !tested && !seen[n] {
			continue
		}
		if !seen[n] {
			t.Errorf("S%d has no row", n)
		}
		if !tested {
			t.Errorf("S%d has no test that carries its number", n)
		}
		if n > lastOfFirst && n < nextItem {
			t.Errorf("S%d is not used", n)
		}
	}
}

// checkDefence fails the test unless what a defence quotes exists: files of the
// repository, and words in one of them.
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
			t.Errorf("S%d names the file %s, which does not exist", r.item, m[1])
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

// checkRemoval fails the test unless the item has a removal, or a reason why not.
func checkRemoval(t *testing.T, r row) {
	t.Helper()
	has := slices.ContainsFunc(removals, func(taken removal) bool { return taken.item == r.item })
	if has == (withoutRemoval[r.item] != "") {
		t.Errorf("S%d needs a removal, or a reason in withoutRemoval", r.item)
	}
}

// checkTests fails the test unless the row names tests that carry its number, or
// a reason why the item does not apply.
func checkTests(t *testing.T, r row, known map[string]written) {
	t.Helper()
	if strings.HasPrefix(r.tests, "does not apply: ") {
		return
	}
	for name := range strings.SplitSeq(r.tests, ", ") {
		w, ok := known[name]
		switch {
		case name == "":
			t.Errorf("S%d has no test", r.item)
		case !ok:
			t.Errorf("S%d names the test %s, which does not exist"+
				" (go test ./internal/security -run Table -update writes the column)", r.item, name)
		case w.items[r.item] == 0:
			t.Errorf("S%d names the test %s, which does not carry the number", r.item, name)
		}
	}
}
