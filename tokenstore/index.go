package tokenstore

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// The index tells which keys have a value in a keychain, which cannot list them
// itself. One empty file is one row, so that two processes never overwrite each
// other's rows and a lost file loses one row only. A row is made before its item
// and removed after it. A crash therefore leaves a row without a secret, and
// never a secret without a row.

const rowKind = "row"

// listRows implements [Lister].
func (f folder) listRows(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys, err := f.keysOf(rowKind)
	if err != nil {
		return nil, unavailable(fmt.Errorf("index: %w", err))
	}
	return startingWith(prefix, keys), nil
}

// keysOf returns the keys that have a file of this kind, in no particular order.
func (f folder) keysOf(kind string) ([]string, error) {
	names, err := securefile.List(string(f))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, name := range names {
		name, isKind := strings.CutSuffix(name, "."+kind)
		key, ours := strings.CutPrefix(name, filePrefix)
		if isKind && ours && CheckKey(key) == nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// addRow does nothing if the row is there. It is part of every Get, so it does
// not write without need.
func (f folder) addRow(key string) error {
	row := f.file(key, rowKind)
	if info, err := os.Lstat(row); err == nil && info.Mode().IsRegular() {
		return nil
	}
	if err := securefile.WriteFile(row, nil); err != nil {
		return unavailable(fmt.Errorf("index: %w", err))
	}
	return nil
}

// removeRow returns an error, so that a Delete is repeated and the row is not left
// for ever.
func (f folder) removeRow(key string) error {
	if err := securefile.Remove(f.file(key, rowKind)); err != nil {
		return unavailable(fmt.Errorf("index: %w", err))
	}
	return nil
}
