package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// bentRefresh answers refreshes with what bend says, while it is set. Everything else
// is the provider's.
type bentRefresh struct {
	bend atomic.Pointer[func(w http.ResponseWriter, r *http.Request, scope string) bool]
	sent atomic.Int32
}

func (b *bentRefresh) set(bend func(w http.ResponseWriter, r *http.Request, scope string) bool) {
	b.bend.Store(&bend)
}

func (b *bentRefresh) options() *oauthtest.Options { return &oauthtest.Options{Misbehave: b.misbehave} }

func (b *bentRefresh) misbehave(endpoint string, next http.Handler) http.Handler {
	if endpoint != "token" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form := peekForm(r)
		if form.Get("grant_type") == "refresh_token" {
			b.sent.Add(1)
			if bend := b.bend.Load(); bend != nil && (*bend)(w, r, form.Get("scope")) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// inVirtualTime runs test against a provider that b bends.
func (b *bentRefresh) inVirtualTime(t *testing.T, lifetime time.Duration, test func(*testing.T, oauthclient.Config)) {
	t.Helper()
	cfg := authserver.Config{Misbehave: b.misbehave, AccessTokenLifetime: lifetime}
	inVirtualTime(t, cfg, func(t *testing.T, _ *authserver.Server, cfg oauthclient.Config) { test(t, cfg) })
}

func bentAnswer(status int, mediaType, body string) func(http.ResponseWriter, *http.Request, string) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	}
}

// A provider that refuses a dead refresh token in words of its own: the second
// refusal, a few seconds after the first, is ErrLoginRequired, in whichever process.
// SessionOrLogin then prompts. If the provider comes to its senses, the session goes
// on.
func TestRefusalsInOtherWordsEndASession(t *testing.T) {
	for name, bend := range map[string]func(http.ResponseWriter, *http.Request, string) bool{
		"invalid_request":      bentAnswer(400, "application/json", `{"error":"invalid_request","error_description":"Refresh token is invalid or has already been claimed by another client."}`),
		"invalid_token":        bentAnswer(401, "application/json", `{"error":"invalid_token"}`),
		"access_denied":        bentAnswer(403, "application/json", `{"error":"access_denied"}`),
		"interaction_required": bentAnswer(400, "application/json", `{"error":"interaction_required"}`),
		"a vendor's word":      bentAnswer(400, "application/json", `{"error":"token_gone_fishing"}`),
		"an error in a 200":    bentAnswer(200, "application/json", `{"error":"token_expired"}`),
		"a bare 400":           bentAnswer(400, "", ""),
		"a bare 401":           bentAnswer(401, "application/json", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bentRefresh
			b.inVirtualTime(t, 0, func(t *testing.T, cfg oauthclient.Config) {
				opened := counted(&cfg)
				one, two := newClient(t, cfg), newClient(t, cfg)
				s, err := one.Login(t.Context(), nil)
				require.NoError(t, err)
				b.set(bend)
				require.NotErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired, "one refusal may be a mistake")
				other, err := two.Session(t.Context(), "")
				require.NoError(t, err)
				for range 20 {
					require.NotErrorIs(t, other.Refresh(t.Context()), oauthclient.ErrLoginRequired)
				}
				require.EqualValues(t, 1, b.sent.Load(), "nothing is sent in the seconds between")
				time.Sleep(3200 * time.Millisecond)
				err = other.Refresh(t.Context())
				require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
				require.ErrorIs(t, err, oauthclient.ErrSessionRefused)
				require.EqualValues(t, 2, b.sent.Load())
				accounts, err := one.Accounts(t.Context())
				require.NoError(t, err)
				require.True(t, accounts[0].LoginRequired)

				_, err = two.SessionOrLogin(t.Context(), nil)
				require.NoError(t, err)
				require.EqualValues(t, 2, opened.Load(), "the user was prompted")
				b.set(func(http.ResponseWriter, *http.Request, string) bool { return false })
				other, err = two.Session(t.Context(), "")
				require.NoError(t, err)
				require.NoError(t, other.Refresh(t.Context()))
			})
		})
	}
}

// What a firewall, a captive portal or a provider's outage answers signs nobody out,
// however often.
func TestNetworksSignNobodyOut(t *testing.T) {
	for name, bend := range map[string]func(http.ResponseWriter, *http.Request, string) bool{
		"captive portal":  bentAnswer(200, "text/html", "<html>Please accept our terms</html>"),
		"firewall":        bentAnswer(403, "text/html", "<html>Blocked by policy</html>"),
		"plain refusal":   bentAnswer(403, "text/plain", "forbidden by your administrator"),
		"not found":       bentAnswer(404, "application/json", `{"error":"not_found"}`),
		"wrong method":    bentAnswer(405, "application/json", `{}`),
		"proxy":           bentAnswer(407, "application/json", `{"error":"proxy"}`),
		"timeout":         bentAnswer(408, "", ""),
		"legal":           bentAnswer(451, "application/json", `{"error":"blocked"}`),
		"outage":          bentAnswer(502, "text/html", "<html>Bad gateway</html>"),
		"our scopes":      bentAnswer(400, "application/json", `{"error":"invalid_scope"}`),
		"our client":      bentAnswer(401, "application/json", `{"error":"invalid_client"}`),
		"too many":        bentAnswer(429, "application/json", `{"error":"slow_down"}`),
		"no longer there": bentAnswer(421, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bentRefresh
			b.inVirtualTime(t, 0, func(t *testing.T, cfg oauthclient.Config) {
				opened := counted(&cfg)
				c := newClient(t, cfg)
				s, err := c.Login(t.Context(), nil)
				require.NoError(t, err)
				b.set(bend)
				for range 4 {
					require.NotErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired)
					time.Sleep(1700 * time.Millisecond)
				}
				require.LessOrEqual(t, b.sent.Load(), int32(8))
				_, err = c.SessionOrLogin(t.Context(), nil)
				require.NoError(t, err)
				require.EqualValues(t, 1, opened.Load(), "nobody was prompted")
				b.set(func(http.ResponseWriter, *http.Request, string) bool { return false })
				require.Eventually(t, func() bool { return s.Refresh(t.Context()) == nil }, 30*time.Second, 200*time.Millisecond)
			})
		})
	}
}

// While the provider is down, callers get the last error at once: no storm.
func TestOutageIsNoStorm(t *testing.T) {
	t.Parallel()
	var b bentRefresh
	b.inVirtualTime(t, time.Second, func(t *testing.T, cfg oauthclient.Config) {
		s, err := newClient(t, cfg).Login(t.Context(), nil)
		require.NoError(t, err)
		b.set(bentAnswer(502, "text/html", "down"))
		time.Sleep(1100 * time.Millisecond)
		for range 200 {
			_, err := s.Token(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
		}
		require.LessOrEqual(t, b.sent.Load(), int32(4))
	})
}

// One narrowed token's refusal is that token's alone: the session goes on, for every
// process.
func TestNarrowedRefusalLeavesTheSession(t *testing.T) {
	var b bentRefresh
	server := oauthtest.NewServer(t, b.options())
	cfg := server.Config()
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	consent := bentAnswer(400, "application/json", `{"error":"invalid_grant","suberror":"consent_required"}`)
	b.set(func(w http.ResponseWriter, r *http.Request, scope string) bool {
		return scope == "email" && consent(w, r, scope)
	})
	narrow := s.For("", "email")
	_, err = narrow.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	var e *oauthclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "invalid_grant", e.Code)
	require.EqualValues(t, 2, b.sent.Load(), "the token, then the session itself")
	for range 20 {
		_, err = narrow.Token(t.Context())
		require.ErrorIs(t, err, oauthclient.ErrStepUp)
	}
	require.EqualValues(t, 2, b.sent.Load(), "it is not tried again at once")
	require.NoError(t, s.Refresh(t.Context()))
	fresh, err := newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, fresh.Refresh(t.Context()))

	// If the session itself is refused too, it has ended.
	b.set(consent)
	_, err = s.For("", "openid").Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrSessionRefused)
	_, err = s.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// A Logout with a deadline shorter than the provider's answer deletes all the same,
// and this process hands out nothing more.
func TestLogoutDeletesInTime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		if endpoint != "revocation" {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	}})
	defer close(release)
	cfg := server.Config()
	c, s := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := c.Logout(ctx, "", nil)
	require.ErrorIs(t, err, oauthclient.ErrNotRevoked)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, context.Canceled)
	_, err = s.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrSignedOut)
	_, err = newClient(t, cfg).Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrSignedOut)
}

// A logout that was cut short is finished before the user is prompted, so that it
// does not end the new session at a provider that revokes the user's whole grant.
func TestUnfinishedLogoutLeavesTheNextLogin(t *testing.T) {
	var server *oauthtest.Server
	server = oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		if endpoint != "revocation" {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { server.Revoke() })
	}})
	cfg := server.Config()
	failing := &deleteFails{Memory: memoryOf(cfg)}
	cfg.Store = failing
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	failing.fail.Store(true)
	require.Error(t, c.Logout(t.Context(), "", nil))
	failing.fail.Store(false)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
}

// A refused login revokes nothing that another account's session may depend on.
func TestRefusedLoginLeavesOtherAccounts(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{AutoUser: "bob"})
	c := newClient(t, cfg)
	bob, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: "bob"})
	require.NoError(t, err)
	as.SetAutoUser("alice")
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{Account: "alice"})
	require.NoError(t, err)
	before := as.Requests(authserver.Revocation)
	as.SetAutoUser("bob")
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{Account: "alice"})
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	require.Equal(t, before, as.Requests(authserver.Revocation))
	require.NoError(t, bob.Refresh(t.Context()))
}

// An account name that is no UTF-8 could not be found again, and is refused.
func TestAccountNameIsUTF8(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	opened := counted(&cfg)
	c := newClient(t, cfg)
	const name = "caf\xe9"
	_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: name})
	require.ErrorContains(t, err, "UTF-8")
	_, err = c.Session(t.Context(), name)
	require.ErrorContains(t, err, "UTF-8")
	require.ErrorContains(t, c.Logout(t.Context(), name, nil), "UTF-8")
	require.Zero(t, opened.Load())
}

// Done tells the end of a session, and Err why: a logout here or in another process,
// or another user.
func TestDone(t *testing.T) {
	t.Parallel()
	as, cfg := authServer(t, authserver.Config{})
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	done := s.Done()
	require.NoError(t, s.Err())
	as.SetAutoUser("bob")
	other := newClient(t, cfg)
	_, err = other.Login(t.Context(), &oauthclient.LoginOptions{ReplaceUser: true})
	require.NoError(t, err)
	<-done
	require.ErrorIs(t, s.Err(), oauthclient.ErrAccountMismatch)

	s, err = c.Session(t.Context(), "")
	require.NoError(t, err)
	done = s.Done()
	require.NoError(t, c.Logout(t.Context(), "", nil))
	<-done
	require.ErrorIs(t, s.Err(), oauthclient.ErrSignedOut)
	require.ErrorIs(t, s.Err(), oauthclient.ErrLoginRequired)
}

// A provider that has forgotten a client that registered itself: two refusals mean
// that a login is needed, and the login registers anew.
func TestForgottenClientRegistersAnew(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var as *authserver.Server
	hs := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := as
		mu.Unlock()
		now.ServeHTTP(w, r)
	}))
	issuer := "http://" + hs.Listener.Addr().String()
	restart := func() {
		fresh, err := authserver.New(authserver.Config{Issuer: issuer, AutoUser: "alice", OpenRegistration: true})
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		as = fresh
	}
	restart()
	hs.Start()
	t.Cleanup(hs.Close)
	cfg := oauthclient.Config{
		Issuer: issuer, Registration: &oauthclient.Registration{ClientName: "my program"},
		Scopes: []string{"openid", "offline_access"}, Store: memoryOf(oauthclient.Config{}),
		UI: oauthclient.UI{OpenURL: func(_ context.Context, u string) error {
			go func() {
				if resp, err := http.Get(u); err == nil {
					_ = resp.Body.Close()
				}
			}()
			return nil
		}},
	}
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	restart() // it has forgotten every client
	c = newClient(t, cfg)
	s, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.Error(t, s.Refresh(t.Context()))
	time.Sleep(3200 * time.Millisecond)
	require.ErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired)
	s, err = c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	require.Equal(t, 1, as.Requests(authserver.Registration))

	// Without a session to learn it from, the login that times out is the sign.
	_ = c.Logout(t.Context(), "", nil)
	restart()
	c = newClient(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.Login(ctx, nil)
	require.Error(t, err)
	_, err = c.Login(t.Context(), nil)
	require.NoError(t, err)

	require.NoError(t, c.ForgetRegistration(t.Context()))
	_, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 2, as.Requests(authserver.Registration))
}

// An API that refuses every token costs one refresh, also if the provider brings the
// same token again or fails.
func TestStubbornAPICostsOneRefresh(t *testing.T) {
	var b bentRefresh
	server := oauthtest.NewServer(t, b.options())
	_, s := signIn(t, server, nil)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(api.Close)
	b.set(bentAnswer(502, "text/html", "down"))
	for range 30 {
		resp, err := s.HTTPClient().Get(api.URL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.LessOrEqual(t, b.sent.Load(), int32(4))
}

// Code written for x/oauth2 reads the response of its error without looking for nil.
func TestRetrieveErrorHasAResponse(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	_, s := signIn(t, server, nil)
	server.Revoke()
	err := s.Refresh(t.Context())
	status, ok := oauth2Status(err)
	require.True(t, ok)
	require.Equal(t, http.StatusBadRequest, status)
	require.True(t, errors.Is(err, oauthclient.ErrLoginRequired))
}

func oauth2Status(err error) (int, bool) {
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) {
		return 0, false
	}
	return re.Response.StatusCode, true
}

// peekForm returns r's form and leaves its body as it was.
func peekForm(r *http.Request) url.Values {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	return form
}

// memoryOf returns cfg's memory store, or a new one.
func memoryOf(cfg oauthclient.Config) *tokenstore.Memory {
	if m, ok := cfg.Store.(*tokenstore.Memory); ok {
		return m
	}
	return &tokenstore.Memory{}
}

// deleteFails is a store that cannot delete, while it is told so.
type deleteFails struct {
	*tokenstore.Memory
	fail atomic.Bool
}

func (d *deleteFails) Delete(ctx context.Context, key string) error {
	if d.fail.Load() {
		return errors.New("the disk is read-only")
	}
	return d.Memory.Delete(ctx, key)
}

// The events that Config.Logger documents are logged, and the end of a session once.
func TestEventsAreLogged(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	var mu sync.Mutex
	var buf bytes.Buffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&lockedWriter{mu: &mu, w: &buf}, nil))
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	require.NoError(t, c.Logout(t.Context(), "", nil))
	s, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
	server.Revoke()
	for range 20 {
		require.ErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired)
	}
	mu.Lock()
	defer mu.Unlock()
	count := map[string]int{}
	for line := range strings.Lines(buf.String()) {
		var record struct{ Event string }
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		count[record.Event]++
	}
	require.Equal(t, 2, count["login"])
	require.Equal(t, 1, count["refresh"])
	require.Equal(t, 1, count["logout"])
	require.Equal(t, 1, count["session_ended"])
	require.LessOrEqual(t, count["refresh_failed"], 1)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// However often an account is signed out, the next login's tokens are handed out.
func TestLoginAfterSeveralLogouts(t *testing.T) {
	c, _ := signIn(t, oauthtest.NewServer(t, nil), nil)
	for range 3 {
		require.NoError(t, c.Logout(t.Context(), "", nil))
	}
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	_, err = s.Token(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Claims(&struct{}{}))
}

// A provider that refuses one narrowed token in words of its own says nothing about
// the session.
func TestNarrowedRefusalInOtherWords(t *testing.T) {
	t.Parallel()
	var b bentRefresh
	b.inVirtualTime(t, 0, func(t *testing.T, cfg oauthclient.Config) {
		s, err := newClient(t, cfg).Login(t.Context(), nil)
		require.NoError(t, err)
		consent := bentAnswer(400, "application/json", `{"error":"interaction_required"}`)
		b.set(func(w http.ResponseWriter, r *http.Request, scope string) bool {
			return scope == "email" && consent(w, r, scope)
		})
		narrow := s.For("", "email")
		for range 2 {
			_, err := narrow.Token(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
			time.Sleep(3200 * time.Millisecond)
		}
		require.NoError(t, s.Refresh(t.Context()))
	})
}

// The handle of a user whose account now belongs to another sends nothing.
func TestOldHandleRefreshesNobodyElse(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	c := newClient(t, cfg)
	alice, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	as.SetAutoUser("bob")
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{ReplaceUser: true})
	require.NoError(t, err)
	before := as.Requests(authserver.Token)
	require.ErrorIs(t, alice.Refresh(t.Context()), oauthclient.ErrAccountMismatch)
	_, err = alice.For("", "openid").Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	require.Equal(t, before, as.Requests(authserver.Token))
}

// A logout that goes on in the background does not delete what a later login stores.
func TestBackgroundLogoutLeavesTheNextLogin(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	store := &lateLock{Memory: memoryOf(cfg), release: make(chan struct{})}
	cfg.Store = store
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	store.late.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Logout(ctx, "", nil), context.DeadlineExceeded)
	login := make(chan error, 1)
	go func() {
		_, err := c.Login(t.Context(), nil)
		login <- err
	}()
	time.Sleep(300 * time.Millisecond) // long enough to sign in
	close(store.release)
	require.NoError(t, <-login)
	time.Sleep(300 * time.Millisecond) // long enough to delete
	_, err = newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
}

// lateLock is a store of which one Lock is late, as if another process were first.
type lateLock struct {
	*tokenstore.Memory
	late    atomic.Bool
	release chan struct{}
}

func (l *lateLock) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	if l.late.CompareAndSwap(true, false) {
		<-l.release
	}
	return l.Memory.Lock(ctx, key)
}

// A long Retry-After does not keep a process from what another one has stored.
func TestPauseAdoptsAnothersLogin(t *testing.T) {
	t.Parallel()
	var b bentRefresh
	b.inVirtualTime(t, 2*time.Second, func(t *testing.T, cfg oauthclient.Config) {
		one, two := newClient(t, cfg), newClient(t, cfg)
		s, err := one.Login(t.Context(), nil)
		require.NoError(t, err)
		b.set(func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(429)
			return true
		})
		time.Sleep(2100 * time.Millisecond)
		for range 3 {
			_, err = s.Token(t.Context())
			require.Error(t, err)
		}
		require.EqualValues(t, 1, b.sent.Load())
		time.Sleep(6 * time.Second)
		_, err = two.Login(t.Context(), nil)
		require.NoError(t, err)
		_, err = s.Token(t.Context())
		require.NoError(t, err)
	})
}

// damagedRegistration is a store that calls the kept registration damaged.
type damagedRegistration struct {
	*tokenstore.Memory
	damaged bool
}

func (d *damagedRegistration) Get(ctx context.Context, key string) ([]byte, error) {
	if d.damaged && strings.HasPrefix(key, "c1.") {
		return nil, tokenstore.ErrDamaged
	}
	return d.Memory.Get(ctx, key)
}

// A kept registration that cannot be read is made anew.
func TestDamagedRegistrationIsMadeAnew(t *testing.T) {
	cfg := oauthtest.NewServer(t, nil).Config()
	cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "One"}
	store := &damagedRegistration{Memory: memoryOf(cfg)}
	cfg.Store = store
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	store.damaged = true
	_, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
}

// A session without a refresh token that is said to need a login gets one.
func TestNoRefreshTokenIsPrompted(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	cfg.Scopes = []string{"openid"}
	opened := counted(&cfg)
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.ErrorIs(t, s.Refresh(t.Context()), oauthclient.ErrLoginRequired)
	_, err = c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, opened.Load())
}

// A login that a refused token called for is tried at once, and not after the pause
// that the refusal brought.
func TestLoginEndsPauses(t *testing.T) {
	var b bentRefresh
	server := oauthtest.NewServer(t, b.options())
	c, s := signIn(t, server, nil)
	consent := bentAnswer(400, "application/json", `{"error":"invalid_grant"}`)
	b.set(func(w http.ResponseWriter, r *http.Request, scope string) bool {
		return scope == "email" && consent(w, r, scope)
	})
	_, err := s.For("", "email").Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	b.set(bentAnswer(403, "text/html", "<html>Please pay</html>"))
	require.Error(t, s.Refresh(t.Context()))
	b.set(func(http.ResponseWriter, *http.Request, string) bool { return false })
	s, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.Refresh(t.Context()))
	_, err = s.For("", "email").Token(t.Context())
	require.NoError(t, err)
}

// Without a refresh token no narrower token can be had, and a login would not bring
// one: nobody is told to sign in, and SessionOrLogin prompts nobody.
func TestNarrowTokenWithoutARefreshToken(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	cfg.Scopes = []string{"openid", "email"}
	opened := counted(&cfg)
	c := newClient(t, cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	err = s.For("", "email").Refresh(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.NotErrorIs(t, err, oauthclient.ErrLoginRequired)
	_, err = c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, opened.Load())
}

// An ID token that has a few seconds left when the user signs in is refreshed before
// anybody claims that the provider gives none.
func TestIDTokenThatIsShortAtTheLoginIsRefreshed(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	h.forge(t, func(c map[string]any) { c["exp"] = float64(time.Now().Unix() + 5) }, nil)
	_, s := h.login(t)
	h.lie(authserver.Token, nil)
	sent := len(h.got(authserver.Token))
	_, expiry, err := s.IDToken(t.Context())
	require.NoError(t, err)
	require.Greater(t, time.Until(expiry), time.Minute)
	require.Len(t, h.got(authserver.Token), sent+1)
}
