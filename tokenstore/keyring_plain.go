//go:build !(linux || netbsd || openbsd || (cgo && (freebsd || dragonfly)))

package tokenstore

import (
	"context"

	"github.com/zalando/go-keyring"
)

// keychain is one that each call of go-keyring reaches by itself. There is
// nothing to keep open between calls.
type keychain struct {
	prompts bool // the system may prompt the user
}

func (keychain) close() {}

func (keychain) get(_ context.Context, service, key string) (string, error) {
	return keyring.Get(service, key)
}
