package oauthclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// login signs in at h, as its client is configured.
func (h *hostile) login(t *testing.T) (*oauthclient.Client, *oauthclient.Session) {
	t.Helper()
	c := newClient(t, h.cfg)
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	return c, s
}

// withoutPAR has the authorization request go through the browser, where attackers can see and change it.
func (h *hostile) withoutPAR() {
	h.lie("metadata", func(_ heardRequest, a *lyingReply) {
		a.JSON(func(m map[string]any) { delete(m, "pushed_authorization_request_endpoint") })
	})
}

// visit goes where a browser goes, and returns each address it was at and the last page.
func visit(t *testing.T, address string) (way []string, page string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		way = append(way, r.URL.String())
		return nil
	}}
	resp, err := client.Get(address)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return append([]string{address}, way...), string(body)
}

// S1, S4, S67: one launcher is started, once. What it is started with, which every user of the machine can read, says nothing of the request: no state, nonce
// or challenge, no client and no code; and it works once. The environment of the launcher holds nothing either.
func TestS1S4S67Launcher(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the launcher that is looked at is xdg-open")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\necho started >>'" + dir + "/starts'\ncat /proc/$$/cmdline >'" + dir + "/argv.tmp'\ncat /proc/$$/environ >'" + dir + "/env'\nmv '" + dir + "/argv.tmp' '" + dir + "/argv'\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":99")
	h := newHostile(t, authserver.Config{})
	h.withoutPAR()
	h.cfg.UI.OpenURL = nil
	var ticket string
	c := newClient(t, h.cfg)
	go func() { // the browser that the launcher would start
		for range 2000 {
			if argv, err := os.ReadFile(filepath.Join(dir, "argv")); err == nil {
				args := strings.Split(strings.TrimRight(string(argv), "\x00"), "\x00")
				ticket = args[len(args)-1]
				if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(ticket); err == nil {
					resp.Body.Close()
				}
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowBrowser})
	require.NoError(t, err)
	starts, err := os.ReadFile(filepath.Join(dir, "starts"))
	require.NoError(t, err)
	require.Equal(t, "started\n", string(starts))
	request := h.got("authorize")[0].URL.Query()
	for _, file := range []string{"argv", "env"} {
		said, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NotEmpty(t, said)
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			require.NotEmpty(t, request.Get(name))
			require.NotContains(t, string(said), request.Get(name), name)
		}
		require.NotContains(t, string(said), "state=")
		require.NotContains(t, string(said), h.got("token")[0].Form.Get("code"))
		require.NotContains(t, string(said), h.got("token")[0].Form.Get("code_verifier"))
	}
	u, err := url.Parse(ticket)
	require.NoError(t, err)
	require.Empty(t, u.RawQuery)
	require.Equal(t, "127.0.0.1", u.Hostname())
}

// S4, S20, S21: the way of a browser through a whole login. The ticket works a few times; the last page has no parameters; it says what
// came of the login, which is known only after the exchange and its checks.
func TestS4S20S21TheWayOfTheBrowser(t *testing.T) {
	for name, fails := range map[string]bool{"signed in": false, "token endpoint refuses": true} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, authserver.Config{})
			if fails {
				h.lie("token", func(_ heardRequest, a *lyingReply) { a.Status, a.Body = 400, []byte(`{"error":"invalid_client"}`) })
			}
			type visited struct {
				way    []string
				page   string
				second int
			}
			seen := make(chan visited, 1)
			h.cfg.UI.OpenURL = func(_ context.Context, ticket string) error {
				go func() {
					var v visited
					first, err := http.NewRequest(http.MethodGet, ticket, nil)
					if err != nil {
						return
					}
					once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
					resp, err := once.Do(first)
					if err != nil {
						return
					}
					resp.Body.Close()
					for range 5 { // the same user may repeat it a few times
						if again, err := once.Get(ticket); err == nil {
							v.second = again.StatusCode
							again.Body.Close()
						}
					}
					v.way, v.page = visit(t, resp.Header.Get("Location"))
					seen <- v
				}()
				return nil
			}
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), nil)
			v := <-seen
			require.Equal(t, http.StatusGone, v.second, "the ticket, used too often")
			last, perr := url.Parse(v.way[len(v.way)-1])
			require.NoError(t, perr)
			require.Empty(t, last.RawQuery, "S20")
			require.NotContains(t, last.String(), h.got("token")[0].Form.Get("code"))
			if fails {
				require.Error(t, err)
				require.NotContains(t, v.page, "signed in", "S21")
				return
			}
			require.NoError(t, err)
			require.Contains(t, v.page, "signed in")
		})
	}
}

// S27: a code of another login, put into this one's answer. The verifier always goes with it, so the server refuses; nothing is stored.
func TestS27InjectedCode(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	var stolen string
	h.lie("authorize", func(_ heardRequest, a *lyingReply) {
		a.Location(func(q url.Values) {
			if stolen == "" { // the attacker's own login: its code is kept from its client
				stolen = q.Get("code")
				q.Set("code", "spoilt")
				return
			}
			q.Set("code", stolen)
		})
	})
	c := newClient(t, h.cfg)
	for range 2 {
		_, err := c.Login(t.Context(), nil)
		var e *oauthclient.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "invalid_grant", e.Code)
	}
	sent := h.got("token")
	require.Len(t, sent, 2)
	require.Equal(t, stolen, sent[1].Form.Get("code"))
	require.NotEqual(t, sent[0].Form.Get("code_verifier"), sent[1].Form.Get("code_verifier"))
	require.Len(t, sent[1].Form.Get("code_verifier"), 43)
	_, err := c.Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// everyPut remembers all that is ever given to a store.
type everyPut struct {
	tokenstore.Memory
	written strings.Builder
}

func (e *everyPut) Put(ctx context.Context, key string, data []byte) error {
	e.written.Write(data)
	return e.Memory.Put(ctx, key, data)
}

func (e *everyPut) WriteJournal(ctx context.Context, key string, data []byte) error {
	e.written.Write(data)
	return e.Memory.WriteJournal(ctx, key, data)
}

// S28: what the program does to its Config while the person is at the provider changes nothing; the redirect URI of the exchange is that
// of the request, byte for byte; verifier, state and nonce are never stored.
func TestS28OneTransaction(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	h.withoutPAR()
	store := &everyPut{}
	h.cfg.Store = store
	h.cfg.AuthParams = url.Values{"audience": {"first"}}
	h.cfg.Resources = []string{"https://api.example.com/first"}
	cfg := h.cfg
	opts := &oauthclient.LoginOptions{Scopes: []string{"read"}, ACRValues: []string{"pwd"}}
	open := h.cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, u string) error {
		cfg.Issuer, cfg.ClientID = "https://evil.example", "other"
		cfg.Scopes[0], cfg.Resources[0] = "evil", "https://evil.example/"
		cfg.AuthParams.Set("audience", "evil")
		opts.ACRValues[0], opts.Account = "evil", "evil"
		return open(ctx, u)
	}
	cfg.Scopes, cfg.Resources = []string{"openid", "offline_access"}, []string{"https://api.example.com/first"}
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), opts)
	require.NoError(t, err)
	request, sent := h.got("authorize")[0].URL.Query(), h.got("token")[0].Form
	require.Equal(t, request.Get("redirect_uri"), sent.Get("redirect_uri"))
	require.Equal(t, []string{"https://api.example.com/first"}, sent["resource"])
	require.Equal(t, "cli", sent.Get("client_id"))
	require.Equal(t, "first", request.Get("audience"))
	for _, secret := range []string{sent.Get("code_verifier"), sent.Get("code"), request.Get("state"), request.Get("code_challenge")} {
		require.NotEmpty(t, secret)
		require.NotContains(t, store.written.String(), secret)
	}
	require.Contains(t, store.written.String(), "refresh_token", "the store was watched")
}

// S30: two logins at once, at two providers. Each one's answer, delivered to the other's listener, is ignored; both come to their own end.
func TestS30MixedUpAnswers(t *testing.T) {
	type stop struct{ ticket, answer string }
	providers := [2]*hostile{}
	held := [2]chan stop{}
	over := make(chan error, 2)
	for i := range providers {
		h := newHostile(t, authserver.Config{})
		held[i] = make(chan stop, 1)
		user := authserver.NewUser(h.Issuer(), "")
		user.Client.Transport = &http.Transport{DisableKeepAlives: true}
		h.cfg.UI.OpenURL = func(ctx context.Context, u string) error {
			answer, err := user.Visit(ctx, u)
			if err == nil {
				held[i] <- stop{u, answer.URL}
			}
			return err
		}
		providers[i] = h
		c := newClient(t, h.cfg)
		go func() {
			_, err := c.Login(t.Context(), nil)
			over <- err
		}()
	}
	a, b := <-held[0], <-held[1]
	swap := func(answer, at string) string {
		u, err := url.Parse(answer)
		require.NoError(t, err)
		other, err := url.Parse(at)
		require.NoError(t, err)
		u.Host = other.Host
		return u.String()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, wrong := range []string{swap(a.answer, b.answer), swap(b.answer, a.answer)} {
		resp, err := client.Get(wrong)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	}
	require.Empty(t, providers[0].got("token"))
	require.Empty(t, providers[1].got("token"))
	for _, s := range []stop{a, b} {
		visit(t, s.answer)
	}
	require.NoError(t, <-over)
	require.NoError(t, <-over)
}

// S31: a provider that answers as in the implicit flow gets nowhere, and the code flow is all that is ever asked for.
func TestS31NoImplicitFlow(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	h.withoutPAR()
	answers := make(chan int, 2)
	h.lie("authorize", func(_ heardRequest, a *lyingReply) {
		a.Location(func(q url.Values) {
			q.Del("code")
			q.Set("access_token", "injected")
			q.Set("token_type", "Bearer")
		})
	})
	h.cfg.UI.OpenURL = func(_ context.Context, u string) error {
		go func() {
			if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(u); err == nil {
				resp.Body.Close()
				answers <- resp.StatusCode
			}
		}()
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	c := newClient(t, h.cfg)
	go func() {
		_, err := c.Login(ctx, nil)
		over <- err
	}()
	require.GreaterOrEqual(t, <-answers, 400)
	cancel()
	require.ErrorIs(t, <-over, context.Canceled)
	require.Equal(t, "code", h.got("authorize")[0].URL.Query().Get("response_type"))
	require.Empty(t, h.got("token"))
}

// S33: a provider that grants less than was asked: the caller sees it.
func TestS33NarrowedScope(t *testing.T) {
	h := newHostile(t, authserver.Config{Scopes: []string{"openid", "offline_access", "read"}})
	h.cfg.Scopes = []string{"openid", "offline_access", "read", "write"}
	c, s := h.login(t)
	require.Equal(t, []string{"openid", "offline_access", "read"}, s.Account().Scopes)
	accounts, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.NotContains(t, accounts[0].Scopes, "write")
	_, err = s.For("", "write").Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
}

// S54: an access token is opaque, whatever it looks like; it is sent back as it came.
func TestS54OpaqueAccessToken(t *testing.T) {
	for _, token := range []string{"~", "not.a.jwt", "e30.e30.", strings.Repeat("x", 5000), "a+/b=="} {
		h := newHostile(t, authserver.Config{})
		h.forge(t, func(c map[string]any) { delete(c, "at_hash") }, nil)
		forge := h.lies["token"]
		h.lie("token", func(r heardRequest, a *lyingReply) {
			forge(r, a)
			a.JSON(func(m map[string]any) { m["access_token"] = token })
		})
		_, s := h.login(t)
		a := newAPI(t, http.HandlerFunc(ok))
		client := s.HTTPClient()
		resp, err := client.Get(a.URL)
		require.NoError(t, err)
		resp.Body.Close()
		client.CloseIdleConnections()
		require.Equal(t, []string{"Bearer " + token}, a.auth)
	}
}

// S55: over the whole life of a session no token, code, verifier or secret stands in a URL that is sent to a server.
func TestS55NothingInURLs(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	c, s := h.login(t)
	first, err := s.Token(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.UserInfo(t.Context(), new(map[string]any)))
	require.NoError(t, s.Introspect(t.Context(), new(map[string]any)))
	require.NoError(t, s.Refresh(t.Context()))
	second, err := s.Token(t.Context())
	require.NoError(t, err)
	raw, _, err := s.IDToken(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Logout(t.Context(), "", &oauthclient.LogoutOptions{EndSession: true}))
	secrets := []string{first.AccessToken, second.AccessToken, raw}
	for _, r := range h.got("token") {
		for _, name := range []string{"code", "code_verifier", "refresh_token"} {
			if v := r.Form.Get(name); v != "" {
				secrets = append(secrets, v)
			}
		}
	}
	require.GreaterOrEqual(t, len(secrets), 6)
	n := 0
	for endpoint, list := range h.everything() {
		for _, r := range list {
			n++
			for _, secret := range secrets {
				require.NotContains(t, r.URL.String(), secret, endpoint)
				require.NotContains(t, r.Header.Get("Referer"), secret, endpoint)
			}
		}
	}
	require.Greater(t, n, 8)
}

// S80: an at_hash of another access token, and max_age without auth_time; S84: an access token that is a JWT says nothing about who it is.
func TestS80S84WhoSignedIn(t *testing.T) {
	t.Run("S80 altered access token", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		h.lie("token", func(_ heardRequest, a *lyingReply) { a.JSON(func(m map[string]any) { m["access_token"] = "another" }) })
		c := newClient(t, h.cfg)
		_, err := c.Login(t.Context(), nil)
		require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
		require.ErrorContains(t, err, "at_hash")
	})
	for name, change := range map[string]func(map[string]any){
		"S80 no auth_time":  func(c map[string]any) { delete(c, "auth_time") },
		"S80 old auth_time": func(c map[string]any) { c["auth_time"] = time.Now().Add(-2 * time.Hour).Unix() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t, authserver.Config{})
			h.forge(t, change, nil)
			c := newClient(t, h.cfg)
			_, err := c.Login(t.Context(), &oauthclient.LoginOptions{MaxAge: time.Hour})
			require.ErrorIs(t, err, oauthclient.ErrStepUp)
			_, err = c.Session(t.Context(), "")
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
		})
	}
	t.Run("S84", func(t *testing.T) {
		h := newHostile(t, authserver.Config{})
		k := h.key()
		h.lie("token", func(_ heardRequest, a *lyingReply) {
			a.JSON(func(m map[string]any) {
				m["access_token"] = k.Sign(map[string]any{"iss": h.cfg.Issuer, "aud": "cli", "sub": "mallory", "email": "m@example.com", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()})
			})
		})
		h.cfg.Scopes = []string{"offline_access", "read"} // no openid: nobody is named
		_, s := h.login(t)
		require.Empty(t, s.Account().Subject)
		require.Empty(t, s.Account().Username)
		require.Error(t, s.Claims(new(map[string]any)))
		require.Error(t, s.UserInfo(t.Context(), new(map[string]any)))
	})
}

// S64: where there is no keychain the login ends before a browser opens, and no file appears anywhere in its place.
func TestS64NoPlaintext(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: takes away the Secret Service's bus")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "none"))
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(home, "nobody"))
	h := newHostile(t, authserver.Config{})
	h.cfg.Store = nil
	opened := counted(&h.cfg)
	_, err := newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorIs(t, err, tokenstore.ErrUnavailable)
	require.Zero(t, opened.Load())
	require.NoError(t, filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			require.NotContains(t, string(data), "token", path)
		}
		return err
	}))
	require.Empty(t, h.got("token"))
}

// S5, S22, S66: what a provider says in its refusals reaches neither a terminal nor a page as it came, and its error_uri leads nowhere.
func TestS5S22RefusalText(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	h.lie("authorize", func(_ heardRequest, a *lyingReply) {
		a.Location(func(q url.Values) {
			q.Del("code")
			q.Set("error", "server_error")
			q.Set("error_description", "\x1b]0;owned\x07<svg onload=1>\u202e")
			q.Set("error_uri", "https://evil.example/")
		})
	})
	pages := make(chan string, 1)
	h.cfg.UI.OpenURL = func(_ context.Context, u string) error {
		go func() {
			_, page := visit(t, u)
			pages <- page
		}()
		return nil
	}
	_, err := newClient(t, h.cfg).Login(t.Context(), nil)
	var e *oauthclient.Error
	require.ErrorAs(t, err, &e)
	for _, said := range []string{err.Error(), fmt.Sprintf("%+v", e)} {
		require.NotContains(t, said, "\x1b")
		require.NotContains(t, said, "\u202e")
	}
	page := <-pages
	require.NotContains(t, page, "<svg onload")
	require.NotContains(t, page, "evil.example")
	require.NotContains(t, page, "\x1b")
}

// S7, S9: a fixed port that is taken is an error before anything opens.
func TestS9TakenPort(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	squatter, err := loopback.Listen(t.Context(), loopback.Config{})
	require.NoError(t, err)
	defer squatter.Close()
	u, err := url.Parse(squatter.RedirectURI())
	require.NoError(t, err)
	h.cfg.Loopback.Addr = u.Host
	opened := counted(&h.cfg)
	_, err = newClient(t, h.cfg).Login(t.Context(), nil)
	require.ErrorContains(t, err, u.Port())
	require.Zero(t, opened.Load())
}
