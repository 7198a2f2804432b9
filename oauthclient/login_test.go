package oauthclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/oauthclient/oauthtest"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A registration that holds a port holds it for the next login too, though the browser of the last one may still load its page there.
func TestLoginAgainOnAFixedPort(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	port := fixedAddr(t)
	cfg := server.Config()
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, u string) error {
		go func() { // a browser that has not closed its connection when the login is over
			conn, err := net.Dial("tcp", port)
			if err == nil {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
		return open(ctx, u)
	}
	cfg.Loopback.Addr = port
	c := newClient(t, cfg)
	for range 5 {
		_, err := c.Login(t.Context(), nil)
		require.NoError(t, err)
	}
}

func TestLogin(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	var steps []oauthclient.Step
	cfg.UI.Progress = func(s oauthclient.Step) { steps = append(steps, s) }
	c, session := signIn(t, server, func(p *oauthclient.Config) { *p = cfg })
	require.Equal(t, []oauthclient.Step{oauthclient.StepDiscover, oauthclient.StepUser, oauthclient.StepExchange, oauthclient.StepStore}, steps)

	account := session.Account()
	require.Equal(t, "alice", account.Subject)
	require.Equal(t, "alice", account.Username)
	require.Equal(t, server.URL, account.Issuer)
	require.Equal(t, "memory", account.Store)
	require.True(t, account.Refreshable)
	require.ElementsMatch(t, cfg.Scopes, account.Scopes)

	tok, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Empty(t, tok.RefreshToken)
	require.Equal(t, "Bearer", tok.TokenType)

	var claims struct {
		Sub   string `json:"sub"`
		Email string `json:"email"`
	}
	require.NoError(t, session.Claims(&claims))
	require.Equal(t, "alice@example.com", claims.Email)
	claims.Email = ""
	require.NoError(t, session.UserInfo(t.Context(), &claims))
	require.Equal(t, "alice@example.com", claims.Email)
	raw, expiry, err := session.IDToken(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(raw, "."))
	require.True(t, expiry.After(time.Now()))

	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []oauthclient.Account{account}, accounts)

	// Another client on the same store, as another process: no browser, no request.
	before := server.Requests("token") + server.Requests("metadata")
	other := cfg
	other.UI = oauthclient.UI{OpenURL: func(context.Context, string) error { return errors.New("opened") }}
	again, err := newClient(t, other).SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	shared, err := again.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, tok.AccessToken, shared.AccessToken)
	require.Equal(t, before, server.Requests("token")+server.Requests("metadata"))

	require.NoError(t, c.Logout(t.Context(), "", nil))
	_, err = session.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	accounts, err = c.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accounts)
	require.NoError(t, c.Logout(t.Context(), "", nil), "there being none is no error")
}

func TestAccountsAreApart(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	c := newClient(t, server.Config())
	for _, name := range []string{"work", "", "home"} {
		_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Account: name})
		require.NoError(t, err)
	}
	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accounts, 3)
	require.Equal(t, "home", accounts[1].Name)
	require.NoError(t, c.Logout(t.Context(), "home", nil))
	_, err = c.Session(t.Context(), "work")
	require.NoError(t, err)
	_, err = c.Session(t.Context(), "home")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.ErrorContains(t, err, `"home"`)
}

// S14, S12: what is not the answer changes nothing; the login goes on.
func TestS14StrayRequests(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, ticket string) error {
		u, err := url.Parse(ticket)
		require.NoError(t, err)
		for _, path := range []string{"/", "/favicon.ico", "/callback", "/callback?code=x", "/callback?code=x&state=wrong", "/callback?error=access_denied&state=wrong"} {
			resp, err := http.Get("http://" + u.Host + path)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			require.GreaterOrEqual(t, resp.StatusCode, 400, path)
		}
		http.DefaultClient.CloseIdleConnections()
		return open(ctx, ticket)
	}
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
}

// S32: a refusal is typed, and nothing is stored.
func TestS32AccessDenied(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	server.Deny()
	c := newClient(t, server.Config())
	_, err := c.Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrAccessDenied)
	var e *oauthclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "authorization", e.Endpoint)
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	require.Zero(t, server.Requests("token"))
}

type brokenStore struct{ tokenstore.Memory }

var errStore = errors.New("no keychain: start one")

func (*brokenStore) Probe(context.Context) error { return errStore }

// S64: a store that cannot keep a session is an error before the browser opens.
func TestS64StoreIsProbedFirst(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	cfg.Store = &brokenStore{}
	opened := counted(&cfg)
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.ErrorIs(t, err, errStore)
	require.Zero(t, opened.Load())
}

// S38, S39, S40: metadata that lie end the login before anything opens, and the error names the field.
func TestS38S39S40Metadata(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(url string) http.HandlerFunc
		says   string
	}{
		"wrong issuer": {func(string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"https://evil.example","token_endpoint":"https://evil.example/t"}`)
		}, "issuer"},
		"trailing slash": {func(u string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"`+u+`/","token_endpoint":"`+u+`/t"}`)
		}, "issuer"},
		"http endpoint": {func(u string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"`+u+`","authorization_endpoint":"http://evil.example/a","token_endpoint":"`+u+`/t"}`)
		}, "authorization_endpoint"},
		"page": {func(string) http.HandlerFunc { return answer(200, "text/html", `<html>captive portal</html>`) }, "JSON"},
		"duplicate": {func(u string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"`+u+`","issuer":"x"}`)
		}, "JSON"},
		"no PKCE": {func(u string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"`+u+`","authorization_endpoint":"`+u+`/a","token_endpoint":"`+u+`/t","code_challenge_methods_supported":["plain"]}`)
		}, "S256"},
		"5 MB": {func(string) http.HandlerFunc {
			return answer(200, "application/json", `{"issuer":"`+strings.Repeat("x", 5<<20)+`"}`)
		}, "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &misbehave{}
			server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: m.option})
			m.set("metadata", tc.answer(server.URL))
			cfg := server.Config()
			opened := counted(&cfg)
			_, err := newClient(t, cfg).Login(t.Context(), nil)
			require.ErrorContains(t, err, tc.says)
			if name == "no PKCE" {
				require.ErrorIs(t, err, errors.ErrUnsupported)
			} else if name != "5 MB" {
				require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			}
			require.Zero(t, opened.Load())
			require.NotContains(t, err.Error(), "captive portal")
		})
	}
}

func TestUnreachable(t *testing.T) {
	c := newClient(t, oauthclient.Config{Issuer: "http://127.0.0.1:1", ClientID: "x", Store: &tokenstore.Memory{}})
	_, err := c.Login(t.Context(), nil)
	require.ErrorContains(t, err, "no connection")
	var e *oauthclient.Error
	require.False(t, errors.As(err, &e))
}

// S18, S10: a cancelled login is over at once: nothing listens and nothing is stored.
func TestS10S18Cancel(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	ctx, cancel := context.WithCancel(t.Context())
	var ticket string
	cfg.UI.OpenURL = func(_ context.Context, u string) error {
		ticket = u
		cancel()
		return nil
	}
	cfg.UI.Instruct = nil
	c := newClient(t, cfg)
	_, err := c.Login(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = http.Get(ticket)
	require.Error(t, err)
	_, err = c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	cfg.UI.OpenURL = func(context.Context, string) error { return nil }
	_, err = newClient(t, cfg).Login(ctx, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// S79, S21, S83, S48: tokens are used only after every check; what fails leaves nothing behind, and the code is sent once.
func TestS79NothingBeforeTheChecks(t *testing.T) {
	edit := func(change func(m map[string]any)) func(next http.Handler) http.HandlerFunc {
		return func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				rec := &recorder{header: http.Header{}}
				next.ServeHTTP(rec, r)
				var m map[string]any
				if json.Unmarshal(rec.body, &m) == nil {
					change(m)
					rec.body, _ = json.Marshal(m)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(rec.status)
				_, _ = w.Write(rec.body)
			}
		}
	}
	for name, change := range map[string]func(map[string]any){
		"no id_token":          func(m map[string]any) { delete(m, "id_token") },
		"altered access token": func(m map[string]any) { m["access_token"] = "another" },
		"altered signature": func(m map[string]any) {
			raw := m["id_token"].(string)
			m["id_token"] = raw[:len(raw)-8] + "AAAAAAAA"
		},
		"no access_token":   func(m map[string]any) { delete(m, "access_token") },
		"token_type a list": func(m map[string]any) { m["token_type"] = []string{"Bearer"} },
		"mac token":         func(m map[string]any) { m["token_type"] = "mac" },
	} {
		t.Run(name, func(t *testing.T) {
			server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
				if endpoint == "token" {
					return edit(change)(next)
				}
				return next
			}})
			c := newClient(t, server.Config())
			_, err := c.Login(t.Context(), nil)
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			_, err = c.Session(t.Context(), "")
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			require.Equal(t, 1, server.Requests("token"))
		})
	}
}

// A browser that comes back before the key set has arrived does not end its fetch:
// the verification waits for that same fetch, so the login needs no second one.
func TestLoginFetchesTheKeysOnce(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	begun, exchanged := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.lie("jwks", func(heardRequest, *lyingReply) {
		once.Do(func() { close(begun) })
		<-exchanged
	})
	h.lie("token", func(heardRequest, *lyingReply) { close(exchanged) })
	open := h.cfg.UI.OpenURL
	h.cfg.UI.OpenURL = func(ctx context.Context, u string) error {
		<-begun
		return open(ctx, u)
	}
	h.login(t)
	require.Len(t, h.got("jwks"), 1)
}

type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = 200
	}
	r.body = append(r.body, b...)
	return len(b), nil
}

// S29: the wrong issuer in the answer ends the login, and nothing further is called; so with an error in it, which is not believed.
func TestS29WrongIssuer(t *testing.T) {
	for name, edit := range map[string]func(q url.Values, issuer string){
		"absent": func(q url.Values, _ string) { q.Del("iss") },
		"other":  func(q url.Values, _ string) { q.Set("iss", "https://evil.example") },
		"slash":  func(q url.Values, issuer string) { q.Set("iss", issuer+"/") },
		"case":   func(q url.Values, issuer string) { q.Set("iss", strings.ToUpper(issuer)) },
		"error":  func(q url.Values, _ string) { q.Del("iss"); q.Del("code"); q.Set("error", "access_denied") },
	} {
		t.Run(name, func(t *testing.T) {
			var server *oauthtest.Server
			server = oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
				if endpoint != "authorize" {
					return next
				}
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					rec := &recorder{header: w.Header()}
					next.ServeHTTP(rec, r)
					if u, err := url.Parse(w.Header().Get("Location")); err == nil && u.Query().Has("code") {
						q := u.Query()
						edit(q, server.URL)
						u.RawQuery = q.Encode()
						w.Header().Set("Location", u.String())
					}
					w.WriteHeader(rec.status)
				})
			}})
			_, err := newClient(t, server.Config()).Login(t.Context(), nil)
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.NotErrorIs(t, err, oauthclient.ErrAccessDenied)
			require.ErrorContains(t, err, "issuer")
			require.Zero(t, server.Requests("token"))
		})
	}
}

// S60: however many want to sign in at once, one tab opens.
func TestOneTab(t *testing.T) {
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	opened := counted(&cfg)
	clients := []*oauthclient.Client{newClient(t, cfg), newClient(t, cfg), newClient(t, cfg)}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			s, err := clients[i%3].SessionOrLogin(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, opened.Load())
}

// Those that wait adopt the refusal too; a later call asks again.
func TestOneTabDenied(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	cfg := server.Config()
	hold := make(chan struct{})
	open := cfg.UI.OpenURL
	var opened int
	cfg.UI.OpenURL = func(ctx context.Context, url string) error {
		if opened++; opened == 1 {
			server.Deny()
			<-hold
		}
		return open(ctx, url)
	}
	waiting := make(chan struct{}, 5)
	cfg.UI.Progress = func(step oauthclient.Step) {
		if step == oauthclient.StepElsewhere {
			waiting <- struct{}{}
		}
	}
	c := newClient(t, cfg)
	errs := make(chan error)
	for range 5 {
		go func() {
			_, err := c.SessionOrLogin(t.Context(), nil)
			errs <- err
		}()
	}
	for range 4 {
		<-waiting
	}
	close(hold)
	for range 5 {
		require.ErrorIs(t, <-errs, oauthclient.ErrAccessDenied)
	}
	require.Equal(t, 1, opened)
	_, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 2, opened)
}

func TestAccountMismatch(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	before, err := session.Token(t.Context())
	require.NoError(t, err)

	as.SetAutoUser("bob")
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	require.ErrorContains(t, err, "alice")
	after, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Same(t, before, after, "nothing was changed")
	require.Equal(t, 1, as.Alive(), "the tokens that are not kept are revoked")

	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{ReplaceUser: true})
	require.NoError(t, err)
	_, err = session.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch, "a session never changes its user")
	var claims map[string]any
	require.ErrorIs(t, session.Claims(&claims), oauthclient.ErrAccountMismatch)
	_, err = session.For("", "openid").Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	session, err = c.Session(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "bob", session.Account().Subject)
}

// The browser's page says that another user signed in, and nothing of who.
func TestAccountMismatchHasAPage(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	pages := make(chan string, 2)
	cfg.UI.OpenURL = func(_ context.Context, url string) error {
		go func() {
			resp, err := http.Get(url)
			if err != nil {
				pages <- err.Error()
				return
			}
			defer resp.Body.Close()
			page, _ := io.ReadAll(resp.Body)
			pages <- string(page)
		}()
		return nil
	}
	defer http.DefaultClient.CloseIdleConnections()
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	require.NotContains(t, <-pages, "Another user")
	as.SetAutoUser("bob")
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	page := <-pages
	require.Contains(t, page, "Another user signed in")
	require.NotContains(t, page, "bob")
	require.NotContains(t, page, "alice")
}

// S36, S37: a step-up that the provider does not grant is one typed error, and the session there was stays.
func TestS36S37StepUp(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{Scopes: []string{"openid", "offline_access", "read"}})
	cfg := server.Config()
	cfg.Scopes = []string{"openid", "offline_access"}
	opened := counted(&cfg)
	c := newClient(t, cfg)
	_, err := c.SessionOrLogin(t.Context(), nil)
	require.NoError(t, err)

	s, err := c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"read"}})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"openid", "offline_access", "read"}, s.Account().Scopes)
	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"read"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, opened.Load(), "a session that suffices is adopted")

	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"admin"}})
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.EqualValues(t, 3, opened.Load())
	tok, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, tok.AccessToken)
	require.ElementsMatch(t, []string{"openid", "offline_access", "read"}, s.Account().Scopes)

	s, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{ACRValues: []string{"mfa"}})
	require.NoError(t, err)
	var claims struct {
		ACR string `json:"acr"`
	}
	require.NoError(t, s.Claims(&claims))
	require.Equal(t, "mfa", claims.ACR)
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{ACRValues: []string{"retina"}})
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{MaxAge: -1})
	require.NoError(t, err)
	n := opened.Load()
	_, err = c.SessionOrLogin(t.Context(), &oauthclient.LoginOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	require.Equal(t, n, opened.Load())
}

func TestDeviceAndPaste(t *testing.T) {
	t.Parallel()
	server := oauthtest.NewServer(t, nil)
	for name, flow := range map[string]oauthclient.Flow{"device": oauthclient.FlowDevice, "paste": oauthclient.FlowPaste} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config()
			opened := counted(&cfg)
			s, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: flow})
			require.NoError(t, err)
			require.Equal(t, "alice", s.Account().Subject)
			require.Zero(t, opened.Load())
		})
	}
	t.Run("refused, then right", func(t *testing.T) {
		cfg := server.Config()
		instruct := cfg.UI.Instruct
		var refused error
		cfg.UI.Instruct = func(ctx context.Context, do oauthclient.Instructions) (string, error) {
			if do.Refused == nil {
				return "http://127.0.0.1:1/callback?code=x&state=y", nil
			}
			refused, do.Refused = do.Refused, nil
			return instruct(ctx, do)
		}
		_, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowPaste})
		require.NoError(t, err)
		require.Error(t, refused)
		require.NotContains(t, refused.Error(), "code=")
	})
	t.Run("no one to instruct", func(t *testing.T) {
		cfg := server.Config()
		cfg.UI.Instruct = nil
		for _, flow := range []oauthclient.Flow{oauthclient.FlowDevice, oauthclient.FlowPaste} {
			_, err := newClient(t, cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: flow})
			require.ErrorIs(t, err, oauthclient.ErrNoBrowser)
		}
	})
}

// S25, S35, S85: where the provider demands PAR and DPoP, the whole life of a session goes with both.
func TestS35S85PARAndDPoP(t *testing.T) {
	server := oauthtest.NewServer(t, &oauthtest.Options{RequireDPoP: true, RequirePAR: true})
	_, session := signIn(t, server, nil)
	require.NotZero(t, server.Requests("par"))
	tok, err := session.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "DPoP", tok.TokenType)
	require.NoError(t, session.Refresh(t.Context()))
	_, err = session.TokenSource().Token()
	require.ErrorContains(t, err, "HTTPClient")
	var claims map[string]any
	require.NoError(t, session.UserInfo(t.Context(), &claims))
	require.Equal(t, "alice", claims["sub"])
}

func TestConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*oauthclient.Config)
		says   string
	}{
		"no issuer":    {func(c *oauthclient.Config) { c.Issuer = "" }, "Issuer"},
		"http issuer":  {func(c *oauthclient.Config) { c.Issuer = "http://login.example.com" }, "https"},
		"issuer query": {func(c *oauthclient.Config) { c.Issuer += "?x" }, "query"},
		"no client":    {func(c *oauthclient.Config) { c.ClientID = "" }, "ClientID"},
		"two scopes":   {func(c *oauthclient.Config) { c.Scopes = []string{"a b"} }, "Scopes"},
		"state":        {func(c *oauthclient.Config) { c.AuthParams = url.Values{"state": {"x"}} }, "state"},
		"origin":       {func(c *oauthclient.Config) { c.Origins = []string{"https://api.example.com/v1"} }, "path"},
		"resource":     {func(c *oauthclient.Config) { c.Resources = []string{"ftp://x"} }, "Resources"},
		"negative":     {func(c *oauthclient.Config) { c.AssumeLifetime = -1 }, "negative"},
		"learned, secret": {func(c *oauthclient.Config) {
			c.Issuer, c.Resources, c.ClientAuth = "", []string{"https://r.example"}, oauthclient.ClientSecret("s")
		}, "ClientAuth"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := oauthclient.Config{Issuer: "https://login.example.com", ClientID: "x"}
			tc.change(&cfg)
			_, err := oauthclient.New(cfg)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

// A provider keeps a pushed request for a minute or so (RFC 9126 §2.2); a browser that comes later is sent to one that was pushed anew. The address to open by hand
// cannot be changed any more, so it says until when it works.
func TestLateBrowserFindsAFreshRequest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	forgotten := ""
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch endpoint {
			case "par":
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				var answer map[string]any
				_ = json.Unmarshal(rec.Body.Bytes(), &answer)
				answer["expires_in"] = 1
				mu.Lock()
				if uri, ok := answer["request_uri"].(string); ok && forgotten == "" {
					forgotten = uri
				}
				mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(rec.Code)
				_ = json.NewEncoder(w).Encode(answer)
				return
			case "authorize":
				mu.Lock()
				gone := r.FormValue("request_uri") == forgotten
				mu.Unlock()
				if gone {
					http.Error(w, "expired", http.StatusBadRequest)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}})
	cfg := server.Config()
	open, shown := cfg.UI.OpenURL, make(chan oauthclient.Instructions, 1)
	cfg.UI.OpenURL = func(ctx context.Context, ticket string) error {
		go func() { // the launcher has ended, and the browser takes its time
			// The third is sent after the ticket leads to the second.
			for server.Requests("par") < 3 && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			_ = open(ctx, ticket)
		}()
		return nil
	}
	cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
		shown <- do
		return "", nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := newClient(t, cfg).Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
	require.NoError(t, err)
	do := <-shown
	require.True(t, do.Opened)
	require.WithinDuration(t, time.Now(), do.URLExpiry, 30*time.Second)
	require.True(t, do.URLExpiry.Before(do.Expiry))
}

// A push that fails while the browser takes its time, as on a network that is not there yet, is not the last.
func TestPushIsTriedAgain(t *testing.T) {
	t.Parallel()
	var pushes atomic.Int64
	var mu sync.Mutex
	forgotten := ""
	server := oauthtest.NewServer(t, &oauthtest.Options{Misbehave: func(endpoint string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch endpoint {
			case "par":
				if pushes.Add(1) == 2 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				var answer map[string]any
				_ = json.Unmarshal(rec.Body.Bytes(), &answer)
				answer["expires_in"] = 1
				mu.Lock()
				if uri, ok := answer["request_uri"].(string); ok && forgotten == "" {
					forgotten = uri
				}
				mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(rec.Code)
				_ = json.NewEncoder(w).Encode(answer)
				return
			case "authorize":
				mu.Lock()
				gone := r.FormValue("request_uri") == forgotten
				mu.Unlock()
				if gone {
					http.Error(w, "expired", http.StatusBadRequest)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}})
	cfg := server.Config()
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, ticket string) error {
		go func() {
			// The fourth is sent after the ticket leads to the third.
			for pushes.Load() < 4 && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			_ = open(ctx, ticket)
		}()
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := newClient(t, cfg).Login(ctx, &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
	require.NoError(t, err)
}
