//go:build !(darwin || linux || netbsd || openbsd || (cgo && (freebsd || dragonfly)))

package tokenstore

import "context"

// keychain is one that each call of go-keyring reaches by itself. There is
// nothing to keep open between calls.
type keychain struct {
	locked  bool // known to be; always false here
	prompts bool // the system may prompt the user in any call
}

func (keychain) close() {}

// answers is false because nothing tells a prompt from a keychain that hangs.
func (keychain) answers(context.Context) bool { return false }

func (keychain) confirmsWrites(context.Context) (bool, error) { return false, nil }

func (keychain) get(_ context.Context, service, key string) (string, error) {
	return libraryGet(service, key)
}
