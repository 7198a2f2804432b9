package oauthclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// leased is a store with locks that can be lost, as those of machines that share one.
type leased struct {
	*tokenstore.Memory
	lose context.CancelCauseFunc // of the lock taken last
}

var errLeaseOver = errors.New("the lease is over")

func (l *leased) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	held, unlock, err := l.Memory.Lock(ctx, key)
	if err == nil {
		held, l.lose = context.WithCancelCause(held)
	}
	return held, unlock, err
}

// The lock is lost between the record and the request: another may be sending the refresh token by now, and whoever is second ends the session.
func TestLostLockSendsNothing(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	store := &leased{Memory: &tokenstore.Memory{}}
	cfg := server.Config()
	cfg.Store = store
	first, err := oauthclient.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, first.Close()) }()
	_, err = first.Login(t.Context(), nil)
	require.NoError(t, err)

	losing := true
	base := cfg.Transport
	if base == nil {
		own := &http.Transport{}
		defer own.CloseIdleConnections()
		base = own
	}
	cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if losing && strings.Contains(r.URL.Path, ".well-known") { // which the refresh asks for first
			store.lose(errLeaseOver)
		}
		return base.RoundTrip(r)
	})
	second, err := oauthclient.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	session, err := second.Session(t.Context(), "")
	require.NoError(t, err)
	sent := server.Requests("token")
	require.Error(t, session.Refresh(t.Context()))
	require.Equal(t, sent, server.Requests("token"), "the refresh token was sent without the lock")

	losing = false
	require.NoError(t, session.Refresh(t.Context()), "and with the lock it goes on")
	require.Equal(t, sent+1, server.Requests("token"))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
