//go:build linux

package oauthclient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/sys/unix"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// The crash tests play with real processes: this test binary, started again as the program of a user, shares a real store with its
// siblings and talks to a real authorization server in the parent. It does as it is told on standard input, and kills itself (SIGKILL)
// at the point that it was told.

// long asks for the figures that are published; the short forms take seconds.
var long = flag.Bool("storm.long", false, "run the crash, storm and fault tests in their long forms")

const childOrders = "OAUTHCLIENT_CHILD"

// heldToModes is set for a child that is held to the modes of files, even where it is root: it starts itself once more, without that right.
const heldToModes = "OAUTHCLIENT_HELD_TO_MODES"

// orders are what a child is made of.
type orders struct {
	Issuer        string
	Dir           string
	Keychain      bool // the real keychain of the session that the environment names; else a sealed file
	OpenID        bool
	RefreshBefore time.Duration
	Window        bool // measure the time from request to write
}

const childKey = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="

func (o *orders) store() (sharedStore, error) {
	if o.Keychain {
		return &tokenstore.Keyring{Dir: o.Dir}, nil
	}
	key, err := tokenstore.ParseKey(childKey)
	return tokenstore.NewFile(o.Dir, key), err
}

// config is the configuration of every process in one fleet. Its browser signs in at once, and leaves a line in tabs, beside Dir.
func (o *orders) config(store tokenstore.Store, transport http.RoundTripper) oauthclient.Config {
	cfg := oauthclient.Config{
		Issuer: o.Issuer, ClientID: "cli", Scopes: []string{"offline_access", "api"}, Store: store, Transport: transport, RefreshBefore: o.RefreshBefore,
	}
	if o.OpenID {
		cfg.Scopes = append(cfg.Scopes, "openid")
	}
	cfg.UI.Progress = func(step oauthclient.Step) {
		if step == oauthclient.StepElsewhere {
			_ = o.leave("waiting")
		}
	}
	cfg.UI.OpenURL = func(ctx context.Context, url string) error {
		if err := o.leave("tabs"); err != nil {
			return err
		}
		web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
		go func() {
			if resp, err := web.Get(url); err == nil {
				_ = resp.Body.Close()
			}
		}()
		return nil
	}
	return cfg
}

// leave adds a line to a file beside Dir.
func (o *orders) leave(name string) error {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(o.Dir), name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return errors.Join(err, f.Close())
}

// sharedStore is what [tokenstore.File] and [tokenstore.Keyring] are.
type sharedStore interface {
	tokenstore.Store
	tokenstore.Lister
	tokenstore.Prober
	tokenstore.Shared
}

// doom is where the process dies. Each step that it passes has a name.
type doom struct {
	point   atomic.Pointer[string]
	records atomic.Int64 // written since it was armed
	window  *window
}

// window is the time in which a kill may cost a session on a strict server: from the request to the durable write. It is told to the
// parent in a file, which outlives the process.
type window struct {
	file *os.File
	mu   sync.Mutex
	seen windowFigures
}

type windowFigures struct {
	Since     time.Time     // since when the window is open; zero: it is not
	Refreshes int           // that came through it
	Total     time.Duration // that these took
}

func (w *window) step(name string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case name == "send token":
		if w.seen.Since.IsZero() { // else it is sent once more
			w.seen.Since = time.Now()
		}
	case w.seen.Since.IsZero() || name != "put done" && name != "unlock":
		return
	default:
		if name == "put done" {
			w.seen.Refreshes++
			w.seen.Total += time.Since(w.seen.Since)
		}
		w.seen.Since = time.Time{}
	}
	if data, err := json.Marshal(w.seen); err == nil {
		_, _ = w.file.WriteAt(fmt.Appendf(nil, "%-150s", data), 0) // one write, so it is whole
	}
}

func (w *fleet) window(p *proc) (f windowFigures) {
	data, err := os.ReadFile(w.orders.windowFile(p.Process.Pid))
	if err == nil && len(data) > 0 {
		require.NoError(w.t, json.Unmarshal(data, &f))
	}
	return f
}

func (o *orders) windowFile(pid int) string {
	return filepath.Join(filepath.Dir(o.Dir), fmt.Sprintf("window-%d", pid))
}

func (d *doom) arm(point string) {
	d.records.Store(0)
	d.point.Store(&point)
}

func (d *doom) at(step string) {
	d.window.step(step)
	if p := d.point.Load(); p != nil && *p == step {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// doomed is a store that reports its steps.
type doomed struct {
	sharedStore
	*doom
}

func (d doomed) Lock(ctx context.Context, key string) (context.Context, func() error, error) {
	prefix := ""
	if strings.HasSuffix(key, ".login") {
		prefix = "login "
	}
	d.at(prefix + "lock")
	held, unlock, err := d.sharedStore.Lock(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	d.at(prefix + "locked")
	return held, func() error {
		d.at(prefix + "unlock")
		err := unlock()
		d.at(prefix + "unlocked")
		return err
	}, nil
}

func (d doomed) WriteJournal(ctx context.Context, key string, data []byte) error {
	if strings.HasSuffix(key, ".login") {
		d.at("outcome")
		err := d.sharedStore.WriteJournal(ctx, key, data)
		d.at("outcome left")
		return err
	}
	n := strconv.FormatInt(d.records.Add(1), 10)
	d.at("record " + n)
	err := d.sharedStore.WriteJournal(ctx, key, data)
	d.at("record " + n + " written")
	return err
}

func (d doomed) Put(ctx context.Context, key string, data []byte) error {
	d.at("put")
	err := d.sharedStore.Put(ctx, key, data)
	d.at("put done")
	return err
}

func (d doomed) Delete(ctx context.Context, key string) error {
	d.at("delete")
	err := d.sharedStore.Delete(ctx, key)
	d.at("deleted")
	return err
}

// doomedTransport reports the steps of the network.
type doomedTransport struct {
	http.RoundTripper
	*doom
}

func (d doomedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	d.at("send " + name)
	resp, err := d.RoundTripper.RoundTrip(r)
	d.at("answered " + name)
	return resp, err
}

// said is what a child says to an order.
type said struct {
	Token         string
	Err           string
	LoginRequired bool
	Denied        bool
	Unavailable   bool // the store
	Accounts      int
	Took          time.Duration
}

func (r said) ok(t *testing.T) said {
	t.Helper()
	require.Empty(t, r.Err)
	return r
}

// TestChildProcess is a child's whole life. It is no test by itself.
func TestChildProcess(t *testing.T) {
	data := os.Getenv(childOrders)
	if data == "" {
		t.Skip("run by the crash tests, in processes of its own")
	}
	if os.Getenv(heldToModes) != "" {
		require.NoError(t, os.Unsetenv(heldToModes))
		runtime.LockOSThread()
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_DAC_OVERRIDE, 0, 0, 0) // who is not root lacks both rights
		require.NoError(t, syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	var o orders
	require.NoError(t, json.Unmarshal([]byte(data), &o))
	store, err := o.store()
	require.NoError(t, err)
	d := &doom{}
	if o.Window {
		f, err := os.Create(o.windowFile(os.Getpid()))
		require.NoError(t, err)
		defer f.Close()
		d.window = &window{file: f}
	}
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	cfg := o.config(doomed{store, d}, doomedTransport{base, d})
	open := cfg.UI.OpenURL
	cfg.UI.OpenURL = func(ctx context.Context, url string) error {
		d.at("person")
		return open(ctx, url)
	}
	c, err := oauthclient.New(cfg)
	require.NoError(t, err)
	var s *oauthclient.Session
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		began := time.Now()
		r := said{}
		var err error
		switch verb {
		case "arm":
			d.arm(arg)
		case "session":
			s, err = c.Session(ctx, "")
		case "login":
			s, err = c.Login(ctx, nil)
		case "sessionorlogin":
			s, err = c.SessionOrLogin(ctx, nil)
		case "import":
			s, err = c.Import(ctx, "", &oauth2.Token{RefreshToken: arg})
		case "refresh":
			err = s.Refresh(ctx)
		case "logout":
			err = c.Logout(ctx, "", nil)
		case "accounts":
			var all []oauthclient.Account
			all, err = c.Accounts(ctx)
			r.Accounts = len(all)
		case "token":
		case "spin": // as a program at work, until it is killed
			for {
				if _, err := s.Token(t.Context()); err != nil {
					require.NoError(t, out.Encode(said{Err: err.Error(), LoginRequired: errors.Is(err, oauthclient.ErrLoginRequired)}))
					time.Sleep(50 * time.Millisecond)
				}
				time.Sleep(5 * time.Millisecond)
			}
		case "exit":
			syscall.Exit(0) // as a program that does not even close its client
		default:
			err = errors.New("what is " + verb + "?")
		}
		if s != nil && err == nil && verb != "arm" && verb != "logout" && verb != "accounts" {
			tok, terr := s.Token(ctx)
			if err = terr; err == nil {
				r.Token = tok.AccessToken
			}
		}
		cancel()
		if err != nil {
			r.Err = err.Error()
			r.LoginRequired = errors.Is(err, oauthclient.ErrLoginRequired)
			r.Denied = errors.Is(err, oauthclient.ErrAccessDenied)
			r.Unavailable = errors.Is(err, tokenstore.ErrUnavailable) || errors.Is(err, tokenstore.ErrBusy)
		}
		r.Took = time.Since(began)
		require.NoError(t, out.Encode(r))
	}
	require.NoError(t, c.Close())
	if o.Keychain { // godbus keeps one connection for the process
		conn, err := dbus.SessionBus()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		for deadline := time.Now().Add(10 * time.Second); conn.Connected() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
}

// fleet is one provider and one store, which processes share.
type fleet struct {
	*authserver.Server
	t      *testing.T
	dir    string // of the store
	env    []string
	orders orders

	ahead  atomic.Int64                  // of the provider's clock
	before atomic.Pointer[chan struct{}] // while not nil, requests for tokens wait for it before they are handled
	after  atomic.Pointer[chan struct{}] // and after it; so the answer is lost with the process that waits for it
	held   atomic.Int64                  // requests that wait
}

type fleetOptions struct {
	auth   authserver.Config
	env    []string // of a desktop session: the keychain is used
	openID bool
	before time.Duration // Config.RefreshBefore
}

func newFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	home, err := os.MkdirTemp("", "fleet")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	w := &fleet{t: t, dir: filepath.Join(home, "store"), env: o.env}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := o.auth
	cfg.Issuer = "http://" + ln.Addr().String()
	cfg.Clients = []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}}
	cfg.AutoUser = "alice"
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	misbehave := cfg.Misbehave
	cfg.Misbehave = func(endpoint string, next http.Handler) http.Handler {
		if misbehave != nil {
			next = misbehave(endpoint, next)
		}
		if endpoint != authserver.Token {
			return next
		}
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.wait(&w.before)
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			w.wait(&w.after)
			for name, values := range rec.Header() {
				rw.Header()[name] = values
			}
			rw.WriteHeader(rec.Code)
			_, _ = rw.Write(rec.Body.Bytes())
		})
	}
	w.Server, err = authserver.New(cfg)
	require.NoError(t, err)
	hs := &httptest.Server{Listener: ln, Config: &http.Server{Handler: w.Server}}
	hs.Start()
	t.Cleanup(func() {
		hs.CloseClientConnections()
		hs.Close()
	})
	w.orders = orders{Issuer: cfg.Issuer, Dir: w.dir, Keychain: o.env != nil, OpenID: o.openID, RefreshBefore: o.before}
	return w
}

func (w *fleet) wait(at *atomic.Pointer[chan struct{}]) {
	if ch := at.Load(); ch != nil {
		w.held.Add(1)
		select {
		case <-*ch:
		case <-time.After(time.Minute):
		}
	}
}

// hold has requests for tokens wait before or after they are handled; release lets them go on, and those that come later.
func (w *fleet) hold(at *atomic.Pointer[chan struct{}]) (release func()) {
	ch := make(chan struct{})
	at.Store(&ch)
	release = sync.OnceFunc(func() {
		at.Store(nil)
		close(ch)
	})
	w.t.Cleanup(release)
	return release
}

func (w *fleet) tabs() int { return w.left("tabs") }

// untilWaiting returns as soon as n calls have said that they wait for another process's login.
func (w *fleet) untilWaiting(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.left("waiting") >= n }, time.Minute, 5*time.Millisecond)
}

// left counts the lines that the processes have left in a file beside the store.
func (w *fleet) left(name string) int {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(w.dir), name))
	if err != nil {
		return 0
	}
	return strings.Count(string(data), "\n")
}

// stored is the access token that a fresh process reads now; "": there is no session.
func (w *fleet) stored() string {
	w.t.Helper()
	p := w.start()
	defer p.end()
	return p.do("session").Token
}

// proc is one process.
type proc struct {
	*exec.Cmd
	t       *testing.T
	in      io.WriteCloser
	replies chan said
	stderr  *strings.Builder
	ended   chan struct{}
	err     error
}

// start starts a process, with env over the fleet's own environment.
func (w *fleet) start(env ...string) *proc {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	data, err := json.Marshal(w.orders)
	require.NoError(w.t, err)
	p := &proc{Cmd: exec.Command(self, "-test.run=^TestChildProcess$"), t: w.t, replies: make(chan said, 100), stderr: &strings.Builder{}, ended: make(chan struct{})}
	// A race detector sleeps a second at exit unless told not to.
	p.Env = append(append(os.Environ(), w.env...), "GORACE=atexit_sleep_ms=0", childOrders+"="+string(data))
	p.Env = append(p.Env, env...)
	p.Stderr = p.stderr
	p.in, err = p.StdinPipe()
	require.NoError(w.t, err)
	out, err := p.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, p.Start())
	go func() {
		defer close(p.ended)
		defer close(p.replies)
		var noise []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r said
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				select {
				case p.replies <- r:
				default: // one that spins says more than anybody listens to
				}
			} else {
				noise = append(noise, lines.Text())
			}
		}
		if p.err = p.Wait(); p.err != nil {
			p.err = fmt.Errorf("%w\n%s\n%s", p.err, strings.Join(noise, "\n"), p.stderr)
		}
	}()
	w.t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// tell gives an order without waiting for what becomes of it.
func (p *proc) tell(order string) {
	_, _ = io.WriteString(p.in, order+"\n") // one that is dead is noticed by its silence
}

func (p *proc) hear() said {
	p.t.Helper()
	select {
	case r, ok := <-p.replies:
		if !ok {
			p.t.Fatalf("the process ended: %v", p.err)
		}
		return r
	case <-time.After(90 * time.Second):
		p.t.Fatal("no reply from the process")
	}
	return said{}
}

func (p *proc) do(order string) said {
	p.t.Helper()
	p.tell(order)
	return p.hear()
}

// dies gives an order in which the process is killed, and waits for that.
func (p *proc) dies(order string) {
	p.t.Helper()
	p.tell(order)
	select {
	case <-p.ended:
	case r, ok := <-p.replies:
		if ok {
			p.t.Fatalf("it lived through the point: %+v", r)
		}
		<-p.ended
	case <-time.After(90 * time.Second):
		p.t.Fatal("it did not die")
	}
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	require.True(p.t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v", p.err)
}

// end lets the process end by itself. Its own race detector and its own goleak have their say.
func (p *proc) end() {
	p.t.Helper()
	_ = p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		p.t.Fatal("the process does not end")
	}
	require.NoError(p.t, p.err)
}
