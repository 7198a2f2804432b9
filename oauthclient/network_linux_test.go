package oauthclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// A login over a network as it is ends within badNetwork: IPv6 that leads nowhere,
// packets that are lost, a connection that is dead and does not say so. The packets
// are real ones, in a network namespace, and the kernel's packet filter loses them.
// netem would do the same, and few kernels have it.

// badNetwork bounds a login from its beginning, and one on a dead connection from the
// redirect to the callback.
const badNetwork = 5 * time.Second

// inNetwork marks the process in the namespace.
const inNetwork = "NATIVEOAUTH_TEST_NETWORK"

// rough is a provider at https://example.com:PORT, over HTTP/2. The name has an IPv4
// and an IPv6 address, both on the loopback interface of the namespace.
type rough struct {
	url    string
	client atomic.Value // the address of the SDK's connection, a string
	tls    *http.Transport
}

// runRough runs the calling test again as root of a network, and of a hosts file. It
// returns a provider in that process and nil in the first one.
func runRough(t *testing.T) *rough {
	t.Helper()
	if os.Getenv(inNetwork) == "" {
		for _, name := range []string{"ip", "iptables", "ip6tables", "mount"} {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("skipped: the command %s is not installed", name)
			}
		}
		if os.Getuid() != 0 {
			t.Skip("skipped: only root can make a network with a packet filter")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inNetwork+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("skipped: this machine does not let root make a network namespace")
		}
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return nil
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(hosts, []byte("2001:db8::1 example.com\n10.0.0.1 example.com\n127.0.0.1 localhost\n"), 0o644))
	command(t, "mount", "--bind", hosts, "/etc/hosts")
	command(t, "ip", "link", "set", "lo", "up")
	command(t, "ip", "addr", "add", "10.0.0.1/32", "dev", "lo")
	command(t, "ip", "addr", "add", "2001:db8::1/128", "dev", "lo", "nodad")
	return startRough(t)
}

// command runs a command of the system. A kernel without a packet filter skips the
// test.
func command(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil && args[0] != "ip" {
		t.Skipf("skipped: %q: %v: %s", args, err, out)
	}
	require.NoError(t, err, "%q: %s", args, out)
}

func startRough(t *testing.T) *rough {
	t.Helper()
	r := &rough{}
	l, err := net.Listen("tcp", "[::]:0")
	require.NoError(t, err)
	r.url = fmt.Sprintf("https://example.com:%d", l.Addr().(*net.TCPAddr).Port)
	auth, err := authserver.New(authserver.Config{
		Issuer:  r.url,
		Clients: []authserver.Client{{ID: "rough", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		Users:   map[string]map[string]any{"alice": {}}, AutoUser: "alice",
		Misbehave: func(endpoint string, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if endpoint == authserver.Metadata {
					r.client.Store(req.RemoteAddr)
				}
				next.ServeHTTP(w, req)
			})
		},
	})
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(auth)
	_ = s.Listener.Close()
	s.Listener, s.EnableHTTP2 = l, true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	r.tls = http.DefaultTransport.(*http.Transport).Clone()
	r.tls.TLSClientConfig.RootCAs = roots
	t.Cleanup(r.tls.CloseIdleConnections)
	return r
}

// login signs in with a client of its own, and returns how long that took from the
// beginning, and from the callback. The user does what open does before signing in.
func (r *rough) login(t *testing.T, open func()) (all, callback time.Duration, err error) {
	t.Helper()
	browser := r.tls.Clone()
	defer browser.CloseIdleConnections()
	var redirected time.Time
	user := &http.Client{Transport: browser, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if req.URL.Path == "/callback" {
			redirected = time.Now()
		}
		return nil
	}}
	c := newClient(t, oauthclient.Config{
		Issuer: r.url, ClientID: "rough", Scopes: []string{"openid"}, Store: new(tokenstore.Memory), Transport: r.tls.Clone(),
		UI: oauthclient.UI{OpenURL: func(_ context.Context, url string) error {
			open()
			resp, err := user.Get(url)
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		}},
	})
	began := time.Now()
	_, err = c.Login(t.Context(), nil)
	return time.Since(began), time.Since(redirected), err
}

func (r *rough) logins(t *testing.T, n int) {
	t.Helper()
	var took []time.Duration
	for range n {
		all, _, err := r.login(t, func() {})
		require.NoError(t, err)
		took = append(took, all)
	}
	slices.Sort(took)
	t.Logf("%d logins took %v in the middle and %v at most", n, took[n/2], took[n-1])
	require.Less(t, took[n-1], badNetwork)
}

func TestLoginWithoutIPv6(t *testing.T) {
	t.Parallel()
	r := runRough(t)
	if r == nil {
		return
	}
	command(t, "ip6tables", "-A", "INPUT", "-d", "2001:db8::1", "-j", "DROP")
	r.logins(t, 3)
}

// Of each 50 packets, one is lost.
func TestLoginWithPacketLoss(t *testing.T) {
	t.Parallel()
	r := runRough(t)
	if r == nil {
		return
	}
	for _, filter := range []string{"iptables", "ip6tables"} {
		command(t, filter, "-A", "INPUT", "-p", "tcp", "-m", "statistic", "--mode", "nth", "--every", "50", "--packet", "0", "-j", "DROP")
	}
	r.logins(t, 25)
}

// The connection over which the metadata came dies while the user is in the browser:
// the computer has another address now, or a firewall forgot the connection. If that
// was some seconds ago, it is known, and the login succeeds. If the code was sent on
// it, nobody knows what became of the code, and it is never sent twice (S48).
func TestLoginOnADeadConnection(t *testing.T) {
	t.Parallel()
	if runRough(t) == nil {
		return
	}
	for _, away := range []time.Duration{0, time.Second, 10 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			t.Parallel()
			r := startRough(t)
			_, callback, err := r.login(t, func() {
				_, port, err := net.SplitHostPort(r.client.Load().(string))
				require.NoError(t, err)
				for _, filter := range []string{"iptables", "ip6tables"} {
					command(t, filter, "-A", "INPUT", "-p", "tcp", "--sport", port, "-j", "DROP")
					command(t, filter, "-A", "INPUT", "-p", "tcp", "--dport", port, "-j", "DROP")
				}
				time.Sleep(away) // the user
			})
			t.Logf("the user was away for %v; from the callback to the end: %v, %v", away, callback, err)
			require.Less(t, callback, badNetwork)
			if away > badNetwork {
				require.NoError(t, err)
			}
		})
	}
}
