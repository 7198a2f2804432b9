package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"nativeoauth": func() { os.Exit(start()) },
		"xdg-open":    fakeBrowser, // what the SDK opens a browser with, on Linux and the BSDs
		"open":        fakeBrowser, // and on macOS
	})
}

// fakeBrowser follows the address as a browser does, to the last page, whose title it leaves in $BROWSER_LOG with what it was started with.
func fakeBrowser() {
	if os.Getenv("BROWSER_DETACHED") == "1" { // as a real launcher: it ends, and the browser goes on
		later := exec.Command(os.Args[0], os.Args[1:]...)
		later.Env = append(os.Environ(), "BROWSER_DETACHED=later")
		if err := later.Start(); err != nil {
			os.Exit(1)
		}
		return
	}
	if os.Getenv("BROWSER_DETACHED") == "later" {
		time.Sleep(time.Second) // a person's time
	}
	jar, _ := cookiejar.New(nil)
	web := &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{}}
	log := strings.Join(os.Args[1:], " ") + "\n"
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, secretVariable) {
			log += kv + "\n"
		}
	}
	if os.Getenv("BROWSER") != "nobody" { // a browser in which nobody does anything
		resp, err := web.Get(os.Args[len(os.Args)-1])
		if err != nil {
			log += "error: " + err.Error() + "\n"
		} else {
			_ = resp.Body.Close()
			log += resp.Status + " " + resp.Request.URL.Path + "\n"
		}
	}
	if path := os.Getenv("BROWSER_LOG"); path != "" {
		_ = os.WriteFile(path, []byte(log), 0o600)
	}
}

// provider is the authorization server of one script.
type provider struct {
	*authserver.Server
	http      *httptest.Server
	stranger  *httptest.Server // another origin, which answers with what it was sent
	clientKey []byte           // of the client "key", as a PEM file
}

func newProvider(t testing.TB, cfg authserver.Config) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	p.http = httptest.NewServer(mux)
	t.Cleanup(p.http.Close)
	p.stranger = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "the stranger got authorization=%q dpop=%q\n", r.Header.Get("Authorization"), r.Header.Get("DPoP"))
	}))
	t.Cleanup(p.stranger.Close)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	p.clientKey = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	cfg.Issuer = p.http.URL
	cfg.Clients = []authserver.Client{
		{ID: "cli", Name: "a test", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}},
		{ID: "other-path", RedirectURIs: []string{"http://127.0.0.1/elsewhere"}},
		{ID: "secret", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s3cret canary"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "dpop", RequireDPoP: true, RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "key", Auth: authserver.AuthPrivateKeyJWT, RedirectURIs: []string{"http://127.0.0.1/callback"}, Keys: &jose.JSONWebKeySet{
			Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}},
		}},
	}
	as, err := authserver.New(cfg)
	require.NoError(t, err)
	p.Server = as
	mux.Handle("/", as)
	mux.HandleFunc("/html/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html>hello</html>")
	})
	mux.HandleFunc("/liar/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":"https://other.example","authorization_endpoint":"https://other.example/a","token_endpoint":"https://other.example/t"}`)
	})
	mux.HandleFunc("/api/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, p.stranger.URL, http.StatusFound) })
	mine := authserver.Resource{URL: p.http.URL + "/mcp"}
	described, err := authserver.ResourceMetadataPath(mine.URL)
	require.NoError(t, err)
	mux.Handle(described, as.ResourceMetadata(mine))
	mux.Handle("/mcp", as.Protect(mine, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "from the resource") })))
	mux.HandleFunc("/api/admin", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="admin"`)
		w.WriteHeader(http.StatusForbidden)
	})
	mux.Handle("/api/me", as.Protect(authserver.Resource{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		w.Header().Set("X-Method", r.Method)
		_, _ = fmt.Fprintf(w, "%s by %s (%s)\n", r.Method, g.Subject, r.Header.Get("X-Extra"))
	})))
	return p
}

func newKeyFile(t testing.TB, path string) {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	require.NoError(t, os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600))
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			p := newProvider(tb, authserver.Config{AutoUser: "alice", AccessTokenLifetime: 5 * time.Minute, InitialAccessToken: "initial canary"})
			env.Values[providerKey{}] = p
			home := filepath.Join(env.WorkDir, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			newKeyFile(tb, filepath.Join(home, "key"))
			if err := os.WriteFile(filepath.Join(home, "client.pem"), p.clientKey, 0o600); err != nil {
				return err
			}
			for name, value := range map[string]string{
				"HOME": home, "USERPROFILE": home, "PROVIDER": p.http.URL, "API": p.http.URL + "/api/me", "STRANGER": p.stranger.URL,
				"DISPLAY": ":0", "BROWSER_LOG": filepath.Join(env.WorkDir, "browser.log"),
				"NATIVEOAUTH_STORE": "file", "NATIVEOAUTH_KEY_FILE": filepath.Join(home, "key"),
				"KEY": filepath.Join(home, "key"), "NO_PROXY": "*",
				"GORACE": "atexit_sleep_ms=0", // with the race detector, each command would wait a second before it ends
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"provider": cmdProvider,
			"chmod":    cmdChmod,
			"private":  cmdPrivate,
			"browsed":  cmdBrowsed,
		},
	})
}

type providerKey struct{}

// cmdBrowsed waits until the browser has been at its last page: it may still be loading that when the command has ended.
func cmdBrowsed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: browsed")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		data, _ := os.ReadFile(ts.MkAbs("browser.log"))
		if strings.Contains(string(data), "200 OK /") {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the browser did not get to the last page: %s", data)
		}
	}
}

// cmdExits runs a command that must end with an exit code: exits 4 nativeoauth token
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdProvider has the provider do something: provider expire|revoke|deny|stop|user NAME
func cmdProvider(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(providerKey{}).(*provider)
	switch args[0] {
	case "expire":
		p.Expire()
	case "revoke":
		p.Revoke()
	case "deny":
		p.Deny()
	case "stop":
		p.http.Close()
	case "user":
		p.SetAutoUser(args[1])
	case "describe": // writes its metadata to a file
		resp, err := http.Get(p.http.URL + "/.well-known/openid-configuration")
		ts.Check(err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
	case "alive": // how many sessions it would still honour
		if got := strconv.Itoa(p.Alive()); got != args[1] {
			ts.Fatalf("%s grants are alive, want %s", got, args[1])
		}
	default:
		ts.Fatalf("provider %s: unknown", args[0])
	}
}

func cmdChmod(ts *testscript.TestScript, _ bool, args []string) {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	ts.Check(os.Chmod(ts.MkAbs(args[1]), os.FileMode(mode)))
}

// cmdPrivate checks that a file can be read by its owner only.
func cmdPrivate(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if info.Mode().Perm()&0o077 != 0 {
		ts.Fatalf("%s: mode %o", args[0], info.Mode().Perm())
	}
}
