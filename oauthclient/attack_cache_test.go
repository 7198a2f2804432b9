package oauthclient

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/session"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The provider cache says where tokens are sent. In these tests an attacker has it
// say something else.

// S98: a cache that names another token endpoint was not written by somebody with the
// session.
func TestS98AnotherTokenEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.tamper(func(_, m map[string]any) { m["token_endpoint"] = r.other + "/token" })
	r.requireNoCache()
}

// S99: a cache with the metadata of another issuer is not used, whoever wrote it.
func TestS99AnotherIssuer(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.replace(func(_, m map[string]any) {
		m["issuer"], m["token_endpoint"] = r.other, r.other+"/token"
	})
	r.requireNoCache()
	r.replace(func(k, m map[string]any) { k["issuer"] = r.other })
	r.requireNoCache()
}

// S100: cached endpoints are https, as those that were just fetched.
func TestS100HTTP(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { r.stolen.Add(1) }))
	defer thief.Close()
	r.login(r.cfg)
	r.replace(func(_, m map[string]any) { m["token_endpoint"] = thief.URL + "/token" })
	r.requireNoCache()
}

// S101: a key that was added to the cache verifies no ID token.
func TestS101AKeyAdded(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	key := josetest.New(t, "ES256", "added")
	r.tamper(func(k, _ map[string]any) { k["keys"] = josetest.Set(key) })
	r.says(authserver.Token, func(_ http.ResponseWriter, m map[string]any) bool {
		now := time.Now()
		m["id_token"] = key.Sign(map[string]any{
			"iss": r.Issuer(), "aud": "cli", "sub": "alice", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		})
		return false
	})
	asked, err := r.refresh()
	require.Error(t, err)
	require.Contains(t, asked, authserver.JWKS)
}

// S102: the cache of another client, or of another account, is not used. That holds for
// an account whose session is a copy, and has the same key.
func TestS102AnotherClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	other := r.cfg
	other.ClientID = "other"
	r.login(other)
	theirs, err := os.ReadFile(r.file("other"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.file("cli"), theirs, 0o600))
	r.requireNoCache()
	r.replace(func(k, m map[string]any) { k["client_id"], m["token_endpoint"] = "other", r.other+"/token" })
	r.requireNoCache()

	r.process(r.cfg, func(c *Client) {
		seen, err := c.keeper.Read(t.Context(), r.key())
		require.NoError(t, err)
		copied := *seen.Grant
		copied.Account = "copy"
		require.NotNil(t, c.keeper.ProviderCache(t.Context(), seen.Grant))
		ours, err := os.ReadFile(r.file("cli"))
		require.NoError(t, err)
		name := session.Key(copied.Realm, copied.Party, copied.Account) + ".provider"
		require.NoError(t, c.store.(tokenstore.Shared).WriteJournal(t.Context(), name, ours))
		require.Nil(t, c.keeper.ProviderCache(t.Context(), &copied))
	})
}

// S103: a cache that was replaced is not put back, although it is authentic. The
// session remembers which metadata it was used with. A cache from before the login
// is not authentic.
func TestS103AnOlderCache(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.trusted.Store(true)
	r.tokenEndpoint(r.other + "/token")
	r.login(r.cfg)
	file := r.file("cli")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	r.trusted.Store(false)
	r.says(authserver.Metadata, nil)
	require.NoError(t, os.Remove(file))
	_, err = r.refresh()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, old, 0o600))
	r.requireNoCache()

	r.login(r.cfg)
	require.NoError(t, os.WriteFile(file, old, 0o600))
	r.requireNoCache()
}

// S103: the same holds if another account's older cache is in memory.
func TestS103AnOlderCacheOfAnotherAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.replace(func(_, m map[string]any) { m["token_endpoint"] = r.other + "/token" })
	r.process(r.cfg, func(c *Client) {
		_, err := c.Login(t.Context(), &LoginOptions{Account: "newer"})
		require.NoError(t, err)
	})
	r.process(r.cfg, func(c *Client) {
		endpoints := map[string]string{"": r.other + "/token", "newer": r.Issuer() + "/token"}
		for _, account := range []string{"", "newer", ""} {
			seen, err := c.keeper.Read(t.Context(), session.Key(r.cfg.Issuer, "cli", account))
			require.NoError(t, err)
			p, err := c.providers.of(t.Context(), seen.Grant)
			require.NoError(t, err)
			require.True(t, p.cached)
			require.Equal(t, endpoints[account], p.doc.TokenEndpoint)
			endpoints[""] = r.Issuer() + "/token" // newer ones are good for both
		}
	})
}

// S104: a cache is used for a day, and not if it claims to be from the future.
func TestS104TooOld(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	for age, used := range map[time.Duration]bool{23 * time.Hour: true, 25 * time.Hour: false, -time.Hour: false} {
		at := time.Now().Add(-age).UnixMilli()
		r.replace(func(k, _ map[string]any) { k["metadata_at"] = at })
		r.process(r.cfg, func(c *Client) {
			seen, err := c.keeper.Read(t.Context(), r.key())
			require.NoError(t, err)
			g := *seen.Grant
			g.CacheSince = time.Time{} // or S103 refuses what is old
			require.Equal(t, used, c.providers.readCache(t.Context(), &g) != nil, "%v old", age)
			p, err := c.providers.of(t.Context(), &g)
			require.NoError(t, err)
			require.Equal(t, used, p.cached, "%v old", age)
		})
	}
}

// S106, S107: the file is no link, has no other name, and is this user's own.
func TestS106S107NotAnOwnFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("skipped: a link needs a right there, and the owner is not judged")
	}
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	file, elsewhere := r.file("cli"), filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.Rename(file, elsewhere))
	require.NoError(t, os.Symlink(elsewhere, file))
	notUsed := func() {
		t.Helper()
		asked, err := r.refresh()
		require.NoError(t, err)
		require.Contains(t, asked, authserver.Metadata)
		_ = os.Remove(file)
		_, err = r.refresh() // writes a good one
		require.NoError(t, err)
	}
	notUsed()
	require.NoError(t, os.Link(file, elsewhere+"-hard"))
	notUsed()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can give a file away (S107)")
	}
	require.NoError(t, os.Chown(file, 12345, 12345))
	notUsed()
}

// S108: of a file that was not written whole, nothing is used: neither a part of one,
// nor parts of two.
func TestS108HalfWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.trusted.Store(true)
	r.tokenEndpoint(r.other + "/token")
	r.login(r.cfg)
	file := r.file("cli")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	r.trusted.Store(false)
	r.tokenEndpoint(r.Issuer() + "/token")
	require.NoError(t, os.Remove(file))
	_, err = r.refresh()
	require.NoError(t, err)
	for _, half := range [][]byte{nil, old[:10], old[:100], old[:len(old)/2], old[:len(old)-1]} {
		require.NoError(t, os.WriteFile(file, half, 0o600))
		r.requireNoCache()
	}
	// A torn file: a new time, and an old token endpoint.
	r.tamper(func(k, m map[string]any) {
		now := maps.Clone(k)
		m["token_endpoint"] = r.other + "/token"
		k["metadata_at"] = now["metadata_at"]
	})
	r.requireNoCache()
}

// S109: a code is sent once, and to the token endpoint of today. If the cache is all
// that is known, and its token endpoint is gone, the login fails.
func TestS109ACodeOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, authserver.Config{})
	r.login(r.cfg)
	r.replace(func(_, m map[string]any) { m["token_endpoint"] = r.other + "/token" })
	asked := r.login(r.cfg)
	require.Zero(t, r.stolen.Load(), "what was sent to a thief")
	require.Equal(t, 1, count(asked, authserver.Token))

	gone := func(w http.ResponseWriter, _ map[string]any) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	r.says(authserver.Token, gone)
	r.says(authserver.Metadata, func(w http.ResponseWriter, _ map[string]any) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	asked = r.process(r.cfg, func(c *Client) {
		_, err := c.Login(t.Context(), nil)
		require.Error(t, err)
	})
	require.Equal(t, 1, count(asked, authserver.Token))
	r.says(authserver.Token, nil)
	r.says(authserver.Metadata, nil)
	require.Contains(t, r.login(r.cfg), authserver.Metadata)
}

func count(asked []string, endpoint string) (n int) {
	for _, e := range asked {
		if e == endpoint {
			n++
		}
	}
	return n
}
