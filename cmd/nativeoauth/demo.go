package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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
	// demoLifetime is short, so that a token expires while one looks on.
	demoLifetime = 3 * time.Second
	// demoPatience is how long the demo waits for a person before it plays one: it must end by itself, also where a browser opens and nobody sees it. It is
	// shorter than the minute for which the provider keeps a pushed request.
	demoPatience          = 45 * time.Second
	demoPatienceUnwatched = 15 * time.Second // stderr is no terminal
)

// demo is a whole sign-in on this machine. All that is made up for it is the provider, which is a real one that lives in this process; what it
// signs in with, keeps, refreshes and calls is what every program gets from package oauthclient.
func (a *app) demo(ctx context.Context) (err error) {
	t := &tale{person: a.person}
	provider, err := startDemoProvider()
	if err != nil {
		return err
	}
	defer provider.close()
	t.tell("Provider", "an OpenID provider made for this demo runs at %s", provider.issuer)

	store, where, cleanup, err := demoStore(ctx)
	if err != nil {
		return err
	}
	defer cleanup()

	player := &demoPerson{tale: t, patience: demoPatience}
	if !a.person.terminal {
		player.patience = demoPatienceUnwatched
	}
	c, err := oauthclient.New(oauthclient.Config{
		Issuer: provider.issuer, ClientID: demoClient, Scopes: []string{"openid", "profile", "offline_access", demoScope},
		Origins:   []string{provider.issuer},
		Store:     store,
		Transport: &narrator{base: http.DefaultTransport, tale: t},
		Loopback:  loopback.Config{Page: loopback.Page{AppName: "nativeoauth demo"}},
		UI: oauthclient.UI{
			OpenURL:  player.openURL,
			Instruct: player.instruct,
			Progress: func(step oauthclient.Step) {
				switch step {
				case oauthclient.StepDiscover:
					t.tell("Metadata", "asking the provider for its endpoints")
				case oauthclient.StepExchange:
					player.came()
					t.tell("Code", "the browser came back to the listener with a code; its state and issuer are the expected ones")
					t.tell("Exchange", "the code and the PKCE verifier are traded for tokens, once")
				case oauthclient.StepStore:
					t.tell("Verified", "the ID token: signature, issuer, audience, nonce, times")
				}
			},
		},
		Logger: a.logger(),
	})
	if err != nil {
		return err
	}
	defer a.close(c)
	defer func() { // whatever ends the demo, nothing of it stays
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = c.Logout(ctx, "", nil)
		}
	}()

	session, err := c.Login(ctx, nil)
	player.done()
	if err != nil {
		return err
	}
	var claims struct {
		Subject string `json:"sub"`
		Name    string `json:"preferred_username"`
	}
	if err := session.Claims(&claims); err != nil {
		return err
	}
	t.note("signed in as %s (sub %s)", wire.SafeText(claims.Name, 60), wire.SafeText(claims.Subject, 60))
	t.tell("Kept", "the session is in %s", where)

	if err := a.demoUse(ctx, t, session, provider); err != nil {
		return err
	}

	t.tell("Logout", "the refresh token, then the access token are revoked, and the session is deleted here")
	if err := c.Logout(ctx, "", nil); err != nil {
		return err
	}
	if _, err := session.Token(ctx); !errors.Is(err, oauthclient.ErrLoginRequired) {
		return fmt.Errorf("after the logout a token is still handed out (%v)", err)
	}
	t.note("asked for a token now, the session answers: sign in again")
	a.person.say("")
	a.person.tell("That was all of it. With your own provider: nativeoauth login --issuer URL --client-id ID")
	return nil
}

// demoUse shows what a program does with a session.
func (a *app) demoUse(ctx context.Context, t *tale, session *oauthclient.Session, provider *demoProvider) error {
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

	t.tell("API call", "the session's HTTPClient calls an API that takes only this provider's tokens")
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

// demoStore returns the keychain if there is one, else memory, and says which and why. It is a keychain entry of the demo's own.
func demoStore(ctx context.Context) (store tokenstore.Store, where string, cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "nativeoauth-demo-")
	if err != nil {
		return nil, "", nil, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	keyring := &tokenstore.Keyring{Service: demoClient, Dir: dir}
	why := keyring.Probe(ctx)
	switch {
	case why == nil:
		return keyring, "the system's keychain", cleanup, nil
	case ctx.Err() != nil:
		cleanup()
		return nil, "", nil, ctx.Err()
	}
	return &tokenstore.Memory{}, "memory, for there is no keychain here (" + flagWords(wire.SafeText(strings.TrimPrefix(why.Error(), "tokenstore: "), 300)) + ")", cleanup, nil
}

// demoProvider is the authorization server and the API behind it.
type demoProvider struct {
	issuer string
	http   *http.Server
	served chan struct{}
}

func startDemoProvider() (*demoProvider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the demo's provider cannot listen: %w", err)
	}
	p := &demoProvider{issuer: "http://" + l.Addr().String(), served: make(chan struct{})}
	as, err := authserver.New(authserver.Config{
		Issuer: p.issuer, AccessTokenLifetime: demoLifetime,
		Clients: []authserver.Client{{ID: demoClient, Name: "the nativeoauth demo", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}},
	})
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", as)
	mux.Handle("GET /api/notes", as.Protect(authserver.Resource{Scope: demoScope}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := authserver.GrantFrom(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"notes": []string{"hello, " + g.Subject}})
	})))
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

// tale numbers the steps and writes them as they happen.
type tale struct {
	person *person
	mu     sync.Mutex
	steps  int
}

const taleIndent = "              "

func (t *tale) tell(step, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	lines := wrap(fmt.Sprintf(format, args...), t.person.width()-len(taleIndent))
	t.person.say("%2d  %s %s", t.steps, t.person.bold(fmt.Sprintf("%-9s", step)), strings.Join(lines, "\n"+taleIndent))
}

// note adds to the step that was told last.
func (t *tale) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range wrap(fmt.Sprintf(format, args...), t.person.width()-len(taleIndent)) {
		t.person.say("%s%s", taleIndent, t.person.dim(line))
	}
}

// narrator tells each request of the client.
type narrator struct {
	base http.RoundTripper
	tale *tale
}

func (n *narrator) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/par" {
		n.tale.tell("Request", "what is asked for is handed to the provider first, so that the browser carries only a reference to it (RFC 9126)")
	}
	start := time.Now()
	resp, err := n.base.RoundTrip(req)
	if err != nil {
		n.tale.note("%s %s failed", req.Method, req.URL.Path)
		return nil, err
	}
	n.tale.note("%s %s → %d, %s", req.Method, req.URL.Path, resp.StatusCode, time.Since(start).Round(100*time.Microsecond))
	return resp, nil
}

// demoPerson opens the browser. Where there is none, or nobody acts in it, it plays the person over HTTP.
type demoPerson struct {
	tale     *tale
	patience time.Duration

	mu     sync.Mutex
	stop   func()      // of the line that counts down
	timer  *time.Timer // for a browser in which nothing happens
	player sync.WaitGroup
	cancel context.CancelFunc
}

func (d *demoPerson) openURL(ctx context.Context, ticket string) error {
	u, err := url.Parse(ticket)
	if err != nil {
		return err
	}
	d.tale.tell("Listener", "http://%s waits for the browser to come back; only this machine can reach it", u.Host)
	if err := browser.Open(ctx, ticket); err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.tale.tell("Browser", "none: %s", wire.SafeText(strings.TrimPrefix(err.Error(), "browser: "), 300))
		d.tale.note("so the demo plays the person, over HTTP: signs in as alice and presses Allow")
		d.play(ctx, ticket)
		return nil
	}
	d.tale.tell("Browser", "yours was opened at the provider: type any name and press Allow")
	return nil
}

func (d *demoPerson) instruct(ctx context.Context, do oauthclient.Instructions) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil || !do.Opened { // the person is being played
		return "", nil
	}
	d.tale.note("if none appears, open %s", do.URL)
	d.stop = d.tale.person.wait("Waiting for you in the browser", time.Now().Add(d.patience))
	d.timer = time.AfterFunc(d.patience, func() {
		d.came()
		d.tale.note("nobody came: the demo plays the person, over HTTP: signs in as alice and presses Allow")
		d.play(ctx, do.URL)
	})
	return "", nil
}

// came ends the waiting.
func (d *demoPerson) came() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
}

// play does at url what a person does in a browser, beside the login.
func (d *demoPerson) play(ctx context.Context, url string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, d.cancel = context.WithTimeout(ctx, time.Minute)
	d.player.Go(func() {
		if err := playPerson(ctx, url); err != nil && ctx.Err() == nil {
			d.tale.note("the demo could not play the person: %s", wire.SafeText(err.Error(), 200))
		}
	})
}

// done waits for what was played to see its last page, and ends the waiting.
func (d *demoPerson) done() {
	d.came()
	d.player.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
}
