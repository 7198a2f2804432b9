package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
	"github.com/stretchr/testify/require"
)

// The login in Chromium and Firefox, as users have them. Each mode is checked to be
// active. The provider has https, and a name of its own.
func TestBrowserModes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"chromium", "firefox-esr"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("https only, strict, local network access", func(t *testing.T) { strictMode(t, name) })
			t.Run("private window", func(t *testing.T) { privateMode(t, name) })
			t.Run("as installed", func(t *testing.T) { asInstalled(t, name) })
		})
	}
}

// strictMode turns on every protection that could stop a login: the ways to the
// provider and back lead from https to http, and from the internet to this machine.
func strictMode(t *testing.T, name string) {
	p := newWebProvider(t)
	b := browser.Start(t, name, browser.Modes{HTTPSOnly: true, Strict: true, Public: []string{p.address}})
	b.Open(p.plain(browser.PlainHost)).See("HTTPS-Only Mode Alert|^chrome-error:")
	page := b.Open(p.Issuer() + "/page")
	page.See("A PAGE")
	require.NotContains(t, evaluate(t, page, p.fetching()), "fetched")
	if name == "firefox-esr" { // the list takes a moment
		blocked := func() bool { return evaluate(t, page, p.tracking()) == "blocked" }
		require.Eventually(t, blocked, browser.Patience, 200*time.Millisecond, "a tracker is loaded")
	}
	l := p.login(t)
	tab := b.Open(<-l.opened)
	tab.See("Allow")
	evaluate(t, tab, signIn)
	tab.See("signed in")
	require.NoError(t, <-l.done)
}

// privateMode signs in in a private window, on a display. Nothing of it is left.
func privateMode(t *testing.T, name string) {
	p := newWebProvider(t)
	b := browser.Start(t, name, browser.Modes{Window: true, Private: true})
	l := p.login(t)
	ticket := <-l.opened
	tab := b.Open(ticket)
	tab.See("Allow")
	require.Equal(t, "1280", evaluate(t, tab, "String(screen.width)"), "it is on the display")
	evaluate(t, tab, signIn)
	tab.See("signed in")
	require.NoError(t, <-l.done)
	b.Quit()
	u, err := url.Parse(ticket)
	require.NoError(t, err)
	require.Empty(t, filesWith(t, b.Profile, u.Host), "a private window leaves nothing")
}

// asInstalled is what a user may do beside signing in, and what remains afterwards.
func asInstalled(t *testing.T, name string) {
	p := newWebProvider(t)
	b := browser.Start(t, name, browser.Modes{})
	// What strictMode sees refused, is not refused here.
	b.Open(p.plain(browser.PlainHost)).See("PLAIN PAGE")
	page := b.Open(p.Issuer() + "/page")
	page.See("A PAGE")
	require.Contains(t, evaluate(t, page, p.fetching()), "fetched")
	require.Equal(t, "loaded", evaluate(t, page, p.tracking()))

	l := p.login(t)
	ticket := <-l.opened
	tab := b.Open(ticket)
	tab.See("Allow")
	// The user closes the tab, and opens the link again, twice. The second tab signs in.
	tab.Close()
	first, second := b.Open(ticket), b.Open(ticket)
	first.See("Allow")
	second.See("Allow")
	first.Reload()
	first.See("Allow")
	evaluate(t, second, signIn)
	second.See("signed in")
	require.NoError(t, <-l.done)
	evaluate(t, first, signIn) // the listener has ended
	first.See("^chrome-error:|Problem loading page|Unable to connect|refused")

	// From the last page the user goes on, and back.
	second.Go(p.plain("127.0.0.1"))
	second.See("PLAIN PAGE")
	second.Back()
	second.See(map[string]string{"chromium": "signed in", "firefox-esr": "Problem loading page"}[name])
	second.Reload()
	second.See("^chrome-error:|Problem loading page")

	// The user closes the tab while the program gets its tokens.
	before := p.Requests(authserver.Token)
	release := p.Hold(authserver.Token)
	defer release()
	l = p.login(t)
	tab = b.Open(<-l.opened) // the provider knows the user by now
	require.Eventually(t, func() bool { return p.Requests(authserver.Token) > before }, browser.Patience, 20*time.Millisecond)
	tab.Close()
	release()
	require.NoError(t, <-l.done)

	b.Quit()
	require.Empty(t, filesWith(t, b.Profile, "page was made on your own computer"), "the page names the user (S19)")
	where := filesWith(t, b.Profile, "code="+p.code())
	// docs/security.md says so. The browsers do not show these addresses, and the
	// codes are spent.
	t.Logf("the code is left in %v", where)
	for _, file := range where {
		require.NotContains(t, file, "Sessions", "the tabs that are opened again")
		require.NotContains(t, file, "sessionstore")
	}
}

const signIn = `(document.querySelector("#username") && (document.querySelector("#username").value = "alice"), document.querySelector("button[value=allow]").click(), "")`

// fetching is a page's request to a server on this machine. If the browser asks the
// user, nobody answers.
func (p *webProvider) fetching() string {
	return fmt.Sprintf(`Promise.race([new Promise(r => setTimeout(r, 4000, "held")),
		fetch(%q, {mode: "no-cors"}).then(r => "fetched " + r.type, e => "refused " + e)])`, p.plain("127.0.0.1"))
}

// tracking is a page's request for a tracker's picture.
func (p *webProvider) tracking() string {
	return fmt.Sprintf(`new Promise(r => { const i = new Image(); i.onload = () => r("loaded"); i.onerror = () => r("blocked");
		i.src = "https://%s:%s/picture?" + Math.random() })`, browser.TrackerHost, p.port)
}

func evaluate(t *testing.T, tab *browser.Tab, expression string) string {
	t.Helper()
	value, err := tab.Eval(expression)
	require.NoError(t, err)
	return value
}

// filesWith returns the files below dir that contain text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return found
}

// webProvider is an authorization server with https and a name, and a page without
// https.
type webProvider struct {
	*authserver.Server
	address, port string
	tls, http     *httptest.Server
	codes         chan string
}

func newWebProvider(t *testing.T) *webProvider {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &webProvider{address: ln.Addr().String(), codes: make(chan string, 100)}
	_, p.port, err = net.SplitHostPort(p.address)
	require.NoError(t, err)
	p.Server, err = authserver.New(authserver.Config{
		Issuer:  "https://" + net.JoinHostPort(browser.LoginHost, p.port),
		Clients: []authserver.Client{{ID: NativeClient, RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		// A request that is pushed works in one tab only.
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			if endpoint != authserver.Metadata {
				return next
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				var doc map[string]any
				_ = json.Unmarshal(answer.Body.Bytes(), &doc)
				delete(doc, "pushed_authorization_request_endpoint")
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(doc)
			})
		},
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", p.Server)
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "A PAGE") })
	mux.HandleFunc("/picture", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	})
	p.tls = &httptest.Server{Listener: ln, Config: &http.Server{Handler: p.noteCodes(mux)}}
	p.tls.StartTLS()
	p.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "PLAIN PAGE") }))
	t.Cleanup(func() {
		p.tls.CloseClientConnections()
		p.tls.Close()
		p.http.Close()
	})
	return p
}

// noteCodes remembers the codes that the provider sends to the browser.
func (p *webProvider) noteCodes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if to, err := url.Parse(w.Header().Get("Location")); err == nil && to.Query().Has("code") {
			p.codes <- to.Query().Get("code")
		}
	})
}

// code returns the first code.
func (p *webProvider) code() string { return <-p.codes }

// plain returns the address of the page without https, at a name of this machine.
func (p *webProvider) plain(host string) string {
	return strings.Replace(p.http.URL, "127.0.0.1", host, 1) + "/"
}

// webLogin is a login of a program in this process.
type webLogin struct {
	opened chan string // the address that it opens
	done   chan error
}

func (p *webProvider) login(t *testing.T) *webLogin {
	t.Helper()
	l := &webLogin{opened: make(chan string, 1), done: make(chan error, 1)}
	transport := p.tls.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.address)
	}
	transport.TLSClientConfig.ServerName = "example.com" // the test certificate's
	client, err := oauthclient.New(oauthclient.Config{
		Issuer: p.Issuer(), ClientID: NativeClient, Scopes: []string{"openid", "profile"},
		Store: &tokenstore.Memory{}, Transport: transport,
		Loopback: loopback.Config{Page: loopback.Page{AppName: "Interop"}},
		UI: oauthclient.UI{OpenURL: func(_ context.Context, ticket string) error {
			l.opened <- ticket
			return nil
		}},
	})
	require.NoError(t, err)
	go func() {
		_, err := client.Login(t.Context(), nil)
		l.done <- err
	}()
	return l
}
