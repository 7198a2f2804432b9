//go:build !darwin

package tokenstore

import (
	"errors"

	"github.com/zalando/go-keyring"
)

// go-keyring makes these calls. They cannot be cancelled.

func (keychain) set(service, key, text string) error { return keyring.Set(service, key, text) }

func (keychain) remove(service, key string) error {
	return libraryError(keyring.Delete(service, key))
}

func libraryGet(service, key string) (string, error) {
	text, err := keyring.Get(service, key)
	return text, libraryError(err)
}

func libraryError(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return ErrNotFound
	}
	return err
}
