package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the man pages")

// The man pages are generated from the help of the commands. A test does it, so that
// the generator is not linked into the binary.
func TestManPages(t *testing.T) {
	t.Parallel()
	a := &app{console: newConsole(os.Stderr, nil)}
	root := a.root(nil)
	root.SetContext(context.Background())
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" { // cobra's own command; its pages are about shells
			cmd.Hidden = true
		}
	}
	dir := t.TempDir()
	if *update {
		dir = "man"
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	disableStamp(root)
	require.NoError(t, doc.GenManTree(root, &doc.GenManHeader{Title: "NATIVEOAUTH", Section: "1", Date: &date, Source: "nativeoauth", Manual: "nativeoauth manual"}, dir))
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	require.NoError(t, err)
	require.Greater(t, len(pages), 10)
	kept, err := filepath.Glob("man/*.1")
	require.NoError(t, err)
	require.Len(t, kept, len(pages), "run go generate ./cmd/nativeoauth")
	for _, page := range pages {
		made, err := os.ReadFile(page)
		require.NoError(t, err)
		there, err := os.ReadFile(filepath.Join("man", filepath.Base(page)))
		require.NoError(t, err)
		require.Equal(t, string(there), string(made), "run go generate ./cmd/nativeoauth")
	}
}

func disableStamp(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, sub := range cmd.Commands() {
		disableStamp(sub)
	}
}
