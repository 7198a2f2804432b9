package main

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// These tests assert exact counts and never wall times.

func TestWarmTokenAllocatesNothing(t *testing.T) {
	contenders, end, err := warmContenders(t.TempDir())
	require.NoError(t, err)
	defer end()
	for _, c := range contenders {
		if c.ours {
			require.Zero(t, testing.AllocsPerRun(1000, c.call), c.name)
		}
	}
}

// What a package of the SDK makes before main, every program pays for at each start.
func TestNothingIsMadeBeforeMain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nativeoauth")
	build := exec.Command("go", "build", "-o", path, "./cmd/nativeoauth")
	build.Dir = filepath.Join("..", "..")
	said, err := build.CombinedOutput()
	require.NoError(t, err, string(said))
	work, own, err := inittrace(&coldProgram{path: path, args: []string{"version"}})
	require.NoError(t, err)
	require.NotZero(t, work.packages)
	require.Equal(t, "none", own)
}

// inBubble signs in without a network. Tokens live for life, and the token
// endpoint takes slow.
func inBubble(t *testing.T, life, slow time.Duration) *oauthclient.Session {
	const issuer = "https://login.example.com"
	p, err := authserver.New(authserver.Config{
		Issuer:  issuer,
		Clients: []authserver.Client{{ID: clientID, RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		Users:   map[string]map[string]any{"alice": {}}, AutoUser: "alice", AccessTokenLifetime: life, IDTokenLifetime: life,
	})
	require.NoError(t, err)
	store := new(tokenstore.Memory)
	require.NoError(t, fill(t.Context(), store, issuer, 0, 1, life))
	direct := inMemory{p}
	cfg := oauthclient.Config{Issuer: issuer, ClientID: clientID, Scopes: []string{"offline_access"}, Store: store, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/token" {
			return direct.RoundTrip(r)
		}
		time.Sleep(slow)
		rec := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, Body: answer(life), Request: r}
		return rec, nil
	})}
	client, err := oauthclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	s, err := client.Session(t.Context(), "account-0")
	require.NoError(t, err)
	return s
}

// No call waits for a refresh while the token is still valid. In a bubble time
// passes only while every goroutine waits. So a call that takes any time has
// waited, and a slow machine cannot make one look so.
func TestNobodyWaitsAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBubble(t, 2*time.Second, slowToken)
		waited, tokens := crowdInBubble(func() (*oauth2.Token, error) { return s.Token(context.Background()) })
		require.Zero(t, waited)
		require.Greater(t, tokens, 10, "the tokens did expire")
	})
}

// The same crowd does notice a wait, as in ReuseTokenSource: one refresh under
// a lock. (The lock here is a channel, because waiting for a mutex does not
// count in a bubble.)
func TestTheCrowdSeesAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lock := make(chan struct{}, 1)
		var current *oauth2.Token
		waited, tokens := crowdInBubble(func() (*oauth2.Token, error) {
			lock <- struct{}{}
			defer func() { <-lock }()
			if current == nil || time.Until(current.Expiry) < slowToken {
				time.Sleep(slowToken)
				current = &oauth2.Token{AccessToken: time.Now().String(), Expiry: time.Now().Add(2 * time.Second)}
			}
			return current, nil
		})
		require.Greater(t, waited, 1000)
		require.Greater(t, tokens, 10)
	})
}

// crowdInBubble lets 1,000 goroutines request tokens for 30 seconds. It returns
// how many calls took time and how many tokens there were.
func crowdInBubble(token func() (*oauth2.Token, error)) (waited, tokens int) {
	var slow atomic.Int64
	var seen sync.Map
	var wg sync.WaitGroup
	until := time.Now().Add(30 * time.Second)
	for range 1000 {
		wg.Go(func() {
			for time.Now().Before(until) {
				before := time.Now()
				tok, err := token()
				if err != nil {
					panic(err)
				}
				if time.Since(before) > 0 {
					slow.Add(1)
				}
				seen.Store(tok.AccessToken, true)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	for range seen.Range {
		tokens++
	}
	return int(slow.Load()), tokens
}

func TestIdleSessions(t *testing.T) {
	store := new(tokenstore.Memory)
	const issuer = "https://login.example.com"
	require.NoError(t, fill(t.Context(), store, issuer, 0, 1000, time.Hour))
	i, list, client, err := measureIdle(t.Context(), store, issuer, 1000)
	require.NoError(t, err)
	defer client.Close()
	require.Zero(t, i.goroutines)
	require.LessOrEqual(t, i.bytes, float64(tokenBytes+4096))
	runtime.KeepAlive(list)
}

// A login sends one request each for metadata, keys and tokens, and has the keys
// before the code comes. This provider speaks HTTP/1.1, so the keys have a connection
// of their own beside the pushed request. The code opens none.
func TestLoginRequests(t *testing.T) {
	p, err := startProvider(t.TempDir(), terms{Lifetime: time.Hour})
	require.NoError(t, err)
	defer p.Close()
	p.Delay(authserver.Authorize, 300*time.Millisecond)
	client, _, err := p.session(new(tokenstore.Memory))
	require.NoError(t, err)
	defer client.Close()
	metadata, keys, token := p.requests()
	require.Equal(t, []int{1, 1, 1}, []int{metadata, keys, token})
	require.LessOrEqual(t, p.connections(), 2)
}
