//go:build !(linux || netbsd || openbsd || (cgo && (freebsd || dragonfly)))

package tokenstore

import (
	"context"

	"github.com/zalando/go-keyring"
)

// keychain is one that is there for each call by itself.
type keychain struct {
	asks bool // a person may be asked
}

func (keychain) close() {}

func (keychain) get(_ context.Context, service, key string) (string, error) {
	return keyring.Get(service, key)
}
