package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A server has no keychain. It gets its key from outside, such as from a secret
// of the CI system in the environment.
func ExampleNewFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	key, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=") // os.Getenv("MY_CLI_KEY")
	if err != nil {
		log.Fatal(err)
	}
	store := tokenstore.NewFile(filepath.Join(dir, "my-cli"), key)
	ctx := context.Background()
	if err := store.Put(ctx, "session", []byte("secret")); err != nil {
		log.Fatal(err)
	}
	data, err := store.Get(ctx, "session")
	fmt.Println(string(data), err)
	fmt.Println(key)
	// Output:
	// secret <nil>
	// [redacted]
}

// The user types the passphrase once per process. A wrong one neither opens nor
// seals anything.
func ExamplePassphrase() {
	shared := &tokenstore.Memory{}
	ctx := context.Background()
	typed := func(passphrase string) tokenstore.Key {
		return tokenstore.Passphrase(func(_ context.Context, create bool) ([]byte, error) {
			if create {
				fmt.Println("Choose a passphrase:", passphrase)
			} else {
				fmt.Println("Passphrase:", passphrase)
			}
			return []byte(passphrase), nil
		})
	}
	first := tokenstore.Seal(shared, typed("correct horse"))
	fmt.Println(first.Put(ctx, "a", []byte("secret")), first.Put(ctx, "b", []byte("secret")))

	second := tokenstore.Seal(shared, typed("corect horse"))
	_, err := second.Get(ctx, "a")
	fmt.Println(errors.Is(err, tokenstore.ErrWrongKey))
	// Output:
	// Choose a passphrase: correct horse
	// <nil> <nil>
	// Passphrase: corect horse
	// true
}

// A program moves its sessions to another store, without signing its users in
// again: here from a file to one that another key seals.
func ExampleCopy() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	oldKey, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=")
	if err != nil {
		log.Fatal(err)
	}
	newKey, err := tokenstore.ParseKey("ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	before := tokenstore.NewFile(filepath.Join(dir, "before"), oldKey)
	if err := before.Put(ctx, "session", []byte("secret")); err != nil {
		log.Fatal(err)
	}

	after := tokenstore.NewFile(filepath.Join(dir, "after"), newKey)
	if err := tokenstore.Copy(ctx, after, before); err != nil {
		log.Fatal(err) // call it again: nothing is lost
	}
	data, err := after.Get(ctx, "session")
	fmt.Println(string(data), err)
	_, err = before.Get(ctx, "session")
	fmt.Println(errors.Is(err, tokenstore.ErrNotFound))
	// Output:
	// secret <nil>
	// true
}
