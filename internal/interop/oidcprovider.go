package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// NativeClient is the client_id that every provider here knows. It is a public,
// native client. Its redirect URIs are on loopback, on any port, and end in
// /callback.
const NativeClient = "native"

// Options changes an OIDCProvider. The zero value is an OpenID provider that
// rotates refresh tokens, requires PKCE, and supports PAR, DPoP, the device
// flow, registration, revocation, introspection and logout.
type Options struct {
	Host         string        // the loopback address to listen on; "" means 127.0.0.1
	AccessToken  time.Duration // lifetimes, in whole seconds; 0 means ten minutes
	IDToken      time.Duration // 0 means an hour
	RefreshToken time.Duration // 0 means an hour
	RequirePAR   bool
	RequireDPoP  bool             // NativeClient's tokens are bound to a key, and every proof needs the server's nonce
	MoreClients  []map[string]any // RFC 7591 metadata, beside NativeClient
}

// Event is something that an OIDCProvider did.
type Event struct {
	Event  string // "request", "grant.revoked", "refresh_token.consumed"
	Route  string // of a request: "authorization", "token", "userinfo", "revocation", "pushed_authorization_request", …
	Grant  string // its grant_type
	Status int
	Error  string // its OAuth error code
	Detail string // and description
	DPoP   bool   // it carried a proof
}

// OIDCProvider is npm's oidc-provider in a process of its own.
type OIDCProvider struct {
	Issuer string

	tb      testing.TB
	stdin   io.WriteCloser
	set     chan struct{} // one for each line written to stdin
	mu      sync.Mutex
	events  []Event
	stopped chan struct{}
}

// StartOIDCProvider starts a provider that ends with the test. It needs Node.js
// and the package (see realparts.Need).
func StartOIDCProvider(tb testing.TB, opts Options) *OIDCProvider {
	tb.Helper()
	node := realparts.Need(tb, "node")[0]
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "oidcprovider")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		realparts.Missing(tb, "npm's oidc-provider (npm ci in internal/interop/oidcprovider)")
	}

	client := map[string]any{
		"client_id":                  NativeClient,
		"client_name":                "Interop",
		"application_type":           "native",
		"token_endpoint_auth_method": "none",
		"grant_types":                []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"},
		"redirect_uris":              []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
		"post_logout_redirect_uris":  []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
		"dpop_bound_access_tokens":   opts.RequireDPoP,
	}
	seconds := func(d, otherwise time.Duration) int {
		if d == 0 {
			d = otherwise
		}
		return int(d / time.Second)
	}
	host := opts.Host
	if host == "" {
		host = "127.0.0.1"
	}
	config, err := json.Marshal(map[string]any{
		"host":                host,
		"clients":             append([]map[string]any{client}, opts.MoreClients...),
		"accessTokenSeconds":  seconds(opts.AccessToken, 10*time.Minute),
		"idTokenSeconds":      seconds(opts.IDToken, time.Hour),
		"refreshTokenSeconds": seconds(opts.RefreshToken, time.Hour),
		"requirePAR":          opts.RequirePAR,
		"requireDPoPNonce":    opts.RequireDPoP,
	})
	require.NoError(tb, err)

	cmd := exec.Command(node, "server.mjs", string(config))
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	require.NoError(tb, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())

	p := &OIDCProvider{tb: tb, stdin: stdin, set: make(chan struct{}, 1), stopped: make(chan struct{})}
	ready := make(chan string, 1)
	go func() {
		defer close(p.stopped)
		p.read(stdout, ready)
		_ = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = stdin.Close() // the server ends with it
		select {
		case <-p.stopped:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-p.stopped
		}
		if tb.Failed() {
			tb.Logf("oidc-provider answered:\n%+v\nand logged:\n%s", p.events, log.String())
		}
	})
	select {
	case p.Issuer = <-ready:
	case <-p.stopped:
		tb.Fatalf("oidc-provider ended before it listened:\n%s", log.String())
	case <-time.After(time.Minute):
		tb.Fatal("oidc-provider did not start within a minute")
	}
	return p
}

// read reads the server's lines until it ends.
func (p *OIDCProvider) read(stdout io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var line struct {
			Event
			Issuer string
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // the server's own log
		}
		switch line.Event.Event {
		case "ready":
			ready <- line.Issuer
		case "set":
			p.set <- struct{}{}
		default:
			p.mu.Lock()
			p.events = append(p.events, line.Event)
			p.mu.Unlock()
		}
	}
}

// SetAccessToken changes the lifetime of the access tokens that are issued from
// now on.
func (p *OIDCProvider) SetAccessToken(lifetime time.Duration) {
	p.tb.Helper()
	p.tell(map[string]any{"accessTokenSeconds": int(lifetime / time.Second)})
}

// EndAccessTokens revokes all access tokens, as an administrator may.
func (p *OIDCProvider) EndAccessTokens() {
	p.tb.Helper()
	p.tell(map[string]any{"endAccessTokens": true})
}

// Events returns all events so far. A request is among them before its response
// reaches the client.
func (p *OIDCProvider) Events() []Event {
	p.tb.Helper()
	p.tell(map[string]any{}) // the answer comes after every line that the server wrote before
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.events...)
}

// Requests returns the requests to a route. If grant is not "", only those with
// this grant_type count.
func (p *OIDCProvider) Requests(route, grant string) []Event {
	p.tb.Helper()
	var found []Event
	for _, e := range p.Events() {
		if e.Event == "request" && e.Route == route && (grant == "" || e.Grant == grant) {
			found = append(found, e)
		}
	}
	return found
}

// tell changes the server's options. It returns when the server has done so.
func (p *OIDCProvider) tell(options map[string]any) {
	p.tb.Helper()
	line, err := json.Marshal(options)
	require.NoError(p.tb, err)
	_, err = p.stdin.Write(append(line, '\n'))
	require.NoError(p.tb, err)
	select {
	case <-p.set:
	case <-p.stopped:
		p.tb.Fatal("oidc-provider has ended")
	}
}

// SignIn returns a user's steps on the login page. Every name is an account,
// and every password is right.
func (p *OIDCProvider) SignIn(user string) []browser.Step {
	return []browser.Step{
		browser.Fill(`input[name="login"]`, user),
		browser.Fill(`input[name="password"]`, "correct horse"),
		browser.Click(`form:has(input[name="prompt"][value="login"]) button[type="submit"]`),
	}
}

// Consent returns the step that allows, on the consent page.
func (p *OIDCProvider) Consent() browser.Step {
	return browser.Click(`form:has(input[name="prompt"][value="consent"]) button[type="submit"]`)
}

// Refuse returns the step that denies, on the login page and on the consent
// page.
func (p *OIDCProvider) Refuse() browser.Step { return browser.Click(`a[href$="/abort"]`) }
