package session

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// S105: a provider cache that is too large is not used, although it is authentic, and
// none is written.
func TestS105TooLarge(t *testing.T) {
	key, err := tokenstore.ParseKey(strings.Repeat("5a", 32))
	require.NoError(t, err)
	store := tokenstore.NewFile(t.TempDir()+"/store", key)
	k := &Keeper{Store: store}
	g := &Grant{Realm: "https://op.example", Party: "cli", CacheKey: newCacheKey()}
	for size, fits := range map[int]bool{maxCache / 2: true, maxCache: false, maxCache + 1: false} {
		body := bytes.Repeat([]byte{'x'}, size)
		k.SetProviderCache(t.Context(), g, body)
		require.Equal(t, fits, k.ProviderCache(t.Context(), g) != nil, "%d bytes", size)
		require.NoError(t, store.WriteJournal(t.Context(), g.cacheName(), append([]byte(cacheFormat+g.seal(body)+"\n"), body...)))
		require.Equal(t, fits, k.ProviderCache(t.Context(), g) != nil, "%d bytes", size)
		k.DropProviderCache(t.Context(), Key(g.Realm, g.Party, g.Account))
		require.Nil(t, k.ProviderCache(t.Context(), g))
	}
}

// A store that does not keep files of its own has no provider cache.
func TestOtherStoresHaveNoProviderCache(t *testing.T) {
	k := &Keeper{Store: &tokenstore.Memory{}}
	g := &Grant{Realm: "https://op.example", Party: "cli", CacheKey: newCacheKey()}
	k.SetProviderCache(context.Background(), g, []byte("{}"))
	require.Nil(t, k.ProviderCache(context.Background(), g))
}
