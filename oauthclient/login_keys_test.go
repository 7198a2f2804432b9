package oauthclient_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// unavailableFor has the next n fetches of the keys answered with 503.
func (h *hostile) unavailableFor(n int32) {
	var left atomic.Int32
	left.Store(n)
	h.lie(authserver.JWKS, func(_ heardRequest, a *lyingReply) {
		if left.Add(-1) >= 0 {
			a.Status, a.Body = 503, nil
		}
	})
}

// The provider has changed its keys, and its key set answers 503 for a moment. The
// login waits and succeeds.
func TestLoginOutlivesAnOutageOfTheKeys(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]int32{"one 503": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, authserver.Config{})
			c, _ := h.login(t)
			require.NoError(t, h.RotateKey(""))
			before := len(h.got(authserver.JWKS))
			h.unavailableFor(outage)
			s, err := c.Login(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, s.Refresh(t.Context()))
			require.Len(t, h.got(authserver.JWKS), before+int(outage)+1)
			require.Empty(t, h.got(authserver.Revocation), "no tokens were given up")
		})
	}
}

// If the keys stay away, the login fails in the end, after a bounded number of
// fetches. It is a failure that may pass: no forgery, no invalid response.
func TestLoginWithoutKeysIsAPassingFailure(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	c, s := h.login(t)
	require.NoError(t, h.RotateKey(""))
	before := len(h.got(authserver.JWKS))
	h.unavailableFor(1000)
	_, err := c.Login(t.Context(), nil)
	requireKeysUnavailable(t, err)
	require.Len(t, h.got(authserver.JWKS), before+4)
	_, err = s.Token(t.Context())
	require.NoError(t, err, "the session before it still works")
	h.lie(authserver.JWKS, nil)
	other, err := newClient(t, h.cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, other.Refresh(t.Context()))
}

// The same at a refresh: for a minute the keys are not fetched again (S81), and all
// that time the failure is one that may pass. Another process verifies what came,
// without another refresh, and then the first one goes on with it too.
func TestRefreshWithoutKeysIsAPassingFailure(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	_, s := h.login(t)
	require.NoError(t, h.RotateKey(""))
	fetched, sent := len(h.got(authserver.JWKS)), len(h.got(authserver.Token))
	h.unavailableFor(1)
	for range 5 {
		requireKeysUnavailable(t, s.Refresh(t.Context()))
	}
	require.Len(t, h.got(authserver.JWKS), fetched+1)
	require.Len(t, h.got(authserver.Token), sent+1, "one refresh, whose answer is kept")

	other, err := newClient(t, h.cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, other.Refresh(t.Context()))
	require.Eventually(t, func() bool { return s.Refresh(t.Context()) == nil },
		time.Minute, 100*time.Millisecond, "after a short pause")
	_, err = s.Token(t.Context())
	require.NoError(t, err)
	require.Empty(t, h.got(authserver.Revocation))
}

func requireKeysUnavailable(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "keys")
	require.NotErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.NotContains(t, err.Error(), "not a token that the provider signed")
}

// A provider that changes its keys twice in a minute: a login's tokens would be lost,
// and a refresh would wait for a minute, if the keys were not fetched once more.
func TestKeysThatChangeTwiceInAMinute(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{})
	c, s := h.login(t)
	for range 2 {
		require.NoError(t, h.RotateKey(""))
		require.NoError(t, s.Refresh(t.Context()))
		require.NoError(t, h.RotateKey(""))
		var err error
		s, err = c.Login(t.Context(), nil)
		require.NoError(t, err)
	}
}
