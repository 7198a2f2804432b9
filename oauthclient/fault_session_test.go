//go:build linux

package oauthclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// switchable is a transport with dialing that can be made to fail.
type switchable struct {
	base *http.Transport
	dial atomic.Pointer[func(context.Context) (net.Conn, error)]
}

func newSwitchable() *switchable {
	s := &switchable{}
	s.base = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dial := s.dial.Load(); dial != nil {
			return (*dial)(ctx)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	return s
}

// Item 4: what never reached the provider is told by its cause, is no reason to sign in again, costs nothing, and leaves nothing open.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	address := freeAddr(t)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for name, tc := range map[string]struct {
		dial  func(context.Context) (net.Conn, error)
		check func(*testing.T, error)
	}{
		"refused": {func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}, func(t *testing.T, err error) { require.ErrorIs(t, err, syscall.ECONNREFUSED) }},
		"dns": {func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", "no-such-host.invalid:443")
		}, func(t *testing.T, err error) {
			var dns *net.DNSError
			require.ErrorAs(t, err, &dns)
		}},
		"tls": {func(ctx context.Context) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
			return d.DialContext(ctx, "tcp", secure.Listener.Addr().String())
		}, func(t *testing.T, err error) {
			var cert *tls.CertificateVerificationError
			require.ErrorAs(t, err, &cert)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			as, cfg := authServer(t, authserver.Config{})
			way := newSwitchable()
			cfg.Transport = way.base
			session, err := newClient(t, cfg).Login(t.Context(), nil)
			require.NoError(t, err)
			way.dial.Store(&tc.dial)
			err = session.Refresh(t.Context())
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			tc.check(t, err)
			_, err = session.Token(t.Context())
			require.NoError(t, err)
			way.dial.Store(nil)
			require.Eventually(t, func() bool { return session.Refresh(t.Context()) == nil }, 10*time.Second, 50*time.Millisecond)
			require.Equal(t, 1, as.Stats().Refreshes)
		})
	}
}

// Retry-After is for everyone: a sibling process keeps the pause too, without asking.
func TestRetryAfterIsShared(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			var busy atomic.Bool
			w := newFleet(t, fleetOptions{auth: authserver.Config{Misbehave: func(endpoint string, next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if endpoint == authserver.Token && busy.Load() {
						rw.Header().Set("Retry-After", "3")
						rw.WriteHeader(status)
						return
					}
					next.ServeHTTP(rw, r)
				})
			}}})
			one, two := w.start(), w.start()
			one.do("login").ok(t)
			two.do("session").ok(t)
			busy.Store(true)
			require.NotEmpty(t, one.do("refresh").Err)
			busy.Store(false)
			asked := w.Requests(authserver.Token)
			r := two.do("refresh")
			require.Contains(t, r.Err, "try again in")
			require.False(t, r.LoginRequired)
			two.do("token").ok(t)
			require.Equal(t, asked, w.Requests(authserver.Token))
			time.Sleep(3 * time.Second)
			two.do("refresh").ok(t)
			one.end()
			two.end()
		})
	}
}

// fickle is a store that can be full.
type fickle struct {
	tokenstore.Memory
	full atomic.Bool
}

var errFull = errors.New("no space left")

func (f *fickle) Put(ctx context.Context, key string, data []byte) error {
	if f.full.Load() {
		return errFull
	}
	return f.Memory.Put(ctx, key, data)
}

// The store is full while a refresh is saved: its tokens are not published, callers go on with the old token while it lives and then get the
// store's error; the old refresh token is not sent again; and when there is space, the session is whole.
func TestStoreFullDuringSave(t *testing.T) {
	t.Parallel()
	store := &fickle{}
	as, cfg := authServer(t, authserver.Config{AccessTokenLifetime: 2 * time.Second, IDTokenLifetime: time.Minute})
	cfg.Store = store
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	sibling, err := newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	store.full.Store(true)
	require.ErrorIs(t, session.Refresh(t.Context()), errFull)
	for _, s := range []*oauthclient.Session{session, sibling} {
		tok, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.AccessToken, tok.AccessToken)
	}
	time.Sleep(time.Until(first.Expiry))
	_, err = session.Token(t.Context())
	require.ErrorIs(t, err, errFull)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = sibling.Token(ctx)
	require.Error(t, err)
	require.Equal(t, 1, as.Stats().Refreshes)
	store.full.Store(false)
	for _, s := range []*oauthclient.Session{session, sibling} {
		require.Eventually(t, func() bool {
			_, err := s.Token(t.Context())
			return err == nil
		}, 20*time.Second, 20*time.Millisecond)
	}
	require.Zero(t, as.Stats().Reuses)
}

// A keychain that is stopped: a hundred calls leave no more than one goroutine, a valid token is handed out all the same, nothing is deleted.
func TestStoppedKeychain(t *testing.T) {
	s := realparts.SecretService(t, realparts.Unlocked)
	s.Setenv(t)
	as, cfg := authServer(t, authserver.Config{})
	cfg.Store = &tokenstore.Keyring{Dir: t.TempDir(), Timeout: time.Second}
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	s.FreezeKeyring()
	require.ErrorIs(t, session.Refresh(t.Context()), tokenstore.ErrUnavailable)
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := session.Refresh(ctx); !errors.Is(err, tokenstore.ErrBusy) && !errors.Is(err, tokenstore.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if _, err := session.Token(ctx); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, 10*time.Millisecond)
	s.ThawKeyring()
	require.Eventually(t, func() bool { return session.Refresh(t.Context()) == nil }, 10*time.Second, 20*time.Millisecond)
	require.Zero(t, as.Stats().Reuses)
}

// Two accounts that log in at once do not get into each other's way.
func TestTwoAccountsAtOnce(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{})
	cfg.Scopes = []string{"offline_access"}
	c := newClient(t, cfg)
	for range size(50, 1000) {
		tokens := make([]string, 2)
		var both sync.WaitGroup
		for i, name := range []string{"one", "two"} {
			both.Go(func() {
				s, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: name})
				if err != nil {
					t.Error(err)
					return
				}
				tok, err := s.Token(t.Context())
				if err != nil || s.Account().Name != name {
					t.Errorf("%v, %v", s.Account(), err)
					return
				}
				tokens[i] = tok.AccessToken
			})
		}
		both.Wait()
		require.NotEqual(t, tokens[0], tokens[1])
	}
	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accounts, 2)
}
