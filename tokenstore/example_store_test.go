package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// vault stands for the client of a secret manager that a company has. With these three methods it is a store for one client in one
// process; with a Lock of its own (see Locker) it is one that machines can share. Hold yours to the contract with storetest.Run.
type vault struct {
	secrets sync.Map // in earnest a connection
}

var _ tokenstore.Store = (*vault)(nil)

func (v *vault) Get(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	data, ok := v.secrets.Load(key)
	if !ok {
		return nil, tokenstore.ErrNotFound // and only where that is known: what could not be read is not absent
	}
	return []byte(data.(string)), nil
}

func (v *vault) Put(ctx context.Context, key string, data []byte) error {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	if len(data) > tokenstore.MaxData+1024 { // a little more than a value, for what Seal adds
		return errors.New("the value is too large")
	}
	v.secrets.Store(key, string(data)) // a copy; durable before the return
	return nil
}

func (v *vault) Delete(ctx context.Context, key string) error {
	if err := errors.Join(tokenstore.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	v.secrets.Delete(key) // there being none is no error
	return nil
}

// A store of one's own, for oauthclient.Config.Store. Seal keeps from it what it shall not know.
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
