package session

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// keychain is a store in memory that prompts the user as a keychain does.
type keychain struct {
	tokenstore.Memory

	mu       sync.Mutex
	locked   bool          // the next Get prompts for the password
	confirms bool          // every Put prompts
	answer   bool          // the user's answer
	thinking time.Duration // the user takes so long
	prompted []string      // "Get" or "Put" for each prompt
}

func (k *keychain) prompt(ctx context.Context, call string) error {
	k.mu.Lock()
	k.prompted = append(k.prompted, call)
	answer, thinking := k.answer, k.thinking
	k.mu.Unlock()
	select {
	case <-time.After(thinking):
	case <-ctx.Done():
		return ctx.Err()
	}
	if !answer {
		return tokenstore.ErrDismissed
	}
	k.mu.Lock()
	k.locked = false
	k.mu.Unlock()
	return nil
}

func (k *keychain) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *keychain) prompts() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string{}, k.prompted...)
}

func (k *keychain) Get(ctx context.Context, key string) ([]byte, error) {
	if get, _, _ := k.Prompts(ctx); get {
		if err := k.prompt(ctx, "Get"); err != nil {
			return nil, err
		}
	}
	return k.Memory.Get(ctx, key)
}

func (k *keychain) Put(ctx context.Context, key string, data []byte) error {
	if _, put, _ := k.Prompts(ctx); put {
		if err := k.prompt(ctx, "Put"); err != nil {
			return err
		}
	}
	return k.Memory.Put(ctx, key, data)
}

func (k *keychain) Probe(ctx context.Context) error {
	if get, _, _ := k.Prompts(ctx); get {
		return k.prompt(ctx, "Get")
	}
	return nil
}

func (k *keychain) Prompts(context.Context) (get, put bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locked, k.locked || k.confirms, nil
}

// A store that prompts before it replaces a value does so before the refresh token
// is sent. If the user says no, nothing was sent.
func TestConsentComesBeforeTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &keychain{}, &provider{}
		k, g := start(t, store, p)
		store.set(func() { store.confirms = true })
		a := Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := k.Refresh(ctx, a)
		require.ErrorIs(t, err, tokenstore.ErrDismissed)
		require.Empty(t, p.sent, "nothing is lost")
		require.Equal(t, []string{"Put"}, store.prompts())

		store.set(func() { store.answer, store.thinking = true, 50*time.Second })
		got, err := k.Refresh(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, "r1", got.RefreshToken.Reveal())
		require.Equal(t, []string{"r0"}, p.sent)
	})
}

// A locked store is unlocked before the refresh token is sent.
func TestUnlockComesBeforeTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &keychain{}, &provider{}
		k, g := start(t, store, p)
		a := Attempt{Key: key, Serves: newer(g.Generation), Send: p.send}
		store.set(func() { store.locked = true })
		_, err := k.Refresh(t.Context(), a)
		require.ErrorIs(t, err, tokenstore.ErrDismissed)
		require.Empty(t, p.sent)
	})
}

// After the rotation a prompt that was dismissed by mistake is shown once more
// before anybody is told, and the new token is kept until it is stored.
func TestADismissedPromptIsRepeatedAfterTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &keychain{}, &provider{}
		k, g := start(t, store, p)
		var told []error
		send := func(ctx context.Context, g *Grant) (*Grant, error) {
			store.set(func() {
				store.confirms = true
				time.AfterFunc(500*time.Millisecond, func() { store.set(func() { store.answer = true }) })
			})
			return p.send(ctx, g)
		}
		got, err := k.Refresh(t.Context(), Attempt{
			Key: key, Serves: newer(g.Generation), Send: send,
			Stalled: func(err error) { told = append(told, err) },
		})
		require.NoError(t, err)
		require.Equal(t, "r1", got.RefreshToken.Reveal())
		require.Equal(t, []string{"Put", "Put"}, store.prompts())
		require.Empty(t, told)
	})
}

// Nobody waits for an early refresh, so it prompts nobody. A refresh that another
// process left open is finished even so: the provider's grace period is short.
func TestEarlyRefreshesPromptNobody(t *testing.T) {
	for name, prompting := range map[string]func(*keychain){
		"locked":   func(k *keychain) { k.locked = true },
		"confirms": func(k *keychain) { k.confirms = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, p := &keychain{answer: true}, &provider{}
				k, g := start(t, store, p)
				store.set(func() { prompting(store) })
				a := Attempt{Key: key, Early: true, Known: g, Serves: newer(g.Generation), Send: p.send}
				_, err := k.Refresh(t.Context(), a)
				require.ErrorIs(t, err, errWouldPrompt)
				require.Empty(t, store.prompts())
				require.Empty(t, p.sent)

				_, j, err := k.adoptStored(t.Context(), Attempt{Key: key, Known: g, Serves: func(*Grant) bool { return false }})
				require.NoError(t, err)
				j.Open = &Operation{Kind: opRefresh, Generation: j.allot(g), Hash: g.hash()}
				require.NoError(t, k.writeJournal(t.Context(), key, j))
				_, err = k.Refresh(t.Context(), a)
				require.NoError(t, err)
				require.Equal(t, []string{"r0"}, p.sent)
			})
		})
	}
}

// A locked keychain prompts once. After a dismissal, the next calls of all accounts
// get the error at once for a minute.
func TestADismissedPromptPausesEveryAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := &keychain{}, &provider{}
		start(t, store, p)
		store.set(func() { store.locked = true })
		accounts := &Accounts{
			Keeper: newKeeper(store),
			Send:   func(ctx context.Context, g *Grant, _ *Slot) (*Grant, error) { return p.send(ctx, g) },
			Life:   t.Context(), Starting: t.Context(),
			Begin: func() error { return nil }, Done: func() {}, Logger: slog.New(slog.DiscardHandler),
		}
		one, two := accounts.Account("", key), accounts.Account("b", Key(issuer, client, "b"))
		for range 5 {
			_, err := one.Token(t.Context(), one.Slot("", nil))
			require.ErrorIs(t, err, tokenstore.ErrDismissed)
			_, err = two.Token(t.Context(), two.Slot("", nil))
			require.ErrorIs(t, err, tokenstore.ErrDismissed)
		}
		require.Equal(t, []string{"Get"}, store.prompts())
		time.Sleep(dismissedPause)
		store.set(func() { store.answer = true })
		token, err := one.Token(t.Context(), one.Slot("", nil))
		require.NoError(t, err)
		require.NotNil(t, token)
	})
}
