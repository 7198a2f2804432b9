package tokenstore

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain reports goroutines that outlive the tests.
func TestMain(m *testing.M) {
	if os.Getenv("TOKENSTORE_KEYRING_CHILD") != "" {
		// go-keyring keeps its connection to the session bus, and its goroutines live as
		// long as the child.
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

var (
	keyA = [32]byte{1}
	keyB = [32]byte{2}
)

func testKey(t testing.TB) Key {
	t.Helper()
	key, err := ParseKey(strings.Repeat("ab", 32))
	require.NoError(t, err)
	return key
}

// bare is a Store without optional interfaces.
type bare struct{ m *Memory }

func (b bare) Get(ctx context.Context, key string) ([]byte, error)    { return b.m.Get(ctx, key) }
func (b bare) Put(ctx context.Context, key string, data []byte) error { return b.m.Put(ctx, key, data) }
func (b bare) Delete(ctx context.Context, key string) error           { return b.m.Delete(ctx, key) }

// cheapPassphrase returns a key with a derivation of microseconds. If prompted is
// not nil, it is called at each prompt.
func cheapPassphrase(typed string, prompted func(create bool)) Key {
	return cheap(Passphrase(func(_ context.Context, create bool) ([]byte, error) {
		if prompted != nil {
			prompted(create)
		}
		return []byte(typed), nil
	}))
}

// cheap makes the derivation of a passphrase cheap.
func cheap(key Key) Key {
	(*key.state).cost = derivation{time: 1, memory: 64, threads: 1}
	return key
}
