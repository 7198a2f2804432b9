package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

const journalKind = "journal"

// A journal is small and never secret, so it is a plain file beside the lock. It is
// replaced whole: a crash leaves the old journal or the new one.

// readJournal implements the ReadJournal of [Shared] with one file for each key.
func (f folder) readJournal(ctx context.Context, key string) ([]byte, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, err
	}
	data, err := securefile.ReadFile(f.file(key, journalKind), maxPut)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("journal: %w", err))
	}
	return data, nil
}

// writeJournal implements the WriteJournal of [Shared].
func (f folder) writeJournal(ctx context.Context, key string, data []byte) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	if err := securefile.WriteFile(f.file(key, journalKind), data); err != nil {
		return unavailable(fmt.Errorf("journal: %w", err))
	}
	return nil
}
