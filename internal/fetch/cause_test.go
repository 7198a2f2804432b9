package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A proxy that refuses the tunnel is named, without its password, with the
// status and with what to do. It is a failure of the network: nothing was sent.
func TestProxyRefusalNamesTheProxy(t *testing.T) {
	for status, want := range map[int]string{
		403: "the proxy %s does not allow connections to this server (HTTP 403); ask the network's administrator",
		407: "the proxy %s wants a user name and password (HTTP 407); put them into its URL in HTTPS_PROXY",
		502: "the proxy %s did not connect to this server (HTTP 502); try again later",
		503: "the proxy %s did not connect to this server (HTTP 503); try again later",
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Proxy-Authenticate", "Negotiate")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>canary"))
		}))
		defer proxy.Close()
		u, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://name-canary:word-canary@", 1))
		require.NoError(t, err)
		own := NewTransport()
		own.Proxy = http.ProxyURL(u)
		called := false
		programs := &http.Transport{Proxy: http.ProxyURL(u), OnProxyConnectResponse: func(
			context.Context, *url.URL, *http.Request, *http.Response,
		) error {
			called = true
			return nil
		}}
		for name, rt := range map[string]http.RoundTripper{
			"own": own, "own, guarded": NewGuard(own, ""), "program's, guarded": NewGuard(programs, "op.example"),
		} {
			_, err := get(t, rt, "https://op.example/path-canary")
			var fe *Error
			require.ErrorAs(t, err, &fe)
			require.False(t, fe.Sent)
			require.ErrorContains(t, err, "op.example: "+fmt.Sprintf(want, u.Host), name)
			require.NotContains(t, err.Error(), "canary")
		}
		require.True(t, called, "the program's own function still runs")
		_, err = get(t, failing{&proxyError{u.Host, status}}, "https://op.example/")
		var fe *Error
		require.ErrorAs(t, err, &fe)
		require.False(t, fe.Sent, "also without a trace")
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// If the proxy itself cannot be reached, the error is not about the provider.
func TestUnreachableProxyIsNotTheProvider(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused"), Addr: &net.TCPAddr{
		IP: net.IPv4(10, 0, 0, 9), Port: 3128,
	}}
	for want, inner := range map[string]error{
		"the proxy proxy.example (its host name cannot be resolved)": &net.OpError{
			Op: "dial", Err: &net.DNSError{Err: "canary", Name: "proxy.example"},
		},
		"the proxy 10.0.0.9:3128 (connection refused)": refused,
		"the proxy (x509: certificate signed by unknown authority)": &tls.CertificateVerificationError{
			Err: x509.UnknownAuthorityError{},
		},
	} {
		_, err := get(t, failing{&net.OpError{Op: "proxyconnect", Err: inner}}, "https://op.example/")
		require.ErrorContains(t, err, "op.example: no connection to "+want+"; check the proxy's settings")
		require.NotContains(t, err.Error(), "canary")
	}
}

// A certificate that is not trusted: the user learns how to trust a private
// authority on this system.
func TestUntrustedCertificateSaysHowToTrust(t *testing.T) {
	untrusted := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for goos, want := range map[string]string{
		"linux": "SSL_CERT_FILE", "freebsd": "SSL_CERT_DIR", "darwin": "Keychain Access", "windows": "certmgr.msc",
	} {
		text := certificate(untrusted, goos)
		require.Contains(t, text, "the server's certificate is not trusted", goos)
		require.Contains(t, text, "private authority", goos)
		require.Contains(t, text, want, goos)
		unix := goos == "linux" || goos == "freebsd"
		require.Equal(t, unix, strings.Contains(text, "SSL_CERT_"), "Go reads the variables on Unix alone: %s", goos)

		expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}
		require.Contains(t, certificate(expired, goos), "clock")
		require.NotContains(t, certificate(expired, goos), "authority")
		require.Empty(t, certificate(errors.New("other"), goos))
	}
	_, err := get(t, failing{untrusted}, "https://op.example/")
	require.ErrorContains(t, err, "private authority")
}
