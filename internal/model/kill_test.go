package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

var childFlag = flag.String("child", "", "for TestKilledProcesses: what this process is to do")

// errand is what a child process does, in real time.
type errand struct {
	Do      string
	Address string // of the provider
	Dir     string // of the store
	Kill    int    // the step at which it kills itself; 0: it lives
}

// outcome is what became of it. Its zero value means that the child died.
type outcome struct {
	Ended         bool
	Error         string
	LoginRequired bool
	Prompts       int32
	Token         string
}

// TestChild is the child process.
func TestChild(t *testing.T) {
	if *childFlag == "" {
		t.Skip("for TestKilledProcesses")
	}
	var e errand
	if err := json.Unmarshal([]byte(*childFlag), &e); err != nil {
		t.Fatal(err)
	}
	remote := remote{e.Address}
	w := &world{
		provider: newProvider(habits{}), transport: remote, keys: map[string]bool{},
		over: make(chan struct{}), suicide: true,
	}
	w.key, _ = tokenstore.ParseKey(storeKey)
	w.store = tokenstore.NewFile(e.Dir, w.key)
	w.confirm = func(code string) { remote.confirm(code) }
	p := w.start()
	p.fuse = e.Kill
	o := outcome{Ended: true}
	if err := e.run(t.Context(), p, &o); err != nil {
		o.Error, o.LoginRequired = err.Error(), errors.Is(err, oauthclient.ErrLoginRequired)
	}
	_ = p.client.Close()
	o.Prompts = w.prompts.Load()
	_ = json.NewEncoder(os.Stderr).Encode(o)
}

func (e errand) run(ctx context.Context, p *process, o *outcome) error {
	opts := &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice}
	var s *oauthclient.Session
	var err error
	switch e.Do {
	case "logout":
		return p.client.Logout(ctx, "", nil)
	case "login":
		s, err = p.client.Login(ctx, opts)
	case "session or login":
		s, err = p.client.SessionOrLogin(ctx, opts)
	default:
		s, err = p.client.Session(ctx, "")
	}
	if err != nil {
		return err
	}
	if e.Do == "refresh" {
		if err := s.Refresh(ctx); err != nil {
			return err
		}
	}
	tok, err := s.Token(ctx)
	if err == nil {
		o.Token = tok.AccessToken
	}
	return err
}

// remote sends requests to the provider in the parent process.
type remote struct{ address string }

func (r remote) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = "http", r.address, req.URL.Host
	return http.DefaultTransport.RoundTrip(out)
}

func (r remote) confirm(code string) {
	if resp, err := http.PostForm("http://"+r.address+"/confirm", url.Values{"code": {code}}); err == nil {
		_ = resp.Body.Close()
	}
}

// serveChildren answers remote.
func serveChildren(p *provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/confirm" {
			p.confirm(r.FormValue("code"), "alice")
			return
		}
		in := r.Clone(r.Context())
		in.URL.Scheme, in.URL.Host = "https", r.Host
		resp, err := p.RoundTrip(in)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
}

// send runs an errand in a process of its own.
func (e errand) send(t *testing.T) (o outcome) {
	t.Helper()
	text, _ := json.Marshal(e)
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-child="+string(text))
	var said bytes.Buffer
	cmd.Stderr = &said
	_ = cmd.Run()
	_ = json.Unmarshal(said.Bytes(), &o)
	return o
}

// TestKilledProcesses kills real processes at random steps, and checks the rule
// with new ones. It is part of the long form.
func TestKilledProcesses(t *testing.T) {
	length := modelTime(t)
	if length < 5*time.Minute {
		t.Skip("NATIVEOAUTH_MODEL is less than 5m")
	}
	begun := time.Now()
	var rounds, died atomic.Int64
	var wg sync.WaitGroup
	for range 8 { // they wait for the user most of the time
		wg.Go(func() {
			for time.Since(begun) < length/10 && !t.Failed() {
				if killRound(t, uint64(rounds.Add(1))) {
					died.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d rounds in %v, %d processes killed",
		rounds.Load(), time.Since(begun).Round(time.Second), died.Load())
}

// killRound plays one round, and reports whether a process was killed. One that
// has ended before that step was not.
func killRound(t *testing.T, seed uint64) (died bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	rotations := []string{"grace", "", "strict"}
	if slices.Contains(leftOut(), 5) { // which a strict provider may lead to
		rotations = rotations[:2]
	}
	p := newProvider(habits{Rotation: pick(r, rotations...)})
	server := httptest.NewServer(serveChildren(p))
	defer server.Close()
	dir := filepath.Join(t.TempDir(), fmt.Sprint(seed))
	child := errand{Address: strings.TrimPrefix(server.URL, "http://"), Dir: dir}
	died, err := killOnce(t, p, child, pick(r, "refresh", "refresh", "login", "logout"), 1+r.IntN(25))
	if err != nil {
		t.Errorf("round %d, rotation %q: %v", seed, p.Rotation, err)
	}
	return died
}

func killOnce(t *testing.T, p *provider, child errand, what string, step int) (died bool, err error) {
	child.Do = "login"
	if o := child.send(t); o.Token == "" {
		return false, fmt.Errorf("the first sign-in: %+v", o)
	}
	child.Do, child.Kill = what, step
	killed := child.send(t)
	child.Do, child.Kill = "refresh", 0
	o := child.send(t)
	died = !killed.Ended
	spared := what == "refresh" && p.Rotation != "strict"
	switch {
	case o.Token != "" && p.works(o.Token):
		return died, nil
	case !o.LoginRequired || spared:
		return died, fmt.Errorf("killed at step %d of %s (%+v), a new process: %+v", step, what, killed, o)
	}
	child.Do = "session or login"
	if o = child.send(t); o.Prompts != 1 || !p.works(o.Token) {
		return died, fmt.Errorf("killed at step %d of %s, the sign-in afterwards: %+v", step, what, o)
	}
	return died, nil
}
