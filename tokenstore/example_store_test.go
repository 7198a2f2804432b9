package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// vault stands for the client of a secret manager. With the three methods of Store
// it is a store for one client in one process. With those of Shared, machines could
// share it. Test your store with storetest.Run.
type vault struct {
	secrets sync.Map // in a real program, a connection
}

var _ tokenstore.Store = (*vault)(nil)

func (v *vault) Get(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	data, ok := v.secrets.Load(key)
	if !ok {
		return nil, tokenstore.ErrNotFound // only if the read succeeded
	}
	return []byte(data.(string)), nil
}

func (v *vault) Put(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	if len(data) > tokenstore.MaxData+1024 { // Seal adds a little
		return errors.New("the value is too large")
	}
	v.secrets.Store(key, string(data)) // a copy; durable when Put returns
	return nil
}

func (v *vault) Delete(ctx context.Context, key string) error {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	v.secrets.Delete(key) // no error if there is none
	return nil
}

// A program can supply a store of its own as oauthclient.Config.Store. With Seal,
// that store sees encrypted values only.
func ExampleStore() {
	key, err := tokenstore.ParseKey("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, plain := context.Background(), &vault{}
	store := tokenstore.Seal(plain, key)
	fmt.Println(store.Put(ctx, "session", []byte("secret")))
	sealed, _ := plain.Get(ctx, "session")
	opened, err := store.Get(ctx, "session")
	fmt.Println(len(sealed) > len(opened), string(opened), err)
	// Output:
	// <nil>
	// true secret <nil>
}
