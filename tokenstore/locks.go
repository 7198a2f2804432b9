package tokenstore

import (
	"context"
	"sync"

	"github.com/nativeoauth/nativeoauth/internal/securefile"
)

// lock implements [Locker] on a file that is never deleted: deleting one lets two holders lock two files of one name.
func (f folder) lock(ctx context.Context, key string) (context.Context, func() error, error) {
	if err := checkCall(ctx, key); err != nil {
		return nil, nil, err
	}
	release, err := securefile.Lock(ctx, f.file(key, "lock"))
	if err != nil {
		return nil, nil, unavailable(err)
	}
	// The operating system takes such a lock from nobody, so held ends at unlock only.
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
