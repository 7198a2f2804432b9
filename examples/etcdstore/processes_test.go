//go:build unix

package etcdstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/examples/etcdstore"
	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// freeze returns when all threads of the process are stopped.
func freeze(t *testing.T, c *exec.Cmd) {
	t.Helper()
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	for !status.Stopped() {
		_, err := syscall.Wait4(c.Process.Pid, &status, syscall.WUNTRACED, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			require.NoError(t, err)
		}
		require.False(t, status.Exited() || status.Signaled(), "it has ended")
	}
}

func thaw(t *testing.T, c *exec.Cmd) { require.NoError(t, c.Process.Signal(syscall.SIGCONT)) }

// The nodes freeze with a request in flight. The Store learns whether the write was
// made. It never repeats the write over a later one.
func TestNoAnswerIsSettled(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	store := &etcdstore.Store{Client: c.client(t)}
	held, unlock, err := store.Lock(t.Context(), "a")
	require.NoError(t, err)
	for _, node := range c.nodes {
		freeze(t, node)
	}
	impatient, cancel := context.WithTimeout(held, 300*time.Millisecond)
	defer cancel()
	err = store.Put(impatient, "a", []byte("in flight"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var pending *tokenstore.Pending
	require.ErrorAs(t, err, &pending)
	select {
	case <-pending.Done:
		t.Fatal("the result cannot be known yet")
	case <-time.After(200 * time.Millisecond):
	}
	for _, node := range c.nodes {
		thaw(t, node)
	}
	<-pending.Done
	settled, serr := store.Get(t.Context(), "a") // it was made, or it never will be
	if held.Err() == nil {
		require.NoError(t, store.Put(held, "a", []byte("next")), "the turn goes on from where it is")
		settled, serr = []byte("next"), nil
	}
	time.Sleep(2 * time.Second)
	now, err := store.Get(t.Context(), "a")
	require.Equal(t, serr, err)
	require.Equal(t, settled, now)
	require.NoError(t, unlock())
}

// machine is another process of this test binary. For etcd it is another machine of
// the fleet. Role says what it does.
type machine struct {
	Role      string
	Issuer    string
	Endpoints []string
	TTL       time.Duration
	For       time.Duration // the working time of an agent
}

const machineOrders = "ETCDSTORE_MACHINE"

func TestMain(m *testing.M) {
	orders := os.Getenv(machineOrders)
	if orders == "" {
		os.Exit(m.Run())
	}
	var o machine
	err := json.Unmarshal([]byte(orders), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o *machine) start(t *testing.T) (*exec.Cmd, io.WriteCloser, *json.Decoder) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	data, err := json.Marshal(o)
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), machineOrders+"="+string(data))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, in, json.NewDecoder(out)
}

func (o *machine) run() error {
	client, err := connect(o.Endpoints)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	store := &etcdstore.Store{Client: client, TTL: o.TTL}
	if o.Role == "holder" {
		return hold(store)
	}
	return o.work(store)
}

// holding is the holder's answer to each line on its standard input.
type holding struct {
	Over, Lost bool   // its held context
	Refused    []bool // whether Put, Delete and WriteJournal returned ErrLockLost
}

func hold(store *etcdstore.Store) error {
	held, unlock, err := store.Lock(context.Background(), "a")
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var h holding
		late := context.WithoutCancel(held) // as a refresh does with tokens that must be stored
		for _, err := range []error{store.Put(late, "a", []byte("held")), store.Delete(late, "b"), store.WriteJournal(late, "a", []byte("held"))} {
			h.Refused = append(h.Refused, isLost(err))
		}
		h.Over, h.Lost = held.Err() != nil, isLost(context.Cause(held))
		if err := out.Encode(h); err != nil {
			return err
		}
	}
	return unlock()
}

// A machine stops for longer than its lease, and then goes on as if it had the lock.
func TestLostLeaseWritesNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	store := &etcdstore.Store{Client: c.client(t), TTL: 2 * time.Second}
	holder, tell, said := (&machine{Role: "holder", Endpoints: c.endpoints, TTL: 2 * time.Second}).start(t)
	try := func() (h holding) {
		_, err := io.WriteString(tell, "go\n")
		require.NoError(t, err)
		require.NoError(t, said.Decode(&h))
		return h
	}
	require.NoError(t, store.Put(t.Context(), "b", []byte("kept")))
	require.Equal(t, holding{Refused: []bool{false, false, false}}, try())
	wantStored(t, store, "a", "held", "held")
	require.NoError(t, store.Put(t.Context(), "b", []byte("kept")))

	freeze(t, holder)
	held, unlock, err := store.Lock(t.Context(), "a") // after the lease has run out
	require.NoError(t, err)
	require.NoError(t, store.Put(held, "a", []byte("next")))
	require.NoError(t, store.WriteJournal(held, "a", []byte("next")))
	thaw(t, holder)

	require.Equal(t, holding{Over: true, Lost: true, Refused: []bool{true, true, true}}, try())
	wantStored(t, store, "a", "next", "next")
	kept, err := store.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, "kept", string(kept))
	require.NoError(t, held.Err(), "the next holder is not disturbed")
	require.NoError(t, unlock())
	require.NoError(t, tell.Close())
	require.NoError(t, holder.Wait())
}

// worked is the report of an agent.
type worked struct {
	Calls  int            // of the API that succeeded
	Failed map[string]int // the number of each error
}

func config(issuer string, store tokenstore.Store) oauthclient.Config {
	cfg := oauthclient.Config{Issuer: issuer, ClientID: "fleet", Scopes: []string{"offline_access", "api"}, Store: store}
	cfg.UI.OpenURL = func(_ context.Context, url string) error {
		go func() {
			web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
			if resp, err := web.Get(url); err == nil {
				_ = resp.Body.Close()
			}
		}()
		return nil
	}
	return cfg
}

func (o *machine) work(store tokenstore.Store) error {
	key, err := tokenstore.ParseKey(testKey)
	if err != nil {
		return err
	}
	client, err := oauthclient.New(config(o.Issuer, tokenstore.Seal(store, key)))
	if err != nil {
		return err
	}
	done := worked{Failed: map[string]int{}}
	for ctx, began := context.Background(), time.Now(); time.Since(began) < o.For; time.Sleep(20 * time.Millisecond) {
		if err := call(ctx, client, o.Issuer); err != nil {
			done.Failed[err.Error()]++
		} else {
			done.Calls++
		}
	}
	if err := client.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

func call(ctx context.Context, client *oauthclient.Client, issuer string) error {
	session, err := client.Session(ctx, "")
	if err != nil {
		return err
	}
	resp, err := session.HTTPClient().Get(issuer + "/api")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API says %s", resp.Status)
	}
	return nil
}

// Eight machines share one session at an authorization server that ends the session
// if a refresh token is used twice. Access tokens last a second. The leading node of
// the cluster is killed while the machines work.
func TestRefreshRaceEndsNoSession(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	mux := http.NewServeMux()
	web := httptest.NewServer(mux)
	defer web.Close()
	as, err := authserver.New(authserver.Config{
		Issuer: web.URL, AutoUser: "robot", AccessTokenLifetime: time.Second, Rotation: authserver.RotateStrict,
		Clients: []authserver.Client{{ID: "fleet", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}},
	})
	require.NoError(t, err)
	mux.Handle("/", as)
	mux.Handle("/api", as.Protect(authserver.Resource{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))

	client, err := oauthclient.New(config(web.URL, sealed(t, &etcdstore.Store{Client: c.client(t)})))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	_, err = client.Login(t.Context(), nil)
	require.NoError(t, err)

	const machines, long = 8, 15 * time.Second
	var running []*exec.Cmd
	var reports []*json.Decoder
	for range machines {
		cmd, _, out := (&machine{Role: "agent", Issuer: web.URL, Endpoints: c.endpoints, For: long}).start(t)
		running, reports = append(running, cmd), append(reports, out)
	}
	waitFor(t, func() bool { return as.Stats().Refreshes >= 3 })
	before, node := as.Stats().Refreshes, c.leader(t)
	require.NoError(t, c.nodes[node].Process.Kill())
	waitFor(t, func() bool { return as.Stats().Refreshes >= before+3 })

	calls, failed := 0, map[string]int{}
	for i, report := range reports {
		var w worked
		require.NoError(t, report.Decode(&w))
		require.NoError(t, running[i].Wait())
		require.NotZero(t, w.Calls)
		calls += w.Calls
		for why, n := range w.Failed {
			failed[why] += n
		}
	}
	stats := as.Stats()
	t.Logf("%d machines, 3 nodes of which the leader was killed: %d calls of the API, %d refreshes, %d reuses, %d families revoked, calls that failed: %v",
		machines, calls, stats.Refreshes, stats.Reuses, stats.FamiliesRevoked, failed)
	require.Zero(t, stats.Reuses)
	require.Zero(t, stats.FamiliesRevoked)
	require.Equal(t, 1, stats.Logins)
	require.Equal(t, 1, as.Alive())
	require.NoError(t, call(t.Context(), client, web.URL), "the session lives on")
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, time.Minute, 10*time.Millisecond)
}
