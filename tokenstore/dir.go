package tokenstore

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// stateDir is where a store keeps its files when the caller names no directory. It is computed from the user's home
// alone: cron, sudo and ssh lack XDG_RUNTIME_DIR and often XDG_STATE_HOME, reach the same keychain all the same, and
// would lock another file.
func stateDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: the home directory is not known (%w): set HOME, or give the store a Dir", ErrUnavailable, err)
	}
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("%w: the home directory %q is not absolute: mend HOME, or give the store a Dir", ErrUnavailable, home)
	}
	return filepath.Join(home, stateUnderHome(runtime.GOOS), "nativeoauth"), nil
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

// folder is the directory beside a store in which its locks, records and index rows lie, one file each, named after
// the key. A folder belongs to one store.
type folder string

// file is the path of key's file of this kind. The name starts with no key, because "con" and "nul" are devices on
// Windows, and ends with none, because Windows drops a trailing dot.
func (f folder) file(key, kind string) string {
	return filepath.Join(string(f), filePrefix+key+"."+kind)
}

const filePrefix = "key-"
