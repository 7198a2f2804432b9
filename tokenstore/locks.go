package tokenstore

import (
	"context"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// lock implements the Lock of [Shared] with a file lock. The file is never
// deleted. If it were, two holders could lock two files of the same name.
func (f folder) lock(ctx context.Context, key string) (context.Context, func() error, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, nil, err
	}
	release, err := securefile.Lock(ctx, f.file(key, "lock"))
	if err != nil {
		return nil, nil, unavailable(err)
	}
	// The operating system does not take a file lock away, so held ends at unlock
	// only.
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	var once sync.Once
	return held, func() (err error) {
		once.Do(func() {
			end()
			err = release()
		})
		return err
	}, nil
}
