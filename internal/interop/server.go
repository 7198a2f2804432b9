package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/stretchr/testify/require"
)

// twoFactors is an acr of the providers with pages that are written here.
const twoFactors = "urn:example:two-factors"

// listen returns a loopback address and its listener, for the ExtraFiles of a
// program, which sees it as file descriptor 3.
func listen(tb testing.TB) (*net.TCPAddr, *os.File) {
	tb.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(tb, err)
	defer listener.Close()
	handed, err := listener.File()
	require.NoError(tb, err)
	return listener.Addr().(*net.TCPAddr), handed
}

// needDebian ends the test if a Debian package is missing (see
// realparts.Missing), and skips it if the package has another version: the tests
// know what this one does differently from the specifications.
func needDebian(tb testing.TB, name, version string) {
	tb.Helper()
	out, err := exec.Command("dpkg-query", "--show", "--showformat=${Version}", name).Output()
	if err != nil {
		realparts.Missing(tb, "Debian's package "+name)
	}
	if !strings.HasPrefix(string(out), version) {
		tb.Skipf("skipped: this test is about %s %s, and here is %s", name, version, out)
	}
}

// rsaKeys returns a new key for signatures, in PEM.
func rsaKeys(tb testing.TB) (private, public string) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(tb, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	open, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(tb, err)
	private = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open}))
	return private, public
}

// discovery is the path of an issuer's metadata.
const discovery = "/.well-known/openid-configuration"

// startServer starts a provider's program, which ends with the test, and waits
// until ready returns nil.
func startServer(tb testing.TB, name string, cmd *exec.Cmd, ready func() error) {
	tb.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	endWithUs(cmd)
	require.NoError(tb, cmd.Start())
	for _, handed := range cmd.ExtraFiles { // a listener without its program answers nobody
		_ = handed.Close()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // what it would write at its end is deleted with the directory
		<-stopped
		if tb.Failed() {
			tb.Logf("%s logged:\n%s", name, log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-stopped:
			tb.Fatalf("%s ended before it served:\n%s", name, log.String())
		default:
			require.True(tb, time.Now().Before(deadline), "%s did not start within a minute: %v", name, err)
		}
	}
}

// serves returns a condition for startServer: a GET of address is answered with
// status 200.
func serves(ctx context.Context, address string) func() error {
	client := &http.Client{Timeout: 30 * time.Second}
	return func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
}
