package tokenstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// openStore returns the store for the sessions of a program that runs on desktops
// and on servers. setting is what openStore returned before the first login, and
// the program has kept it in its configuration since; it is empty before that.
//
// The keychain is probed once. If it fails later, because it is locked or its
// service is not running, that is an error for the user to see. The session is
// still in it. A program that silently switched to the file would prompt for a
// new login and leave a valid refresh token behind.
func openStore(
	ctx context.Context, setting string, sealed *tokenstore.File,
) (store tokenstore.Store, newSetting string) {
	keychain := &tokenstore.Keyring{Service: "my-cli"}
	switch setting {
	case "keychain":
		return keychain, setting
	case "file":
		return sealed, setting
	}
	if err := keychain.Probe(ctx); err != nil {
		log.Printf("The session will be kept in an encrypted file: %v", err)
		return sealed, "file"
	}
	return keychain, "keychain"
}

// A program chooses the keychain if it works, and otherwise an encrypted file. It
// stays with that choice.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=") // os.Getenv("MY_CLI_KEY")
	if err != nil {
		log.Fatal(err)
	}

	setting := "file" // read from the configuration; empty before the first login
	sealed := tokenstore.NewFile(filepath.Join(dir, "sessions"), key)
	store, setting := openStore(context.Background(), setting, sealed)
	fmt.Println(setting, store == tokenstore.Store(sealed))
	// Output: file true
}
