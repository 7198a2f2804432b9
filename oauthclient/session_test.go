package oauthclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

func TestRefresh(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	c, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := session.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	second, err := session.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.LessOrEqual(t, server.Requests("token"), 1+20)

	// S59: what was handed out is what another process reads.
	other, err := newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	stored, err := other.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, second.AccessToken, stored.AccessToken)

	another, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.Same(t, session.HTTPClient(), session.HTTPClient())
	same, err := another.Token(t.Context())
	require.NoError(t, err)
	require.Same(t, second, same, "all sessions of an account share one token")
}

// S61: the grant is gone: one typed error, also for code written for x/oauth2; no browser opens, the session is not deleted.
func TestS61Revoked(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	opened := counted(&cfg)
	_, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	server.Revoke()
	err := session.Refresh(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	var re *oauth2.RetrieveError
	require.ErrorAs(t, err, &re)
	require.Equal(t, "invalid_grant", re.ErrorCode)
	require.Empty(t, re.Body)
	require.EqualValues(t, 1, opened.Load())
	n := server.Requests("token")
	require.ErrorIs(t, session.Refresh(t.Context()), oauthclient.ErrLoginRequired)
	require.Equal(t, n, server.Requests("token"), "a dead refresh token is not sent again")
	_, err = session.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrSessionRefused, "no token of a session that has ended is handed out")
	require.True(t, session.Account().LoginRequired)
	_, err = session.HTTPClient().Get("https://127.0.0.1:1/")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)

	s, err := newClient(t, cfg).SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, func() error { _, err := s.Token(t.Context()); return err }())
}

// A provider that does not rotate sends no refresh token: the old one is kept.
func TestOldRefreshTokenIsKept(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{Rotation: authserver.RotateNever})
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, session.Refresh(t.Context()))
	}
	require.True(t, session.Account().Refreshable)
	require.Equal(t, 1, as.Alive())
}

// Near expiry nobody waits: the token endpoint is slow, and every call returns the token that is still valid.
func TestNobodyWaitsNearExpiry(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{AccessTokenLifetime: 3 * time.Second, IDTokenLifetime: time.Minute})
	cfg.RefreshBefore = 1500 * time.Millisecond
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	release := as.Hold("token")
	deadline := time.Now().Add(20 * time.Second)
	for as.Requests("token") < 2 { // the early refresh is under way, and held
		require.True(t, time.Now().Before(deadline), "no early refresh")
		tok, err := session.Token(t.Context())
		require.NoError(t, err)
		require.Same(t, first, tok)
		time.Sleep(5 * time.Millisecond)
	}
	release()
	for {
		require.True(t, time.Now().Before(deadline))
		tok, err := session.Token(t.Context())
		require.NoError(t, err)
		if tok != first {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.Equal(t, 2, as.Requests("token"))
}

func TestExpired(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{AccessTokenLifetime: time.Second})
	cfg.RefreshBefore = time.Millisecond
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	time.Sleep(time.Until(first.Expiry))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := session.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, as.Requests("token"), 3)
}

// A caller that goes away does not take the refresh with it (S63).
func TestS63CallerGoesAway(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	release := as.Hold("token")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- session.Refresh(ctx) }()
	for as.Requests("token") < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	release()
	require.Eventually(t, func() bool {
		tok, err := session.Token(t.Context())
		return err == nil && tok != first
	}, 10*time.Second, 5*time.Millisecond)
	require.Zero(t, as.Stats().Reuses)
}

// Close waits for a refresh under way; afterwards valid tokens are still handed out.
func TestClose(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	first, err := session.Token(t.Context())
	require.NoError(t, err)
	release := as.Hold("token")
	go func() { _ = session.Refresh(context.WithoutCancel(t.Context())) }()
	for as.Requests("token") < 2 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	select {
	case <-closed:
		t.Fatal("Close did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	require.NoError(t, <-closed)
	tok, err := session.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, tok.AccessToken)
	require.ErrorIs(t, session.Refresh(t.Context()), os.ErrClosed)
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, c.Close())
}

// A session that another process signed out is noticed, not resurrected; a new sign-in is adopted.
func TestSignedOutElsewhere(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	_, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	other := newClient(t, cfg)
	require.NoError(t, other.Logout(t.Context(), "", nil))
	require.ErrorIs(t, session.Refresh(t.Context()), oauthclient.ErrLoginRequired)
	_, err := session.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	_, err = other.Login(t.Context(), nil)
	require.NoError(t, err)
	_, err = session.Token(t.Context())
	require.NoError(t, err)
}

// S68: the local copy goes whatever the provider says, and that is said.
func TestS68NotRevoked(t *testing.T) {
	m := &misbehave{}
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: m.option})
	c, _ := signIn(t, server, nil)
	m.set("revocation", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	err := c.Logout(t.Context(), "", nil)
	require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
	var e *oauthclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// S53: whatever expires_in says, the token's life is sane.
func TestS53ExpiresIn(t *testing.T) {
	for name, tc := range map[string]struct {
		json string
		life time.Duration
	}{
		"absent": {``, time.Hour}, "string": {`"expires_in":"3600",`, time.Hour}, "fraction": {`"expires_in":3600.5,`, time.Hour},
		"zero": {`"expires_in":0,`, time.Minute}, "negative": {`"expires_in":-5,`, time.Minute}, "huge": {`"expires_in":1e14,`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := &misbehave{}
			server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: m.option})
			m.set("token", answer(200, "application/json", `{`+tc.json+`"access_token":"a","token_type":"bearer","scope":"x"}`))
			cfg := server.Config()
			cfg.Scopes = []string{"x"}
			s, err := newClient(t, cfg).Login(t.Context(), nil)
			require.NoError(t, err)
			tok, err := s.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, "Bearer", tok.TokenType)
			left := time.Until(tok.Expiry)
			require.Positive(t, left)
			require.Less(t, left, 50*365*24*time.Hour)
			if tc.life > 0 {
				require.InDelta(t, tc.life.Seconds(), left.Seconds(), 30)
			}
		})
	}
}

// Transient failures delete nothing and are not a reason to sign in again.
func TestTransient(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"500": answer(500, "text/html", "<h1>secret-body</h1>"),
		"503": answer(503, "text/plain", "secret-body"),
		"429": answer(429, "application/json", `{"error":"slow_down"}`),
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write([]byte(`{"access_token":"secret-body`))
		},
		"page":   answer(200, "text/html", "<h1>secret-body</h1>"),
		"reset":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"client": answer(401, "application/json", `{"error":"invalid_client","error_description":"secret\u001b[2J"}`),
	} {
		t.Run(name, func(t *testing.T) {
			m := &misbehave{}
			server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: m.option})
			c, session := signIn(t, server, nil)
			m.set("token", h)
			err := session.Refresh(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.NotContains(t, err.Error(), "secret-body")
			require.NotContains(t, err.Error(), "\x1b")
			if name == "500" || name == "page" || name == "reset" || name == "truncated" {
				require.LessOrEqual(t, m.hits.Load(), int64(2))
			} else {
				require.EqualValues(t, 1, m.hits.Load())
			}
			_, err = c.Session(t.Context(), "")
			require.NoError(t, err)
			_, err = session.Token(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestFor(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	cfg.Resources = []string{"https://api.example.com/v1", "https://api.example.com/v2"}
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	one, err := session.For("https://api.example.com/v1").Token(t.Context())
	require.NoError(t, err)
	two, err := session.For("https://api.example.com/v2").Token(t.Context())
	require.NoError(t, err)
	own, err := session.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, one.AccessToken, two.AccessToken)
	require.NotEqual(t, one.AccessToken, own.AccessToken)
	again, err := session.For("https://api.example.com/v1").Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, one.AccessToken, again.AccessToken)
	require.Equal(t, 3, as.Requests("token"))
	require.Zero(t, as.Stats().Reuses)

	_, err = session.For("https://other.example.com").Token(t.Context())
	require.ErrorContains(t, err, "Resources")
	_, err = session.For("", "admin").Token(t.Context()) // S62
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.Equal(t, 3, as.Requests("token"))
}

func TestNoIDToken(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, session := signIn(t, server, func(c *oauthclient.Config) { c.Scopes = []string{"offline_access"} })
	_, _, err := session.IDToken(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, session.Claims(new(map[string]any)), errors.ErrUnsupported)
	require.ErrorIs(t, session.UserInfo(t.Context(), new(map[string]any)), errors.ErrUnsupported)
	require.NoError(t, session.Refresh(t.Context()))
	require.Empty(t, session.Account().Subject)
}

// The warm path takes no lock and allocates nothing.
func TestWarmPathAllocatesNothing(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, session := signIn(t, server, nil)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := session.Token(ctx); err != nil {
			t.Fatal(err)
		}
	}))
}

func BenchmarkToken(b *testing.B) {
	server := oauthtest.NewServer(b, nil)
	c, err := oauthclient.New(server.Config())
	require.NoError(b, err)
	defer c.Close()
	session, err := c.Login(b.Context(), nil)
	require.NoError(b, err)
	reuse := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}, nil)
	ctx := b.Context()
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = session.Token(ctx)
			}
		})
	})
	b.Run("ReuseTokenSource", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = reuse.Token()
			}
		})
	})
}

// However many resources want a token at once, each gets its own, and the ID token that came with it is held against it.
func TestManyResources(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	for i := range 10 {
		cfg.Resources = append(cfg.Resources, "https://"+string(rune('a'+i))+".example")
	}
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, r := range cfg.Resources {
		wg.Go(func() {
			if _, err := session.For(r).Token(t.Context()); err != nil {
				t.Errorf("%s: %v", r, err)
			}
		})
	}
	wg.Wait()
	require.Zero(t, as.Stats().Reuses)
}

// A session that is moved to another store goes on there, and is gone where it was.
func TestSessionMovesToAnotherStore(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{Rotation: authserver.RotateStrict})
	src := tokenstore.NewFile(filepath.Join(t.TempDir(), "old"), mustKey(t))
	dst := tokenstore.NewFile(filepath.Join(t.TempDir(), "new"), mustKey(t))
	cfg.Store = src
	s, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))

	require.NoError(t, tokenstore.Copy(t.Context(), dst, src))
	there := newClient(t, cfg)
	_, err = there.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrNoSession)
	accounts, err := there.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accounts)
	cfg.Store = dst
	c := newClient(t, cfg)
	accounts, err = c.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accounts, 1)
	moved, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, moved.Refresh(t.Context()))
	require.Equal(t, s.Account().Subject, moved.Account().Subject)
}

// A user that mistypes an account, or signed in under another, reads which there are.
func TestAbsentSessionNamesTheAccounts(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	c := newClient(t, server.Config())
	_, err := c.Session(t.Context(), "wrok")
	require.EqualError(t, err, `no session is stored for account "wrok": sign in again`)

	for _, name := range []string{"work", ""} {
		_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: name})
		require.NoError(t, err)
	}
	_, err = c.Session(t.Context(), "wrok")
	require.ErrorIs(t, err, oauthclient.ErrNoSession)
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.EqualError(t, err, `no session is stored for account "wrok"; `+
		`there is one for "work", the default account: sign in again`)

	for i := range 8 {
		_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: fmt.Sprint("a", i)})
		require.NoError(t, err)
	}
	_, err = c.Session(t.Context(), "wrok")
	require.ErrorContains(t, err, `"a7", 2 more: sign in again`)
}
