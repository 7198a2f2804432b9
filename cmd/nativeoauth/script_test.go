package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
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

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/secret"
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
	http *httptest.Server
}

func newProvider(t testing.TB, cfg authserver.Config) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	p.http = httptest.NewServer(mux)
	t.Cleanup(p.http.Close)
	cfg.Issuer = p.http.URL
	cfg.Clients = []authserver.Client{
		{ID: "cli", Name: "a test", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}},
		{ID: "other-path", RedirectURIs: []string{"http://127.0.0.1/elsewhere"}},
		{ID: "secret", Auth: authserver.AuthBasic, Secret: secret.New("s3cret canary"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
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
			p := newProvider(tb, authserver.Config{AutoUser: "alice", AccessTokenLifetime: 5 * time.Minute})
			env.Values[providerKey{}] = p
			home := filepath.Join(env.WorkDir, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			newKeyFile(tb, filepath.Join(home, "key"))
			for name, value := range map[string]string{
				"HOME": home, "USERPROFILE": home, "PROVIDER": p.http.URL, "API": p.http.URL + "/api/me",
				"DISPLAY": ":0", "BROWSER_LOG": filepath.Join(env.WorkDir, "browser.log"),
				"NATIVEOAUTH_STORE": "file", "NATIVEOAUTH_KEY_FILE": filepath.Join(home, "key"),
				"KEY": filepath.Join(home, "key"), "NO_PROXY": "*",
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
