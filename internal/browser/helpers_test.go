package browser_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/browser"
)

func TestMain(m *testing.M) {
	// the child of TestChatterStaysOffTheTerminal
	if out := os.Getenv("BROWSER_TEST_OPEN"); out != "" {
		if err := browser.Open(context.Background(), out); err != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// launcher makes script the browser that BROWSER names.
func launcher(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("skipped: the launcher of this test is a script for Linux and the BSDs")
	}
	noDisplay(t)
	path := filepath.Join(t.TempDir(), "browser")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	t.Setenv("BROWSER", path)
}

func noDisplay(t *testing.T) {
	for _, name := range []string{
		"DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "XDG_CURRENT_DESKTOP", "DESKTOP_SESSION",
		"KDE_FULL_SESSION", "GNOME_DESKTOP_SESSION_ID", "MATE_DESKTOP_SESSION_ID", "container",
	} {
		t.Setenv(name, "")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	require.NoError(t, err)
	return string(b)
}

const patient = time.Minute

// vars are the environment variables of a machine, files its files.
type vars map[string]string
type files map[string]string

// source returns a Source for a machine with these variables and files.
func source(goos string, env vars, at files) browser.Source {
	return browser.Source{
		GOOS:   goos,
		Getenv: func(name string) string { return env[name] },
		ReadFile: func(name string) ([]byte, error) {
			if s, ok := at[name]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		},
	}
}

var errNone = errors.New("no browser")

// letters abbreviates methods: b for browser, p for paste, d for device.
func letters(m browser.Methods) string {
	s := ""
	for _, method := range []struct {
		on     bool
		letter string
	}{{m.Browser, "b"}, {m.Paste, "p"}, {m.Device, "d"}} {
		if method.on {
			s += method.letter
		}
	}
	return s
}
