package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// Limits that every Store keeps, in bytes.
const (
	MaxKey  = 128     // length of a key
	MaxData = 1 << 20 // length of a value: 1 MiB
)

// Store keeps values under keys. This is the contract of every store here and of
// every store that a program supplies. Package storetest checks it.
//
// Keys. A key has 1 to [MaxKey] bytes of [a-z0-9.-]; [CheckKey] tells. Every
// method returns an error for any other key. That error does not match
// ErrNotFound.
//
// Values. A value is any sequence of bytes, up to [MaxData]. A store accepts 1 KiB
// more, so that a wrapper such as [Seal] can add to it. It refuses larger values
// and keeps what it had. A nil slice is the empty value. A key with the empty value
// has a value.
//
// Atomicity. A reader sees the old value or the new one, whole, also if the
// process or the machine dies during a Put. Once Put or Delete returns nil, the
// change is durable and every later Get sees it, in every process.
//
// Errors. After an error from Put or Delete, the old value or the new one may be
// stored, but no further change follows. The exception is a [*Pending]: there
// the change may still happen. A Get that could not read the store never says
// ErrNotFound. No error contains a value.
//
// Contexts. If ctx has ended, a method changes nothing and returns an error that
// matches ctx.Err(). If ctx ends during the call, the method returns soon, with
// such an error unless it succeeded. The end of ctx is never ErrNotFound.
//
// Concurrency. All methods are safe for concurrent use by goroutines, and by
// several processes if the stored values outlive the process. A Store does not
// protect a sequence of calls, such as a Get and the Put that follows; [Shared]
// does.
type Store interface {
	// Get returns the value that was last put under key. The slice belongs to
	// the caller and is not nil if the error is nil. The error matches
	// ErrNotFound if there is no value.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores data under key and replaces the value that was there. It does
	// not change data and keeps no reference to it.
	Put(ctx context.Context, key string, data []byte) error
	// Delete removes the value under key. It returns nil if there is none.
	Delete(ctx context.Context, key string) error
}

// CheckKey returns nil if key is one that every Store accepts: 1 to 128 bytes of
// [a-z0-9.-]. Such a key is the same in every keychain and on every file system.
// It has no separators, quotes, spaces or capital letters, which some of them
// change or misread. Hash or encode any other name.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("tokenstore: a key has 1 to %d bytes, and this one has %d",
			MaxKey, len(key))
	}
	if !plainName(key) {
		return errors.New("tokenstore: a key consists of a-z, 0-9, '.' and '-' only; " +
			"hash or encode other characters")
	}
	return nil
}

// plainName reports whether s consists of [a-z0-9.-] only.
func plainName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// checkCall begins every method of every store here. It refuses a bad key before
// it looks at ctx, so that a bad key is noticed in every test.
func checkCall(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// maxPut is the longest value that Put accepts: MaxData and 1 KiB for wrappers.
const maxPut = MaxData + 1<<10

// checkData refuses a value that is too large for Put.
func checkData(data []byte) error {
	if len(data) > maxPut {
		return fmt.Errorf("tokenstore: a value has at most %d bytes, and this one has %d",
			MaxData, len(data))
	}
	return nil
}
