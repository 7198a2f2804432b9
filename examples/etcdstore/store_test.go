package etcdstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/nativeoauth/nativeoauth/examples/etcdstore"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/nativeoauth/nativeoauth/tokenstore/storetest"
)

const testKey = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="

func sealed(t *testing.T, s *etcdstore.Store) *tokenstore.Sealed {
	t.Helper()
	key, err := tokenstore.ParseKey(testKey)
	require.NoError(t, err)
	return tokenstore.Seal(s, key)
}

// Each handle is another machine with its own connection.
func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	t.Run("bare", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) tokenstore.Store { return &etcdstore.Store{Client: c.client(t)} })
	})
	t.Run("sealed", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) tokenstore.Store {
			return sealed(t, &etcdstore.Store{Client: c.client(t), Prefix: "/sealed/"})
		})
		client := c.client(t)
		require.NoError(t, sealed(t, &etcdstore.Store{Client: client, Prefix: "/sealed/"}).Put(t.Context(), "a", []byte("refresh token")))
		all, err := client.Get(t.Context(), "/sealed/", clientv3.WithPrefix())
		require.NoError(t, err)
		for _, kv := range all.Kvs {
			require.NotContains(t, string(kv.Value), "refresh token")
		}
		require.NotEmpty(t, all.Kvs)
	})

	client := c.client(t)
	store := &etcdstore.Store{Client: client, Prefix: "/one/", TTL: 3 * time.Second}
	other := &etcdstore.Store{Client: c.client(t), Prefix: "/one/", TTL: 3 * time.Second}
	ctx := t.Context()

	// The cluster takes the lease away before the holder notices. The transaction
	// fails.
	t.Run("FencedByTheCluster", func(t *testing.T) {
		require.NoError(t, store.Put(ctx, "a", []byte("before")))
		held, unlock, err := store.Lock(ctx, "a")
		require.NoError(t, err)
		require.NoError(t, store.WriteJournal(held, "a", []byte("ours")))
		revokeAll(t, client)
		_, unlockOther, err := other.Lock(ctx, "a")
		require.NoError(t, err)
		defer func() { require.NoError(t, unlockOther()) }()

		late := context.WithoutCancel(held)
		require.ErrorIs(t, store.Put(late, "a", []byte("late")), etcdstore.ErrLockLost)
		require.ErrorIs(t, store.Delete(late, "a"), etcdstore.ErrLockLost)
		require.ErrorIs(t, store.WriteJournal(late, "a", []byte("late")), etcdstore.ErrLockLost)
		<-held.Done()
		require.ErrorIs(t, context.Cause(held), etcdstore.ErrLockLost)
		require.NoError(t, unlock())
		wantStored(t, other, "a", "before", "ours")
	})

	t.Run("FencedByTheOuterLock", func(t *testing.T) {
		outer, unlockOuter, err := store.Lock(ctx, "outer")
		require.NoError(t, err)
		held, unlock, err := store.Lock(outer, "inner")
		require.NoError(t, err)
		require.NoError(t, store.WriteJournal(held, "outer", nil))
		require.NoError(t, unlockOuter())
		require.ErrorIs(t, store.Put(held, "inner", nil), etcdstore.ErrLockLost)
		require.NoError(t, held.Err(), "the inner lock is still held")
		require.NoError(t, unlock())
	})

	t.Run("AfterUnlock", func(t *testing.T) {
		held, unlock, err := store.Lock(ctx, "b")
		require.NoError(t, err)
		require.NoError(t, unlock())
		require.ErrorIs(t, store.Put(context.WithoutCancel(held), "b", []byte("late")), etcdstore.ErrLockLost)
		_, err = other.Get(ctx, "b")
		require.ErrorIs(t, err, tokenstore.ErrNotFound)
	})

	t.Run("JournalsNeedTheLock", func(t *testing.T) {
		require.Error(t, store.WriteJournal(ctx, "c", nil))
		held, unlock, err := store.Lock(ctx, "d")
		require.NoError(t, err)
		require.Error(t, store.WriteJournal(held, "c", nil))
		require.NoError(t, unlock())
		_, err = store.ReadJournal(ctx, "c")
		require.ErrorIs(t, err, tokenstore.ErrNotFound)
	})

	// A lease is renewed as long as the lock is held.
	t.Run("LongerThanTheLease", func(t *testing.T) {
		held, unlock, err := store.Lock(ctx, "e")
		require.NoError(t, err)
		time.Sleep(2 * store.TTL)
		require.NoError(t, held.Err())
		require.NoError(t, store.Put(held, "e", []byte("ours")))
		require.NoError(t, unlock())
	})

	// A machine that gives up waiting does not block the machines behind it.
	t.Run("LeavesTheQueue", func(t *testing.T) {
		_, unlock, err := store.Lock(ctx, "f")
		require.NoError(t, err)
		impatient, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, _, err = other.Lock(impatient, "f")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, unlock())
		for _, kv := range under(t, client, "/one/locks/f/") {
			t.Errorf("%s is left in the queue", kv)
		}
	})

	t.Run("LeavesNothingBehind", func(t *testing.T) {
		require.NoError(t, store.Put(ctx, "g", nil))
		require.NoError(t, store.Delete(ctx, "g"))
		require.Empty(t, under(t, client, "/one/writes/"))
		require.Empty(t, under(t, client, "/one/values/g"))
		keys, err := store.List(ctx, "g")
		require.NoError(t, err)
		require.Empty(t, keys)
	})
}

func TestUnavailableClusterIsAnError(t *testing.T) {
	t.Parallel()
	client, err := connect([]string{"127.0.0.1:1"})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	for name, store := range map[string]*etcdstore.Store{"no client": {}, "no cluster": {Client: client, Timeout: time.Millisecond}} {
		ctx := t.Context()
		_, err := store.Get(ctx, "a")
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, name)
		require.NotErrorIs(t, err, tokenstore.ErrNotFound, name)
		require.ErrorIs(t, store.Put(ctx, "a", nil), tokenstore.ErrUnavailable, name)
		require.ErrorIs(t, store.Probe(ctx), tokenstore.ErrUnavailable, name)
		_, _, err = store.Lock(ctx, "a")
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, name)
		_, err = store.List(ctx, "")
		require.ErrorIs(t, err, tokenstore.ErrUnavailable, name)
	}
}

func wantStored(t *testing.T, s *etcdstore.Store, key, value, journal string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, value, string(got))
	got, err = s.ReadJournal(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, journal, string(got))
}

func under(t *testing.T, client *clientv3.Client, prefix string) (keys []string) {
	t.Helper()
	resp, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	for _, kv := range resp.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), prefix))
	}
	return keys
}

func revokeAll(t *testing.T, client *clientv3.Client) {
	t.Helper()
	leases, err := client.Leases(t.Context())
	require.NoError(t, err)
	for _, l := range leases.Leases {
		if _, err := client.Revoke(t.Context(), l.ID); err != nil && !errors.Is(err, context.Canceled) {
			require.NoError(t, err)
		}
	}
}

func isLost(err error) bool { return errors.Is(err, etcdstore.ErrLockLost) }
