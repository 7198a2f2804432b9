package tokenstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A store on another machine, such as a database, need not be trusted with tokens.
func ExampleSeal() {
	var database tokenstore.Memory // in place of a store of your own

	key, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=") // os.Getenv("MY_CLI_KEY")
	if err != nil {
		log.Fatal(err)
	}
	store := tokenstore.Seal(&database, key) // for Config.Store
	ctx := context.Background()
	if err := store.Put(ctx, "session", []byte("secret")); err != nil {
		log.Fatal(err)
	}

	seen, err := database.Get(ctx, "session")
	fmt.Println("the database sees it:", bytes.Contains(seen, []byte("secret")), err)
	data, err := store.Get(ctx, "session")
	fmt.Println(string(data), err)
	// Output:
	// the database sees it: false <nil>
	// secret <nil>
}
