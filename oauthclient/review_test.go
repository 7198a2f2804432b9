package oauthclient_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// What a review of the core found (docs/decisions.md), each with the test that showed it.

// slowStore is a store that, once armed, answers the next Get of a session late with what it read.
type slowStore struct {
	*tokenstore.Memory
	armed         atomic.Bool
	inside, going chan struct{}
}

func (s *slowStore) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := s.Memory.Get(ctx, key)
	if strings.HasPrefix(key, "s1.") && s.armed.CompareAndSwap(true, false) {
		close(s.inside)
		<-s.going
	}
	return data, err
}

func subject(s *oauthclient.Session) string {
	var c struct {
		Subject string `json:"sub"`
	}
	if err := s.Claims(&c); err != nil {
		return err.Error()
	}
	return c.Subject
}

// A read of the store that a sign-in or a logout has overtaken brings nothing back.
func TestOvertakenRead(t *testing.T) {
	for name, between := range map[string]func(*testing.T, *authserver.Server, *oauthclient.Client) (check func()){
		"another user signs in": func(t *testing.T, as *authserver.Server, c *oauthclient.Client) func() {
			as.SetAutoUser("bob")
			s, err := c.Login(t.Context(), &oauthclient.LoginOptions{ReplaceUser: true})
			require.NoError(t, err)
			before, err := s.Token(t.Context())
			require.NoError(t, err)
			return func() {
				require.Equal(t, "bob", subject(s))
				after, err := s.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, before.AccessToken, after.AccessToken)
			}
		},
		"a logout": func(t *testing.T, _ *authserver.Server, c *oauthclient.Client) func() {
			s, err := c.Session(t.Context(), "")
			require.NoError(t, err)
			require.NoError(t, c.Logout(t.Context(), "", nil))
			return func() {
				_, err := s.Token(t.Context())
				require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
			}
		},
		"the first sign-in": func(t *testing.T, _ *authserver.Server, c *oauthclient.Client) func() {
			s, err := c.Login(t.Context(), nil)
			require.NoError(t, err)
			return func() { require.Equal(t, "alice", subject(s)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			as, cfg := authServer(t, authserver.Config{})
			store := &slowStore{Memory: &tokenstore.Memory{}, inside: make(chan struct{}), going: make(chan struct{})}
			cfg.Store = store
			c := newClient(t, cfg)
			if name != "the first sign-in" {
				_, err := c.Login(t.Context(), nil)
				require.NoError(t, err)
			}
			store.armed.Store(true)
			var late sync.WaitGroup
			late.Go(func() { _, _ = c.Session(t.Context(), "") })
			<-store.inside
			check := between(t, as, c)
			close(store.going)
			late.Wait()
			check()
		})
	}
}

// Two logins with one terminal: the line that the first left behind is the second's, and they do not read at once (run with -race). Where a browser was opened
// nothing is read: what is typed is the program's.
func TestTerminalUITwice(t *testing.T) {
	in, typed := io.Pipe()
	ui := oauthclient.TerminalUI(io.Discard, in)
	ask := func(opened bool) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		text, err := ui.Instruct(ctx, oauthclient.Instructions{URL: "https://op.example", Paste: true, Opened: opened})
		require.NoError(t, err)
		return text
	}
	require.Empty(t, ask(true))
	go func() { _, _ = io.WriteString(typed, "yes\n") }()
	got := make(chan string, 1)
	go func() {
		answer := make([]byte, 4)
		_, _ = io.ReadFull(in, answer)
		got <- string(answer)
	}()
	select {
	case answer := <-got:
		require.Equal(t, "yes\n", answer)
	case <-time.After(20 * time.Second):
		require.Fail(t, "somebody else has read it")
	}

	require.Empty(t, ask(false))
	require.Empty(t, ask(false))
	go func() { _, _ = io.WriteString(typed, "pasted\n") }()
	require.Eventually(t, func() bool { return ask(false) == "pasted" }, 20*time.Second, time.Millisecond)
	require.NoError(t, typed.Close())
}

// Six requests that are told at once to sign in anew open one browser: a sign-in since they asked is as good as their own.
func TestMaxAgeZeroIsNoStorm(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{})
	opened := counted(&cfg)
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	opened.Store(0)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // auth_time has whole seconds, and that sign-in is to be an old one
	resp := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Bearer error="insufficient_user_authentication", max_age="0"`}}}
	var all sync.WaitGroup
	for range 6 {
		opts, ok := oauthclient.ParseChallenge(resp)
		require.True(t, ok)
		all.Go(func() {
			if _, err := c.SessionOrLogin(t.Context(), opts); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, opened.Load())
}

// A login that waited for another one does not fail as that one did where it asked for less, or had more time.
func TestFailuresOfOthers(t *testing.T) {
	t.Parallel()
	t.Run("who asked for more", func(t *testing.T) {
		as, cfg := authServer(t, authserver.Config{Scopes: []string{"openid", "offline_access"}})
		waiting := make(chan struct{}, 1)
		cfg.UI.Progress = func(step oauthclient.Step) {
			if step == oauthclient.StepElsewhere {
				waiting <- struct{}{}
			}
		}
		c := newClient(t, cfg)
		release := as.Hold(authserver.Token)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"admin"}})
			if err == nil {
				t.Error("admin was granted")
			}
		})
		require.Eventually(t, func() bool { return as.Requests(authserver.Token) > 0 }, 20*time.Second, time.Millisecond)
		all.Go(func() {
			if _, err := c.SessionOrLogin(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
		<-waiting
		release()
		all.Wait()
	})
	t.Run("who ran out of time", func(t *testing.T) {
		_, cfg := authServer(t, authserver.Config{})
		open := cfg.UI.OpenURL
		var opened atomic.Int32
		cfg.UI.OpenURL = func(ctx context.Context, u string) error {
			if opened.Add(1) == 1 {
				return nil // nobody acts in the first browser
			}
			return open(ctx, u)
		}
		c := newClient(t, cfg)
		var first sync.WaitGroup
		first.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := c.Login(ctx, nil); err == nil {
				t.Error("nobody signed in")
			}
		})
		require.Eventually(t, func() bool { return opened.Load() > 0 }, 20*time.Second, time.Millisecond)
		_, err := c.SessionOrLogin(t.Context(), nil)
		require.NoError(t, err)
		first.Wait()
	})
}

// forgetful is a transport that does not say which request an answer is to.
type forgetful struct{ base http.RoundTripper }

func (f forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.base.RoundTrip(r)
	if err == nil {
		resp.Request = nil
	}
	return resp, err
}

// S46: a capital letter that Unicode folds to one of the host's leads to another host,
// also by a redirect.
func TestS46HostsAreFoldedAsInDNS(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{})
	cfg.Origins = []string{"https://github.example"}
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	var sent []string
	client := &http.Client{Transport: session.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.Hostname()+" "+r.Header.Get("Authorization"))
		resp := &http.Response{StatusCode: http.StatusFound, Header: http.Header{}, Body: http.NoBody, Request: r}
		resp.Header.Set("Location", "https://g%C4%B0thub.example/")
		if r.URL.Hostname() != "github.example" {
			resp.StatusCode = http.StatusOK
		}
		return resp, nil
	}))}
	_, err = client.Get("https://gİthub.example/")
	require.Error(t, err)
	require.Empty(t, sent)
	resp, err := client.Get("https://github.example/")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Len(t, sent, 2)
	require.Contains(t, sent[0], "Bearer ")
	require.NotContains(t, sent[1], "Bearer ")
}

// S46: a redirect to an origin that is not known gets no token; neither does another Host, nor a path that servers read differently.
func TestS46DoubtfulRequests(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{})
	a := newAPI(t, http.HandlerFunc(ok))
	foreign := newAPI(t, http.HandlerFunc(ok))
	leads := newAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, foreign.URL, http.StatusFound) }))
	session, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	blind := &http.Client{Transport: session.Transport(forgetful{&http.Transport{DisableKeepAlives: true}})}
	if resp, err := blind.Get(leads.URL); err == nil {
		resp.Body.Close()
	}
	for _, auth := range foreign.auth {
		require.Empty(t, auth)
	}

	cfg.Origins = []string{a.URL}
	session, err = newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL, nil)
	require.NoError(t, err)
	req.Host = "evil.example"
	_, err = session.HTTPClient().Do(req)
	require.Error(t, err)

	cfg.Origins, cfg.Resources = nil, []string{a.URL + "/v1", a.URL + "/v2"}
	cfg.Store = &tokenstore.Memory{}
	session, err = newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	for _, path := range []string{"/v1/../v2/x", "/v1/%2e%2e/v2/x", "/v1%2F..%2Fv2/x"} {
		_, err = session.HTTPClient().Get(a.URL + path)
		require.ErrorContains(t, err, "write it plainly", path)
	}
	for _, auth := range a.auth { // metadata were asked for, without a token
		require.Empty(t, auth)
	}
}

// Close ends a login that is under way: nothing is stored after it.
func TestCloseEndsALogin(t *testing.T) {
	as, cfg := authServer(t, authserver.Config{})
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	release := as.Hold(authserver.Token)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Login(t.Context(), nil)
		ended <- err
	}()
	require.Eventually(t, func() bool { return as.Requests(authserver.Token) > 0 }, 20*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	release()
	require.Error(t, <-ended)
	_, err = newClient(t, cfg).Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// A launcher that returns when the login is over does not have the person told what to do.
func TestNobodyIsInstructedAfterwards(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{})
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	over := make(chan struct{})
	cfg.UI.OpenURL = func(_ context.Context, u string) error {
		resp, err := browser.Get(u)
		if err == nil {
			resp.Body.Close()
		}
		<-over
		return err
	}
	var told atomic.Int32
	cfg.UI.Instruct = func(context.Context, oauthclient.Instructions) (string, error) {
		told.Add(1)
		return "", nil
	}
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	close(over)
	require.NoError(t, c.Close())
	require.Zero(t, told.Load())
}

// A program that comes to ask for openid does not take the same person for another.
func TestOpenIDAddedLater(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{})
	plain := cfg
	plain.Scopes = []string{"offline_access"}
	_, err := newClient(t, plain).Login(t.Context(), nil)
	require.NoError(t, err)
	_, err = newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
}

// S44: programs that register by themselves at one provider do not share a session.
func TestS44ProgramsThatRegister(t *testing.T) {
	cfg := oauthtest.NewServer(t, nil).Config()
	cfg.ClientID, cfg.Registration = "", &oauthclient.Registration{ClientName: "One", SoftwareID: "one"}
	_, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	cfg.Registration = &oauthclient.Registration{ClientName: "Two", SoftwareID: "two"}
	_, err = newClient(t, cfg).Session(t.Context(), "")
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
}

// S36: a step-up that is refused does not end the session that there is, at a provider with a revocation that takes all of a user's grants to the client.
func TestS36RefusedStepUpRevokesNothing(t *testing.T) {
	m := &misbehave{}
	as, cfg := authServer(t, authserver.Config{Scopes: []string{"openid", "offline_access"}, Misbehave: m.option})
	c := newClient(t, cfg)
	session, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	m.set(authserver.Revocation, func(http.ResponseWriter, *http.Request) { as.Revoke() })
	_, err = c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"drive"}})
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	require.NoError(t, session.Refresh(t.Context()))
}

// S34: the device flow's token request names the resource too.
func TestS34DeviceResource(t *testing.T) {
	t.Parallel()
	h := newHostile(t, authserver.Config{DeviceInterval: time.Second})
	h.cfg.Resources = []string{"https://api.example"}
	h.cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
		return "", h.ApproveDevice(do.UserCode, "alice")
	}
	_, err := newClient(t, h.cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	require.NoError(t, err)
	for _, r := range h.got(authserver.Token) {
		require.Equal(t, []string{"https://api.example"}, r.Form["resource"])
	}
}

// S34: Refresh gets a new token for its own resource, though a sibling has just refreshed another.
func TestS34RefreshOfOneResource(t *testing.T) {
	_, cfg := authServer(t, authserver.Config{})
	cfg.Resources = []string{"https://a.example", "https://b.example"}
	first, err := newClient(t, cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	a := first.For("https://a.example")
	before, err := a.Token(t.Context())
	require.NoError(t, err)
	sibling, err := newClient(t, cfg).Session(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, sibling.Refresh(t.Context()))
	require.NoError(t, a.Refresh(t.Context()))
	after, err := a.Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, before.AccessToken, after.AccessToken)
}

// S62: what was granted may have changed since For.
func TestS62GrantedLessSince(t *testing.T) {
	h := newHostile(t, authserver.Config{})
	c := newClient(t, h.cfg)
	session, err := c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"admin"}})
	require.NoError(t, err)
	admin := session.For("", "admin")
	require.NoError(t, c.Logout(t.Context(), "", nil))
	_, err = c.Login(t.Context(), nil)
	require.NoError(t, err)
	_, err = admin.Token(t.Context())
	require.ErrorIs(t, err, oauthclient.ErrStepUp)
	for _, r := range h.got(authserver.Token) {
		require.NotContains(t, r.Form.Get("scope"), "admin")
	}
}

// S5: a sub with escapes in it reaches no terminal through an error.
func TestS5SubjectInAnError(t *testing.T) {
	subject := "\x1b]0;owned\x07alice"
	_, cfg := authServer(t, authserver.Config{EditIDToken: func(c map[string]any) {
		c["sub"] = subject
		for _, name := range []string{"name", "email", "preferred_username"} {
			delete(c, name)
		}
	}})
	c := newClient(t, cfg)
	_, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	subject = "bob"
	_, err = c.Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrAccountMismatch)
	require.NotContains(t, err.Error(), "\x1b")
	require.NotContains(t, err.Error(), "\x07")
}

// A resource that does not answer for its metadata holds up a login at a known issuer for seconds only, and its connections end with the client.
func TestSilentResource(t *testing.T) {
	t.Parallel()
	_, cfg := authServer(t, authserver.Config{})
	var asked, open atomic.Int32
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		http.NotFound(w, r)
	}))
	api.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	api.Start()
	t.Cleanup(api.Close)
	cfg.Resources = []string{api.URL}
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		_, err := c.Login(ctx, nil)
		require.NoError(t, err)
	}
	require.Positive(t, asked.Load())
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return open.Load() == 0 }, 20*time.Second, time.Millisecond)
}
