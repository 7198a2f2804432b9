package securefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeDir is like os.MkdirAll with mode 0700, and flushes each parent. Otherwise a
// power failure could take away the new directory with everything in it.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	if err := checkParent(dir); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if parent == dir {
			return err
		}
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := checkMade(dir); err != nil {
		return err
	}
	if root, err := os.OpenRoot(parent); err == nil {
		_ = syncDir(root) // this user may not be allowed to read it
		_ = root.Close()
	}
	return nil
}

// checkMade returns an error if a new directory cannot be used by its owner. The
// umask does that. It is removed again, because nobody could use it later either.
func checkMade(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil || info.Mode().Perm()&0o700 == 0o700 {
		return err
	}
	_ = os.Remove(dir)
	return insecure(dir, fmt.Sprintf("the umask gives it mode %#o, so that this user cannot use it",
		info.Mode().Perm()), "run with: umask 077")
}
