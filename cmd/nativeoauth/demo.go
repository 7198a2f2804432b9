package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/browser"
	"github.com/nativeoauth/nativeoauth/internal/wire"
	"github.com/nativeoauth/nativeoauth/loopback"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

const (
	demoClient = "nativeoauth-demo"
	demoScope  = "notes:read"
	// demoLifetime is short, so that a token expires while the user watches.
	demoLifetime = 3 * time.Second
	// demoPatience is how long the demo waits for the user before it plays one.
	// It must end by itself even if nobody sees the browser. It is shorter than
	// the minute for which the provider keeps a pushed request.
	demoPatience          = 45 * time.Second
	demoPatienceUnwatched = 15 * time.Second // stderr is no terminal
)

// demo is a whole sign-in on this machine. Only the provider is made up: a real
// one that lives in this process. All else is what every program gets from
// package oauthclient.
func (a *app) demo(ctx context.Context) (err error) {
	t := &tale{console: a.console}
	provider, err := startDemoProvider()
	if err != nil {
		return err
	}
	defer provider.close()
	t.tell("Provider", "an OpenID provider made for this demo runs at %s", provider.issuer)

	dir, err := demoDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, place, err := demoStore(ctx, dir)
	if err != nil {
		return err
	}

	user := &demoUser{
		User: authserver.NewUser(provider.issuer, "alice"), tale: t, patience: demoPatience,
	}
	if !a.console.terminal {
		user.patience = demoPatienceUnwatched
	}
	cfg := user.config(provider.issuer)
	cfg.Store, cfg.Logger = store, a.logger()
	c, err := oauthclient.New(cfg)
	if err != nil {
		return err
	}
	defer a.close(c)
	defer func() { // nothing of the demo stays, whatever ended it
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = c.Logout(ctx, "", nil)
		}
	}()

	session, err := c.Login(ctx, nil)
	user.playing.Wait()
	if err != nil {
		return err
	}
	account := session.Account()
	t.note("signed in as %s (sub %s)",
		wire.SafeText(account.Username, 60), wire.SafeText(account.Subject, 60))
	t.tell("Kept", "the session is in %s", place)
	if err := demoUse(ctx, t, session, provider); err != nil {
		return err
	}
	if err := demoLogout(ctx, t, c, session); err != nil {
		return err
	}
	a.console.say("")
	a.console.tell("That was all of it. " +
		"With your own provider: nativeoauth login --issuer URL --client-id ID")
	return nil
}

// demoLogout ends the session, and checks that it has ended.
func demoLogout(
	ctx context.Context, t *tale, c *oauthclient.Client, session *oauthclient.Session,
) error {
	t.tell("Logout",
		"the refresh token, then the access token are revoked, and the session is deleted here")
	if err := c.Logout(ctx, "", nil); err != nil {
		return err
	}
	if _, err := session.Token(ctx); !errors.Is(err, oauthclient.ErrLoginRequired) {
		return fmt.Errorf("after the logout a token is still handed out (%v)", err)
	}
	t.note("asked for a token now, the session answers: sign in again")
	return nil
}

// demoUse shows what a program does with a session.
func demoUse(
	ctx context.Context, t *tale, session *oauthclient.Session, provider *demoProvider,
) error {
	source := session.TokenSource()
	first, err := source.Token()
	if err != nil {
		return err
	}
	wait := time.Until(first.Expiry)
	t.tell("Expiry", "access tokens live for %s here; waiting for this one to expire", demoLifetime)
	select {
	case <-time.After(max(wait, 0)):
	case <-ctx.Done():
		return ctx.Err()
	}
	t.tell("Refresh", "the TokenSource is asked for a token again")
	second, err := source.Token()
	if err != nil {
		return err
	}
	if second.AccessToken == first.AccessToken {
		return errors.New("the expired token was not refreshed")
	}
	t.note("a new access token; the rotated refresh token was stored before it was handed out")

	t.tell("API call",
		"the session's HTTPClient calls an API that takes only this provider's tokens")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, provider.issuer+"/api/notes", nil)
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	t.note("it answers: %s", wire.SafeText(string(body), 200))
	return nil
}

// demoDir makes the directory for the files of the demo's session.
func demoDir() (string, error) {
	dir, err := os.MkdirTemp("", "nativeoauth-demo-")
	if err != nil {
		return "", fmt.Errorf("the demo needs a directory for temporary files: %w; "+
			"make it, or set %s to another", err, tempVariable)
	}
	return dir, nil
}

// demoStore returns the keychain, with an entry of the demo's own and its files in
// dir, or else memory. place says which it is, and why.
func demoStore(ctx context.Context, dir string) (store tokenstore.Store, place string, err error) {
	keyring := &tokenstore.Keyring{Service: demoClient, Dir: dir}
	why := keyring.Probe(ctx)
	switch {
	case why == nil:
		return keyring, "the system's keychain", nil
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	}
	reason := flagWords(wire.SafeText(strings.TrimPrefix(why.Error(), "tokenstore: "), 300))
	place = "memory, for there is no keychain here (" + reason + ")"
	return &tokenstore.Memory{}, place, nil
}

// demoProvider is the authorization server and the API behind it.
type demoProvider struct {
	issuer string
	http   *http.Server
	served chan struct{}
}

func startDemoProvider() (*demoProvider, error) {
	l, err := listenLocally(0)
	if err != nil {
		return nil, fmt.Errorf("the demo's provider cannot listen: %w", err)
	}
	p := &demoProvider{issuer: "http://" + l.Addr().String(), served: make(chan struct{})}
	as, err := authserver.New(authserver.Config{
		Issuer: p.issuer, AccessTokenLifetime: demoLifetime,
		Clients: []authserver.Client{{
			ID: demoClient, Name: "the nativeoauth demo",
			RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
		}},
	})
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", as)
	notes := func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"notes": []string{"hello, " + g.Subject}})
	}
	mux.Handle("GET /api/notes",
		as.Protect(authserver.Resource{Scope: demoScope}, http.HandlerFunc(notes)))
	p.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(p.served)
		_ = p.http.Serve(l) // ends with close
	}()
	return p, nil
}

func (p *demoProvider) close() {
	_ = p.http.Close()
	<-p.served
}

// tale numbers the steps and writes them as they happen. It is safe for
// concurrent use, because the login goes on while the user acts.
type tale struct {
	console *console
	mu      sync.Mutex
	steps   int
}

const taleIndent = "              "

func (t *tale) wrap(format string, args []any) []string {
	return wrap(fmt.Sprintf(format, args...), t.console.width()-len(taleIndent))
}

// tell begins a step.
func (t *tale) tell(step, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	text := strings.Join(t.wrap(format, args), "\n"+taleIndent)
	t.console.say("%2d  %s %s", t.steps, t.console.bold(fmt.Sprintf("%-9s", step)), text)
}

// note adds to the last step.
func (t *tale) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.wrap(format, args) {
		t.console.say("%s%s", taleIndent, t.console.dim(line))
	}
}

// narrator tells about each request of the client.
type narrator struct {
	base http.RoundTripper
	tale *tale
}

// RoundTrip implements [http.RoundTripper].
func (n *narrator) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/par" {
		n.tale.tell("Request", "what is asked for is handed to the provider first, "+
			"so that the browser carries only a reference to it (RFC 9126)")
	}
	start := time.Now()
	resp, err := n.base.RoundTrip(req)
	if err != nil {
		n.tale.note("%s %s failed", req.Method, req.URL.Path)
		return nil, err
	}
	took := time.Since(start).Round(100 * time.Microsecond)
	n.tale.note("%s %s → %d, %s", req.Method, req.URL.Path, resp.StatusCode, took)
	return resp, nil
}

// demoUser opens the user's browser. If there is none, or nobody acts in it,
// the demo plays the user over HTTP.
type demoUser struct {
	*authserver.User
	tale     *tale
	patience time.Duration
	playing  sync.WaitGroup // until the played user has seen the last page
}

// config is the configuration of a client that signs this user in.
func (d *demoUser) config(issuer string) oauthclient.Config {
	return oauthclient.Config{
		Issuer: issuer, ClientID: demoClient,
		Scopes:    []string{"openid", "profile", "offline_access", demoScope},
		Origins:   []string{issuer},
		Transport: &narrator{base: http.DefaultTransport, tale: d.tale},
		Loopback:  loopback.Config{Page: loopback.Page{AppName: "nativeoauth demo"}},
		UI:        oauthclient.UI{OpenURL: d.openURL, Instruct: d.instruct, Progress: d.progress},
	}
}

// openURL opens the system's browser. Without one it plays the user.
func (d *demoUser) openURL(ctx context.Context, ticket string) error {
	u, err := url.Parse(ticket)
	if err != nil {
		return err
	}
	d.tale.tell("Listener",
		"http://%s waits for the browser to come back; only this machine can reach it", u.Host)
	if err := browser.Open(ctx, ticket); err != nil {
		if ctx.Err() != nil {
			return err
		}
		why := strings.TrimPrefix(err.Error(), "browser: ")
		d.tale.tell("Browser", "none: %s", wire.SafeText(why, 300))
		d.play(ctx, ticket, "so")
		return nil
	}
	d.tale.tell("Browser", "yours was opened at the provider: type any name and press Allow")
	return nil
}

// instruct waits for the user, and plays one if nobody acts in the browser.
func (d *demoUser) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	if !do.Opened { // the user is being played
		return "", nil
	}
	d.tale.note("if none appears, open %s", do.URL)
	stop := d.tale.console.wait("Waiting for you in the browser", time.Now().Add(d.patience))
	defer stop()
	select {
	case <-ctx.Done(): // the browser came back
	case <-time.After(d.patience):
		stop()
		d.play(ctx, do.URL, "nobody came:")
	}
	return "", nil
}

func (d *demoUser) progress(step oauthclient.Step) {
	switch step {
	case oauthclient.StepDiscover:
		d.tale.tell("Metadata", "asking the provider for its endpoints")
	case oauthclient.StepExchange:
		d.tale.tell("Code", "the browser came back to the listener with a code; "+
			"its state and issuer are the expected ones")
		d.tale.tell("Exchange", "the code and the PKCE verifier are traded for tokens, once")
	case oauthclient.StepStore:
		d.tale.tell("Verified", "the ID token: signature, issuer, audience, nonce, times")
	}
}

// play signs in at url, beside the login.
func (d *demoUser) play(ctx context.Context, url, why string) {
	d.tale.note("%s the demo plays the user, over HTTP: signs in as alice and presses Allow", why)
	d.playing.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		transport := &http.Transport{} // no proxy: everything is on this machine
		defer transport.CloseIdleConnections()
		d.Client.Transport = transport
		if err := d.SignIn(ctx, url); err != nil && ctx.Err() == nil {
			d.tale.note("the demo could not play the user: %s", wire.SafeText(err.Error(), 200))
		}
	})
}
