package session

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A real KeePassXC prompts before the session of an earlier process is replaced.
// It does so before the refresh token is sent, the refresh waits as long as the
// user takes, and the new refresh token is stored.
func TestKeePassXCConfirmsBeforeTheRotation(t *testing.T) {
	tool := realparts.Need(t, "secret-tool")[0]
	ring := realparts.StartKeePassXC(t, realparts.KeePassXCSettings{})
	ring.Setenv(t)
	store, p := &tokenstore.Keyring{}, &provider{}
	g := signedIn(p)
	g.Generation = 1
	data, err := g.encode()
	require.NoError(t, err)
	earlier := exec.Command(tool, "store", "--label=x", "service", "nativeoauth", "username", key)
	earlier.Env = ring.Environ()
	earlier.Stdin = strings.NewReader("nativeoauth1:text:" + string(data))
	require.NoError(t, earlier.Run())

	k := newKeeper(store)
	_, err = k.Refresh(t.Context(), Attempt{Key: key, Early: true, Serves: newer(1), Send: p.send})
	require.ErrorIs(t, err, errWouldPrompt)
	require.Zero(t, ring.Dialogs())

	answered := make(chan error, 1)
	go func() {
		time.Sleep(5 * time.Second) // longer than a call without a prompt may take
		answered <- ring.AllowAccess()
	}()
	openWhenSent := -1
	got, err := k.Refresh(t.Context(), Attempt{
		Key: key, Serves: newer(1),
		Send: func(ctx context.Context, g *Grant) (*Grant, error) {
			openWhenSent = ring.Dialogs()
			require.NoError(t, <-answered)
			return p.send(ctx, g)
		},
	})
	require.NoError(t, err)
	require.Zero(t, openWhenSent, "the user had answered")
	seen, err := newKeeper(store).Read(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, got.RefreshToken.Reveal(), seen.Grant.RefreshToken.Reveal())
	require.Equal(t, "r1", seen.Grant.RefreshToken.Reveal())
}
