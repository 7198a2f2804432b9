package session

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The provider cache is a file beside a session's journal. It holds what the
// session's process knows about its provider, so that the next process need not
// ask again. The file decides where tokens are sent, and others may be able to
// write it. So it is authenticated with a key that only the stored session has.

const (
	// cacheSuffix names the provider cache of a key.
	cacheSuffix = ".provider"
	// cacheFormat begins the file and is authenticated too.
	cacheFormat = "nativeoauth provider cache 1 "
	// maxCache bounds the file, in bytes. Metadata have 2 to 10 kB, and a key set
	// with certificates has up to 40 kB.
	maxCache = 256 << 10
)

// newCacheKey returns a key for a provider cache: 128 bits from the system's
// generator.
func newCacheKey() wire.Secret {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails: it would end the program
	return wire.NewSecret(base64.RawURLEncoding.EncodeToString(b))
}

// cacheName returns the name of g's provider cache in the store.
func (g *Grant) cacheName() string { return Key(g.Realm, g.Party, g.Account) + cacheSuffix }

// seal returns the authenticator of the provider cache body. It covers the name, so
// that the file of one account is of no use to another.
func (g *Grant) seal(body []byte) string {
	h := hmac.New(sha256.New, []byte(g.CacheKey.Reveal()))
	h.Write([]byte(cacheFormat + g.cacheName() + "\n"))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// KeepsFiles reports whether the lock and the journal of a store are files of this
// machine: those of the stores of this module that outlive the process.
func KeepsFiles(store tokenstore.Store) bool {
	switch store.(type) {
	case *tokenstore.Keyring, *tokenstore.File:
		return true
	}
	return false
}

// cacheStore returns the store if it keeps provider caches, beside its journals; nil:
// it does not.
func (k *Keeper) cacheStore() tokenstore.Shared {
	if !KeepsFiles(k.Store) {
		return nil
	}
	return k.Store.(tokenstore.Shared)
}

// ProviderCache returns the provider cache of g, as SetProviderCache was given it;
// nil: there is none. A file that cannot be read, is too large, or was not written
// by someone who has the session is none.
func (k *Keeper) ProviderCache(ctx context.Context, g *Grant) []byte {
	store := k.cacheStore()
	if store == nil || g.CacheKey.IsZero() {
		return nil
	}
	data, err := store.ReadJournal(ctx, g.cacheName())
	switch {
	case errors.Is(err, tokenstore.ErrNotFound), err == nil && len(data) == 0:
		return nil
	case err != nil:
		k.log().Warn("the provider cache cannot be read, and is not used", "account", g.Account, "err", err)
		return nil
	case len(data) > maxCache:
		k.log().Warn("the provider cache is too large, and is not used", "account", g.Account)
		return nil
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if !hmac.Equal(head, []byte(cacheFormat+g.seal(body))) {
		k.log().Warn("the provider cache is not of this session, and is not used", "account", g.Account)
		return nil
	}
	return body
}

// SetProviderCache stores data for later processes. It needs no lock: a file is
// replaced whole, and any process's is good. A failure costs the next process some
// time and is no error.
func (k *Keeper) SetProviderCache(ctx context.Context, g *Grant, data []byte) {
	store := k.cacheStore()
	if store == nil || g.CacheKey.IsZero() {
		return
	}
	data = append([]byte(cacheFormat+g.seal(data)+"\n"), data...)
	if len(data) > maxCache {
		k.log().Info("the provider cache would be too large", "bytes", len(data))
		return
	}
	if err := store.WriteJournal(ctx, g.cacheName(), data); err != nil {
		k.log().Info("the provider cache cannot be written", "err", err)
	}
}

// DropProviderCache empties the provider cache of the session that is stored under
// key, if it has one.
func (k *Keeper) DropProviderCache(ctx context.Context, key string) {
	store := k.cacheStore()
	if store == nil {
		return
	}
	data, err := store.ReadJournal(ctx, key+cacheSuffix)
	if errors.Is(err, tokenstore.ErrNotFound) || err == nil && len(data) == 0 {
		return
	}
	if err := store.WriteJournal(ctx, key+cacheSuffix, nil); err != nil {
		k.log().Info("the provider cache cannot be emptied", "err", err)
	}
}
