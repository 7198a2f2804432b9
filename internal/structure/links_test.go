package structure

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	quoted  = regexp.MustCompile("`[^`\n]*`")
	links   = regexp.MustCompile(`\]\(([^()\s]+)\)|(?:src|href)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	target  = regexp.MustCompile(`\]\([^)]*\)`)
	silent  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// Every link of a page to a file or a heading of this repository leads somewhere.
// Links to other hosts are not followed.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, page := range markdown(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		prose := quoted.ReplaceAllString(fenced.ReplaceAllString(string(text), ""), "")
		for _, m := range links.FindAllStringSubmatch(prose, -1) {
			link, err := url.Parse(m[1] + m[2])
			require.NoError(t, err, page)
			if link.Scheme != "" || link.Host != "" {
				continue
			}
			checked++
			require.NoError(t, resolve(page, link), "%s: the link %q is broken", page, link)
		}
	}
	require.Greater(t, checked, 100)
}

// The checker finds a missing file and a missing heading.
func TestBrokenLinksAreFound(t *testing.T) {
	t.Parallel()
	page := filepath.Join(root, "README.md")
	for link, found := range map[string]bool{
		"docs/house.md": true, "docs/house.md#a-refresh": true, "#quick-start": true, "docs": true,
		"docs/none.md": false, "docs/house.md#none": false, "#none": false,
	} {
		u, err := url.Parse(link)
		require.NoError(t, err)
		require.Equal(t, found, resolve(page, u) == nil, link)
	}
}

// markdown returns the pages of the repository, without those of other projects.
func markdown(t *testing.T) []string {
	t.Helper()
	var pages []string
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	}))
	return pages
}

// resolve returns an error if a relative link on page has no file or no heading.
func resolve(page string, link *url.URL) error {
	file := page
	if link.Path != "" {
		file = filepath.Join(filepath.Dir(page), filepath.FromSlash(link.Path))
	}
	if _, err := os.Stat(file); err != nil || link.Fragment == "" || filepath.Ext(file) != ".md" {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
		anchor := anchor(m[1])
		if n := seen[anchor]; n > 0 { // GitHub numbers the headings of one name
			anchor = fmt.Sprintf("%s-%d", anchor, n)
		}
		seen[anchor]++
		if anchor == link.Fragment {
			return nil
		}
	}
	return fmt.Errorf("%s has no heading %q", file, link.Fragment)
}

// anchor returns the anchor that GitHub makes of a heading.
func anchor(heading string) string {
	text := silent.ReplaceAllString(target.ReplaceAllString(heading, ""), "")
	return strings.ReplaceAll(strings.ToLower(text), " ", "-")
}
