package session

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A read that a logout overtook does not bring the session back, though this process
// had not seen what it read.
func TestOvertakenByALogout(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	a.Stored(again("alice"))
	late := again("alice")
	late.Generation = 9
	a.Drop(10)
	a.publish(Snapshot{Grant: late, Newest: 9})
	require.Nil(t, a.Grant())
	next := again("alice")
	next.Generation = 11
	a.Stored(next)
	require.NotNil(t, a.Grant())
}

// While an account goes from one user to another, the first one's handle never sees
// the other's grant.
func TestGrantOfNobodyElse(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	g := again("alice")
	g.Subject, g.Generation = "alice", 1
	a.Stored(g)
	alice := a.Slot("", nil)
	for n := range 500 { // so that the change takes a while
		a.Slot(strconv.Itoa(n), nil)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range uint64(200) {
			next := again("")
			next.Subject, next.Generation = []string{"alice", "bob"}[n%2], n+2
			a.Stored(next)
		}
	}()
	for {
		if g, err := a.GrantOf(alice); err == nil {
			require.Equal(t, "alice", g.Subject)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// A login that finishes a logout waits no longer than its user does, though the
// deletion hangs.
func TestFinishLogoutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &hanging{land: make(chan bool)}, &provider{}
		k, _ := start(t, store, p)
		store.hang = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.Logout(ctx, ctx, key, func(uint64) {})
		require.Error(t, err)
		store.land <- false
		synctest.Wait()
		store.hang = true
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, k.FinishLogout(ctx, key), tokenstore.ErrUnavailable)
		require.Equal(t, time.Second, time.Since(began))
		store.land <- true
		synctest.Wait()
		require.NoError(t, k.FinishLogout(t.Context(), key))
	})
}

// single is a store for one process, which keeps the journal as a value. Its journals
// are damaged.
type single struct {
	tokenstore.Store
	damaged bool
}

func (s *single) Get(ctx context.Context, key string) ([]byte, error) {
	if s.damaged && strings.HasSuffix(key, journalSuffix) {
		return nil, tokenstore.ErrDamaged
	}
	return s.Store.Get(ctx, key)
}

// A journal that the store calls damaged is lost, and no session with it.
func TestDamagedJournalIsLost(t *testing.T) {
	store, p := &single{Store: &tokenstore.Memory{}}, &provider{}
	k, _ := start(t, store, p)
	store.damaged = true
	seen, err := k.Read(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "r0", seen.Grant.RefreshToken.Reveal())
	_, err = k.Save(t.Context(), key, again("next"), anyone, func() {})
	require.NoError(t, err)
}

// A rejection long ago says nothing once a good ID token has come. One that came with
// a narrower token in between is not another one.
func TestRejectionIsForgotten(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	rejected := func(generation uint64, kept string, obtained int) *Grant {
		return &Grant{
			Generation: generation, IDToken: wire.NewSecret(kept), IDTokenRejected: true,
			Tokens: []Token{{Obtained: time.Unix(int64(obtained), 0)}},
		}
	}
	require.True(t, a.FirstRejection(rejected(2, "one", 1)))
	require.True(t, a.FirstRejection(rejected(2, "one", 1)))
	require.True(t, a.FirstRejection(rejected(3, "one", 1)), "the login's own token was not refreshed")
	require.False(t, a.FirstRejection(rejected(4, "one", 2)))
	require.True(t, a.FirstRejection(rejected(9, "two", 3)))
	require.False(t, a.FirstRejection(rejected(10, "two", 4)))
}

// To notice another process's logout, the keychain is read once and not every few
// seconds.
func TestLookReadsTheJournal(t *testing.T) {
	store, p := &counting{}, &provider{}
	k, _ := start(t, store, p)
	as := newAccounts(t, store)
	a := as.Account("", key)
	require.NoError(t, a.Reload(t.Context()))
	before := store.gets
	for range 5 {
		require.NoError(t, a.Look(t.Context()))
	}
	require.Equal(t, before, store.gets)
	_, err := k.Logout(t.Context(), t.Context(), key, func(uint64) {})
	require.NoError(t, err)
	require.ErrorIs(t, a.Look(t.Context()), ErrSignedOut)
	require.Nil(t, a.Grant())
}

// The handle that a login returns is its user's, though the account has been signed
// out or taken meanwhile.
func TestSlotOfALogin(t *testing.T) {
	a := newAccounts(t, nil).Account("", key)
	alice, bob := again("alice"), again("bob")
	alice.Generation, bob.Subject, bob.Generation = 1, "bob", 5
	a.Stored(alice)
	a.Drop(2)
	signedOut := a.SlotOf(alice)
	a.Stored(bob)
	for _, s := range []*Slot{signedOut, a.SlotOf(alice)} {
		_, err := a.GrantOf(s)
		require.ErrorIs(t, err, ErrOtherUser)
		require.Nil(t, s.Cached())
	}
}

// A token is listed as usable for exactly as long as it is handed out.
func TestListedTokenIsHandedOut(t *testing.T) {
	obtained := time.Unix(1_000_000, 0)
	for _, life := range []time.Duration{5 * time.Second, time.Minute, time.Hour} {
		g := &Grant{Tokens: []Token{{Obtained: obtained, Expiry: obtained.Add(life)}}}
		c := newCached(&g.Tokens[0], 1, obtained, 0)
		until := g.Row().Until
		require.False(t, c.Valid(until), life)
		require.True(t, c.Valid(until.Add(-time.Millisecond)), life)
	}
}
