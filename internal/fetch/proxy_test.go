package fetch_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
)

// net/http reads the proxy of the environment once in a process, so this test
// has a process of its own.
const childEnv = "NATIVEOAUTH_TEST_PROXY_CHILD"

// proxyChild is the process of TestS57Environment. It calls the URLs of its
// environment and prints the answers.
func proxyChild() bool {
	urls := os.Getenv(childEnv)
	if urls == "" {
		return false
	}
	transport := fetch.NewTransport()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(os.Getenv(childEnv + "_CA")))
	transport.TLSClientConfig.RootCAs = pool
	c := &fetch.Client{Transport: transport}
	for _, u := range strings.Fields(urls) {
		req, err := fetch.NewRequest("POST", u, strings.NewReader("code=canary"))
		if err != nil {
			fmt.Println(err)
			continue
		}
		ctx := req.Context()
		resp, err := c.Do(ctx, req)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(resp.Status, string(resp.Body))
	}
	return true
}

// S57: HTTPS_PROXY is honoured by CONNECT alone, and loopback addresses go past
// it.
func TestS57Environment(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	provider := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "op.example", time.Now().Add(time.Hour))}})
	proxy, log := proxied(t, "op.example:443", strings.TrimPrefix(provider, "https://"), 200)
	var direct atomic.Int32
	local := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		direct.Add(1)
		_, _ = w.Write([]byte("local"))
	})
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(),
		childEnv+"=https://op.example/token "+local+" "+strings.Replace(local, "127.0.0.1", "localhost", 1),
		childEnv+"_CA="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})),
		"HTTPS_PROXY="+proxy.URL, "HTTP_PROXY="+proxy.URL, "https_proxy="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	out, err := child.Output()
	require.NoError(t, err)
	require.Equal(t, []string{"200 {}", "200 local", "200 local"}, strings.Split(strings.TrimSpace(string(out)), "\n"))
	require.Equal(t, []string{"CONNECT op.example:443"}, log())
	require.EqualValues(t, 2, direct.Load())
}
