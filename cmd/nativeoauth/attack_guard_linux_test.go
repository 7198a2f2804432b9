package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// inNamespace marks the child that has the network to itself.
const inNamespace = "NATIVEOAUTH_TEST_NAMESPACE"

// S43: a public provider names endpoints inside the user's network. The command
// sends nothing there, whatever the endpoint and however its address is written:
// neither a login that chooses its scopes by the metadata, nor inspect.
//
// The test runs in a network namespace in which every address leads to one server.
// The provider has a public address there, and the server notes each connection to
// another one. Nothing is simulated: with the guard away, the requests arrive.
func TestS43PublicProviderNamesPrivateEndpoints(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Parallel()
		runInNamespace(t)
		return
	}
	n := newNamespace(t)
	for kind, run := range endpointRuns {
		if !run.waits {
			t.Run(kind+" as it should be", func(t *testing.T) { n.accepts(t, run) })
		}
		tried := 0
		for name, host := range insideHosts {
			// With the race detector each process takes many times as long: three
			// addresses, others each time, must do.
			if tried++; raceEnabled && tried > 3 {
				break
			}
			if !t.Run(kind+" at "+name, func(t *testing.T) { n.refuses(t, kind, host, run) }) {
				break // one tells enough, and a login that goes on may wait for the user
			}
		}
	}
}

// --allow-private lifts that, for a login and for the inspection of its profile.
func TestPrivateEndpointsCanBeAllowed(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Parallel()
		runInNamespace(t)
		return
	}
	n := newNamespace(t)
	home := n.begin(t, endpointRun{})
	n.forge("jwks_uri", "10.0.0.1")
	for _, args := range [][]string{login("--allow-private"), {"inspect"}, {"doctor"}} {
		n.mu.Lock()
		n.inside = nil
		n.mu.Unlock()
		out, code := n.command(t, home, args)
		require.NotContains(t, out, "private address")
		if args[0] == "login" {
			require.Equal(t, exitOK, code, "%s", out)
		}
		n.mu.Lock()
		require.NotEmpty(t, n.inside, args)
		n.mu.Unlock()
	}
}

// endpointRun is how the command comes to call an endpoint.
type endpointRun struct {
	args  []string
	after []string // run before, while the metadata are honest; nil: nothing
	waits bool     // with honest metadata it waits for the user
}

// endpointRuns has every endpoint that the command itself calls, under its name in
// the metadata. A word after a slash tells the runs of one endpoint apart.
var endpointRuns = map[string]endpointRun{
	"token_endpoint":                        {args: login()},
	"token_endpoint/trace":                  {args: login("--trace")}, // a transport that is not net/http's
	"jwks_uri":                              {args: login()},
	"pushed_authorization_request_endpoint": {args: login()},
	"device_authorization_endpoint":         {args: login("--device"), waits: true},
	"registration_endpoint":                 {args: []string{"login", "--issuer", publicIssuer, "--register"}},
	"revocation_endpoint":                   {args: login("--store", "memory")},
	"revocation_endpoint/logout":            {args: []string{"logout"}, after: login()},
	"userinfo_endpoint":                     {args: []string{"userinfo"}, after: login()},
	"jwks_uri/inspect":                      {args: []string{"inspect", publicIssuer}},
	"authorization_endpoint/inspect":        {args: []string{"inspect", publicIssuer, "--client-id", "cli"}},
	"token_endpoint/inspect":                {args: []string{"inspect", publicIssuer}},
	"introspection_endpoint/inspect":        {args: []string{"inspect", publicIssuer}},
}

func login(more ...string) []string {
	return append([]string{"login", "--issuer", publicIssuer, "--client-id", "cli"}, more...)
}

const (
	publicIssuer = "https://login.public.example"
	publicAddr   = "93.184.216.34"
)

// insideHosts are addresses of a private network in the forms in which a provider
// can write them. The names are in the namespace's hosts file.
var insideHosts = map[string]string{
	"a private address":        "10.0.0.1",
	"the cloud's metadata":     "169.254.169.254",
	"loopback":                 "[::1]",
	"a unique local address":   "[fd00::1]",
	"NAT64":                    "[64:ff9b::a00:1]",
	"a mapped address":         "[::ffff:10.0.0.1]",
	"a name for 10.0.0.5":      "four.inside.example",
	"a name for fd00::5":       "six.inside.example",
	"a name with both":         "mixed.inside.example",
	"a name with a final dot":  "four.inside.example.",
	"a private address's port": "192.168.1.1:8443",
}

const hostsFile = publicAddr + ` login.public.example
10.0.0.5 four.inside.example
fd00::5 six.inside.example
93.184.216.34 mixed.inside.example
10.0.0.5 mixed.inside.example
127.0.0.1 localhost
`

// runInNamespace runs the calling test again, in namespaces of its own for the
// network and for mounts, which hold the hosts file.
func runInNamespace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: the command ip is not installed")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v="+verbose())
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Unshareflags = 0
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("skipped: this machine does not let this user make a network namespace")
	}
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

func verbose() string {
	if testing.Verbose() {
		return "true"
	}
	return "false"
}

// namespace is the network of the child: a provider at publicAddr, and the same
// server at every other address.
type namespace struct {
	env []string

	mu           sync.Mutex
	member, host string   // what is forged in the metadata; "": nothing
	inside       []string // connections to another address than the provider's
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"route", "add", "local", "0.0.0.0/0", "dev", "lo"}, // every address is this machine's
		{"-6", "route", "add", "local", "::/0", "dev", "lo"},
	} {
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %s: %s", args, out)
	}
	dir := t.TempDir()
	hosts := filepath.Join(dir, "hosts")
	require.NoError(t, os.WriteFile(hosts, []byte(hostsFile), 0o644))
	require.NoError(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	require.NoError(t, syscall.Mount(hosts, "/etc/hosts", "", syscall.MS_BIND, ""))

	as, err := authserver.New(authserver.Config{
		Issuer: publicIssuer, AutoUser: "alice", OpenRegistration: true, DeviceInterval: time.Second,
		Clients: []authserver.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
	})
	require.NoError(t, err)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "login.public.example" // at an address inside it answers, too
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			n.describe(t, as, w, r)
			return
		}
		as.ServeHTTP(w, r)
	})
	cert, roots := certificate(t, dir)
	for _, addr := range []string{":443", ":8443"} {
		ln, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		s := &httptest.Server{Listener: noting{ln, n}, Config: &http.Server{Handler: handler}}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
		t.Cleanup(s.Close)
	}
	n.env = []string{
		"PATH=" + os.Getenv("PATH"), "DISPLAY=:0", "TERM=dumb", "SSL_CERT_FILE=" + roots,
		"GORACE=atexit_sleep_ms=0", "NATIVEOAUTH_STORE=file",
	}
	return n
}

// describe serves the metadata, with the forged endpoint at another host.
func (n *namespace) describe(t *testing.T, as http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	as.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	n.mu.Lock()
	member, host := n.member, n.host
	n.mu.Unlock()
	if rec.Code == http.StatusOK && member != "" {
		var document map[string]any
		if err := json.Unmarshal(body, &document); err != nil {
			t.Error(err)
		}
		honest, _ := document[member].(string)
		document[member] = strings.Replace(honest, "login.public.example", host, 1)
		if document[member] == honest {
			t.Errorf("the metadata have no %s", member)
		}
		body, _ = json.Marshal(document)
	}
	w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

// forge puts a member of the metadata at host from now on, and forgets the
// connections until now. "" is honest.
func (n *namespace) forge(member, host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.member, n.host, n.inside = member, host, nil
}

// accepts checks that the command succeeds with honest metadata, so that what
// refuses sees is due to the address.
func (n *namespace) accepts(t *testing.T, run endpointRun) {
	home := n.begin(t, run)
	out, code := n.command(t, home, run.args)
	require.Equal(t, exitOK, code, "%s", out)
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Empty(t, n.inside)
}

// begin returns a home in which run can start.
func (n *namespace) begin(t *testing.T, run endpointRun) (home string) {
	home = t.TempDir()
	require.NoError(t, os.Chmod(home, 0o700))
	newKeyFile(t, filepath.Join(home, "key"))
	n.forge("", "")
	if run.after != nil {
		out, code := n.command(t, home, run.after)
		require.Zero(t, code, "%s", out)
	}
	return home
}

// refuses checks that the command fails if its endpoint is at host, and that no
// connection was made to it.
func (n *namespace) refuses(t *testing.T, kind, host string, run endpointRun) {
	member, _, _ := strings.Cut(kind, "/")
	home := n.begin(t, run)
	n.forge(member, host)
	out, code := n.command(t, home, run.args)
	require.Equal(t, exitError, code, "%s", out)
	require.Contains(t, out, "private address")
	n.mu.Lock()
	defer n.mu.Unlock()
	require.Empty(t, n.inside, "connections to the inside of the network")
}

// command runs the command to its end, and returns what it wrote.
func (n *namespace) command(t *testing.T, home string, args []string) (string, int) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nativeoauth", args...)
	cmd.Dir = home
	cmd.Env = append([]string{"HOME=" + home}, n.env...)
	if !slices.Contains(args, "memory") { // which has no key
		cmd.Env = append(cmd.Env, "NATIVEOAUTH_KEY_FILE="+filepath.Join(home, "key"))
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// certificate returns a certificate for the provider and for the inside, and the
// file of the root that vouches for it.
func certificate(t *testing.T, dir string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames: []string{"login.public.example", "*.inside.example"},
	}
	for _, host := range insideHosts {
		host, _, _ = strings.Cut(host, ":8443")
		if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	roots := filepath.Join(dir, "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(roots, text, 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// noting notes the connections to another address than the provider's.
type noting struct {
	net.Listener
	namespace *namespace
}

func (l noting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	local := netip.MustParseAddrPort(conn.LocalAddr().String())
	if local.Addr().Unmap().String() != publicAddr {
		l.namespace.mu.Lock()
		l.namespace.inside = append(l.namespace.inside, local.String())
		l.namespace.mu.Unlock()
	}
	return conn, nil
}
