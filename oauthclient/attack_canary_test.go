package oauthclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// canaries are the secrets of a run, by what they are, and everything that was said meanwhile.
type canaries struct {
	mu      sync.Mutex
	secrets map[string]string
	said    map[string]*bytes.Buffer
}

func (c *canaries) secret(what, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(value) >= 8 {
		c.secrets[value] = what
	}
}

func (c *canaries) say(where string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said[where] == nil {
		c.said[where] = &bytes.Buffer{}
	}
	c.said[where].Write(append(data, '\n'))
}

// print prints a value in every way there is.
func (c *canaries) print(what string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		c.say(what+" "+verb, []byte(fmt.Sprintf(verb, v)))
		if !raceDetector { // fmt follows a hidden pointer with some verbs, into connections that are in use
			c.say(what+" in a struct "+verb, []byte(fmt.Sprintf(verb, struct{ hidden any }{v})))
		}
	}
	if data, err := json.Marshal(v); err == nil {
		c.say(what+" as JSON", data)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "value", v)
	slog.New(slog.NewTextHandler(&log, nil)).Info("it", "value", v)
	c.say(what+" in slog", log.Bytes())
	func() {
		defer func() {
			c.say(what+" in a panic", append([]byte(fmt.Sprint(recover())), debug.Stack()...))
		}()
		panic(v)
	}()
}

// note remembers an error in every way it can be printed, with all that it wraps.
func (c *canaries) note(what string, err error) {
	if err == nil {
		return
	}
	c.print("error of "+what, err)
	switch x := err.(type) {
	case interface{ Unwrap() error }:
		c.note(what, x.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			c.note(what, e)
		}
	}
}

// Write makes canaries the place where logs go.
func (c *canaries) Write(p []byte) (int, error) {
	c.say("the log", p)
	return len(p), nil
}

// listen learns the secrets of everything that goes over the wire.
func (c *canaries) listen(h *hostile, more func(endpoint string) func(heardRequest, *lyingReply)) {
	form := func(what string, v url.Values) {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "state", "nonce", "client_secret", "client_assertion", "token", "device_code"} {
			c.secret(what+" "+name, v.Get(name))
		}
	}
	for _, endpoint := range []string{"authorize", "token", "par", "device", "revocation", "introspection", "userinfo", "end_session", "metadata", "jwks"} {
		h.lie(endpoint, func(r heardRequest, a *lyingReply) {
			form(endpoint, r.Form)
			form(endpoint, r.URL.Query())
			if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
				c.secret(endpoint+" Authorization", token)
			}
			c.secret(endpoint+" proof", r.Header.Get("DPoP"))
			if u, err := url.Parse(a.Header.Get("Location")); err == nil {
				form(endpoint, u.Query())
			}
			a.JSON(func(m map[string]any) {
				for _, name := range []string{"access_token", "refresh_token", "id_token", "device_code", "request_uri"} {
					s, _ := m[name].(string)
					c.secret(endpoint+" "+name, s)
				}
			})
			if lie := more(endpoint); lie != nil {
				lie(r, a)
			}
		})
	}
}

// check looks for every secret in all that was said.
func (c *canaries) check(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := map[string]bool{}
	for value, what := range c.secrets {
		kinds[what] = true
		for where, said := range c.said {
			for _, form := range []string{value, url.QueryEscape(value), fmt.Sprintf("%x", value)} {
				if strings.Contains(said.String(), form) {
					t.Errorf("%s holds the %s", where, what)
				}
			}
		}
	}
	t.Logf("%d secrets of %d kinds, not in %d places", len(c.secrets), len(kinds), len(c.said))
	for _, kind := range []string{"token access_token", "token refresh_token", "token code", "token code_verifier", "token id_token"} {
		require.True(t, kinds[kind] || kinds["authorize code"], "the sweep saw no %s", kind)
	}
}

// sweeping marks the process that [TestS66S67CanarySweep] starts.
const sweeping = "OAUTHCLIENT_CANARY_SWEEP"

// S66, S67: a run of everything, at every log level, with a provider that echoes whatever it is sent into whatever it answers. No secret of it
// is in a log line, an error, a printed value, a panic, a page, a file outside the store, or the environment.
//
// The run is a process of its own, because the environment is its own: the other tests go on meanwhile.
func TestS66S67CanarySweep(t *testing.T) {
	if os.Getenv(sweeping) == "" {
		t.Parallel()
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), sweeping+"=1", "HOME="+t.TempDir(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: "+t.Name()+"/DPoP")
		return
	}
	home, work := os.Getenv("HOME"), os.Getenv("TMPDIR")
	const clientSecret = "canary-client-secret-5b1d"
	swept := make(chan *canaries, 2)
	var both sync.WaitGroup // they wait most of the time
	for name, dpop := range map[string]bool{"bearer": false, "DPoP": true} {
		both.Go(func() {
			t.Run(name, func(t *testing.T) {
				c := &canaries{secrets: map[string]string{}, said: map[string]*bytes.Buffer{}}
				c.secret("client secret", clientSecret)
				h := newHostile(t, authserver.Config{DeviceInterval: time.Second, DPoPNonce: dpop, Clients: []authserver.Client{{
					ID: "secretive", Auth: authserver.AuthBasic, Secret: wire.NewSecret(clientSecret), RedirectURIs: []string{"http://127.0.0.1/callback"},
				}}})
				var mu sync.Mutex
				echo := ""
				c.listen(h, func(endpoint string) func(heardRequest, *lyingReply) {
					mu.Lock()
					defer mu.Unlock()
					if echo != endpoint {
						return nil
					}
					return func(r heardRequest, a *lyingReply) { // the server says all it was told, where a client may repeat it
						all := r.Form.Encode() + " " + r.URL.RawQuery + " " + strings.Join(r.Header.Values("Authorization"), " ") + " "
						for _, values := range r.Form {
							all += " " + strings.Join(values, " ")
						}
						a.Status, a.Header = http.StatusBadRequest, http.Header{"Content-Type": {"application/json"}}
						a.Body, _ = json.Marshal(map[string]any{"error": "invalid_scope", "error_description": all, "error_uri": "https://x.example/?" + all})
						if endpoint == "userinfo" {
							a.Status = http.StatusUnauthorized
							a.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", error_description="`+strings.ReplaceAll(all, `"`, "")+`"`)
						}
					}
				})
				h.cfg.ClientID, h.cfg.ClientAuth, h.cfg.DPoP = "secretive", oauthclient.ClientSecret(clientSecret), dpop
				h.cfg.Logger = slog.New(slog.NewJSONHandler(c, &slog.HandlerOptions{AddSource: true, Level: slog.LevelDebug - 8}))
				file := tokenstore.NewFile(filepath.Join(home, name, "sessions"), mustKey(t))
				h.cfg.Store = file
				pages := make(chan string, 100)
				h.cfg.UI.OpenURL = func(_ context.Context, u string) error {
					go func() {
						resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(u)
						if err != nil {
							pages <- ""
							return
						}
						defer resp.Body.Close()
						var page bytes.Buffer
						_, _ = page.ReadFrom(resp.Body)
						pages <- page.String() + fmt.Sprint(resp.Header)
					}()
					return nil
				}
				h.cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) {
					if do.UserCode != "" {
						return "", h.ApproveDevice(do.UserCode, "alice")
					}
					return "", nil
				}
				client := newClient(t, h.cfg)
				ctx := t.Context()
				everything := func(strict bool) {
					s, err := client.Login(ctx, nil)
					c.note("login", err)
					if err == nil || h.Requests("authorize") > 0 && strict {
						select {
						case page := <-pages:
							c.say("a page", []byte(page))
						case <-time.After(10 * time.Second):
						}
					}
					if strict {
						require.NoError(t, err)
					}
					if err != nil {
						if s, err = client.Session(ctx, ""); err != nil {
							c.note("session", err)
							return
						}
					}
					tok, err := s.Token(ctx)
					c.note("token", err)
					if tok != nil {
						c.secret("Session's access token", tok.AccessToken)
						require.Empty(t, tok.RefreshToken)
					}
					a := newAPI(t, h.Protect(authserver.Resource{Scope: "admin"}, http.HandlerFunc(ok)))
					hc := s.HTTPClient()
					resp, err := hc.Get(a.URL)
					c.note("API", err)
					if err == nil {
						opts, _ := oauthclient.ParseChallenge(resp)
						c.print("challenge", opts)
						resp.Body.Close()
					}
					_, err = hc.Get("http://api.example.com/?q=1")
					c.note("API elsewhere", err)
					hc.CloseIdleConnections()
					c.note("userinfo", s.UserInfo(ctx, new(map[string]any)))
					c.note("introspect", s.Introspect(ctx, new(map[string]any)))
					c.note("refresh", s.Refresh(ctx))
					_, err = s.For("", "more").Token(ctx)
					c.note("For", err)
					_, err = s.TokenSource().Token()
					c.note("TokenSource", err)
					for what, v := range map[string]any{
						"Client": client, "Session": s, "Account": s.Account(), "Config": h.cfg, "ClientAuth": h.cfg.ClientAuth, "TokenSource": s.TokenSource(),
						"HTTPClient": hc, "Transport": s.Transport(nil), "For": s.For(""), "Store": h.cfg.Store, "LoginOptions": &oauthclient.LoginOptions{},
					} {
						c.print(what, v)
					}
					accounts, err := client.Accounts(ctx)
					c.note("accounts", err)
					c.print("accounts", accounts)
					_, err = client.Login(ctx, &oauthclient.LoginOptions{Account: "device", Flow: oauthclient.FlowDevice})
					c.note("device", err)
					if strict {
						require.NoError(t, err)
					}
				}
				everything(true)
				names, err := file.List(ctx, "")
				require.NoError(t, err)
				for _, name := range names { // the DPoP key, which never goes over the wire
					data, err := file.Get(ctx, name)
					require.NoError(t, err)
					var kept struct {
						Key string `json:"dpop_key"`
					}
					require.NoError(t, json.Unmarshal(data, &kept))
					require.Equal(t, dpop, kept.Key != "", "the sweep knows the DPoP key")
					c.secret("DPoP key", kept.Key)
					c.secret("DPoP key", strings.TrimPrefix(kept.Key, "ES256."))
				}
				for _, endpoint := range []string{"token", "par", "userinfo", "introspection", "revocation", "device", "jwks", "metadata"} {
					mu.Lock()
					echo = endpoint
					mu.Unlock()
					fresh := newClient(t, h.cfg)
					old := client
					client = fresh
					everything(false)
					c.note("logout", client.Logout(ctx, "device", nil))
					client = old
				}
				mu.Lock()
				echo = ""
				mu.Unlock()
				c.note("logout", client.Logout(ctx, "", &oauthclient.LogoutOptions{EndSession: true}))
				c.say("the environment", []byte(strings.Join(os.Environ(), "\n")))
				swept <- c
			})
		})
	}
	both.Wait()
	close(swept)
	for c := range swept {
		for _, dir := range []string{home, work} {
			require.NoError(t, filepath.WalkDir(dir, c.file))
		}
		c.check(t)
	}
}

// file takes in a file's bytes and name, and demands that nobody else can read it.
func (c *canaries) file(path string, d fs.DirEntry, err error) error {
	if err != nil || !d.Type().IsRegular() {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 { // Windows has no modes
		return fmt.Errorf("%s can be read by others", path)
	}
	data, err := os.ReadFile(path)
	c.say("the file "+path, data)
	return err
}

func mustKey(t *testing.T) tokenstore.Key {
	t.Helper()
	key, err := tokenstore.ParseKey(strings.Repeat("5a", 32))
	require.NoError(t, err)
	return key
}
