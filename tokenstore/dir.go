package tokenstore

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// stateDir is the directory for a store's files if the program names none. It
// depends on the user's home alone. Under cron, sudo and ssh the variables
// XDG_RUNTIME_DIR and XDG_STATE_HOME are often missing. Such a process reaches
// the same keychain all the same, and would lock another file.
func stateDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: the home directory is not known (%w): "+
			"set %s, or name a directory", ErrUnavailable, err, homeVariable(runtime.GOOS))
	}
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("%w: the home directory %q is not absolute: "+
			"correct %s, or name a directory", ErrUnavailable, home, homeVariable(runtime.GOOS))
	}
	return filepath.Join(home, stateUnderHome(runtime.GOOS), "nativeoauth"), nil
}

// homeVariable is the variable that os.UserHomeDir reads.
func homeVariable(goos string) string {
	if goos == "windows" {
		return "USERPROFILE"
	}
	return "HOME"
}

func stateUnderHome(goos string) string {
	switch goos {
	case "windows":
		return `AppData\Local`
	case "darwin", "ios":
		return "Library/Application Support"
	default:
		return ".local/state"
	}
}

// folder is the directory of one store. It contains one file for each lock,
// journal and index row. The files are named after their keys.
type folder string

// file returns the path of key's file of this kind. The name does not begin with
// the key, because "con" and "nul" are devices on Windows. It does not end with
// the key, because Windows drops a trailing dot.
func (f folder) file(key, kind string) string {
	return filepath.Join(string(f), filePrefix+key+"."+kind)
}

const filePrefix = "key-"
