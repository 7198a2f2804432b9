package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// TestMain lets the test binary stand in for the command and for a browser, so that
// the scripts and the process tests start real processes. Six tests run at once,
// unless -parallel says how many: they wait for each other's processes.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6")
	testscript.Main(endOfBrowsers{m}, map[string]func(){
		"nativeoauth": func() { os.Exit(start()) },
		"xdg-open":    fakeBrowser, // what the SDK opens a browser with, on Linux and the BSDs
		"open":        fakeBrowser, // and on macOS
	})
}

// endOfBrowsers runs the tests and waits until the last browser has ended: Windows
// removes no program that runs, and testscript.Main removes them all.
type endOfBrowsers struct{ *testing.M }

func (m endOfBrowsers) Run() int {
	code := m.M.Run()
	browser, err := exec.LookPath("xdg-open")
	if err != nil || runtime.GOOS != "windows" {
		return code
	}
	for began := time.Now(); os.Remove(browser) != nil; time.Sleep(50 * time.Millisecond) {
		switch {
		case time.Since(began) < 20*time.Second:
		case os.Getenv("NATIVEOAUTH_WINE") == "":
			return code
		default:
			// Wine's server sometimes keeps a process that has ended, and with it its
			// program. .ci/windows removes what is left.
			fmt.Println("Wine does not let go of", browser)
			os.Exit(code)
		}
	}
	return code
}

// fakeBrowser follows the address to the last page, as a browser does. It writes its
// arguments, a client secret in its environment, and the last page to $BROWSER_LOG.
func fakeBrowser() {
	if os.Getenv("BROWSER_DETACHED") == "1" { // as a real launcher: it ends, and the browser continues
		later := exec.Command(os.Args[0], os.Args[1:]...)
		later.Env = append(os.Environ(), "BROWSER_DETACHED=later")
		if err := later.Start(); err != nil {
			os.Exit(1)
		}
		return
	}
	if os.Getenv("BROWSER_DETACHED") == "later" {
		time.Sleep(time.Second) // a user needs some time
	}
	jar, _ := cookiejar.New(nil)
	web := &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{}}
	if cert, err := os.ReadFile(os.Getenv("BROWSER_CA")); err == nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		web.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	}
	log := strings.Join(os.Args[1:], " ") + "\n"
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, secretVariable) {
			log += kv + "\n"
		}
	}
	if os.Getenv("BROWSER_USER") != "nobody" { // a browser in which the user does nothing
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

// provider is the authorization server of one script, with an API and other pages.
type provider struct {
	*authserver.Server
	http      *httptest.Server
	stranger  *httptest.Server // another origin, which repeats the headers that it gets
	clientKey []byte           // of the client "key", as a PEM file
	jobs      *jobs            // a platform that the provider trusts
}

// newProvider starts a provider with the clients that the tests use. cfg.Issuer and
// cfg.Clients are set.
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
		{ID: "cli", Name: "a test", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
			PostLogoutRedirectURIs: []string{"http://127.0.0.1/bye", "http://[::1]/bye"}},
		{ID: "other-path", RedirectURIs: []string{"http://127.0.0.1/elsewhere"}},
		{ID: "secret", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s3cret canary"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "post", Auth: authserver.AuthPost, Secret: wire.NewSecret("s3cret canary"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "raw", Auth: authserver.AuthBasic, Secret: wire.NewSecret("s3cret canary"), RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "no-nonce", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "tenant", RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "dpop", RequireDPoP: true, RedirectURIs: []string{"http://127.0.0.1/callback"}},
		{ID: "key", Auth: authserver.AuthPrivateKeyJWT, RedirectURIs: []string{"http://127.0.0.1/callback"}, Keys: &jose.JSONWebKeySet{
			Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}},
		}},
	}
	p.jobs = newJobs(t, p.http.URL+"/jobs")
	p.jobs.configure(t, &cfg)
	as, err := authserver.New(cfg)
	require.NoError(t, err)
	p.Server = as
	mux.Handle("/", bent(as))
	mux.Handle("/jobs/", p.jobs)
	mux.HandleFunc("/html/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html>hello</html>")
	})
	mux.HandleFunc("/liar/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":"https://other.example","authorization_endpoint":"https://other.example/a","token_endpoint":"https://other.example/t"}`)
	})
	mux.HandleFunc("/bearer/", func(w http.ResponseWriter, _ *http.Request) { // a provider without DPoP
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":"%[1]s/bearer","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token",`+
			`"response_types_supported":["code"],"code_challenge_methods_supported":["S256"]}`, p.http.URL)
	})
	newChat(t, mux, p)
	newSTS(mux, p)
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

// newKeyFile writes a key for --store file.
func newKeyFile(t testing.TB, path string) {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	require.NoError(t, os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600))
}
