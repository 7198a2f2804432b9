package tokenstore

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// The index tells which keys have a value, for a store that cannot be asked itself. One empty file is one row: two
// processes never write the same file over each other, and losing one loses no other. A row is there before its item
// and goes after it, so that a crash leaves a row too many rather than a secret that nobody lists.

// listRows implements [Lister].
func (f folder) listRows(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys, err := f.keysOf("row")
	if err != nil {
		return nil, unavailable(fmt.Errorf("index: %w", err))
	}
	return startingWith(prefix, keys), nil
}

// keysOf returns the keys that have a file of this kind.
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

// addRow does nothing where the row is there.
func (f folder) addRow(key string) error {
	row := f.file(key, "row")
	if info, err := os.Lstat(row); err == nil && info.Mode().IsRegular() {
		return nil
	}
	if err := securefile.WriteFile(row, nil); err != nil {
		return unavailable(fmt.Errorf("index: %w", err))
	}
	return nil
}

func (f folder) removeRow(key string) error {
	if err := securefile.Remove(f.file(key, "row")); err != nil {
		return unavailable(fmt.Errorf("index: %w", err))
	}
	return nil
}
