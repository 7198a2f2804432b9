package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// readRecord implements [Recorder].
func (f folder) readRecord(ctx context.Context, key string) ([]byte, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, err
	}
	data, err := securefile.ReadFile(f.file(key, "record"), maxPut)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("record: %w", err))
	}
	return data, nil
}

// writeRecord implements [Recorder].
func (f folder) writeRecord(ctx context.Context, key string, data []byte) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	if err := checkData(data); err != nil {
		return err
	}
	if err := securefile.WriteFile(f.file(key, "record"), data); err != nil {
		return unavailable(fmt.Errorf("record: %w", err))
	}
	return nil
}
