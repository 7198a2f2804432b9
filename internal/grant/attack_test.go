package grant

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// S60: the provider takes its time over a refresh, and all the others come meanwhile: they wait for the lock, look again, and send nothing.
func TestS60SlowRefresh(t *testing.T) {
	store, p := &tokenstore.Memory{}, &provider{}
	_, g := start(t, store, p)
	slow := func(ctx context.Context, g *Grant) (*Grant, error) {
		time.Sleep(100 * time.Millisecond)
		return p.send(ctx, g)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := newKeeper(store).Refresh(t.Context(), Attempt{Key: key, Serves: newer(g.Generation), Send: slow})
			if err != nil || got.RefreshToken.Reveal() != "r1" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, []string{"r0"}, p.sent)
}
