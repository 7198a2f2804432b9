package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func TestMain(m *testing.M) {
	if proxyChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// client makes a client over the SDK's transport. If roots is nil, they are the
// system's.
func client(t *testing.T, roots *x509.CertPool) *fetch.Client {
	t.Helper()
	transport := fetch.NewTransport()
	transport.TLSClientConfig.RootCAs = roots
	t.Cleanup(transport.CloseIdleConnections)
	return &fetch.Client{Transport: transport}
}

// post sends a form with canaries in the URL and in the body, and checks that
// no error prints them.
func post(t *testing.T, c *fetch.Client, to string) (*fetch.Response, error) {
	t.Helper()
	return postCtx(t.Context(), t, c, to)
}

func postCtx(ctx context.Context, t *testing.T, c *fetch.Client, to string) (*fetch.Response, error) {
	t.Helper()
	req, err := fetch.NewRequest("POST", to+"/path-canary?query=canary", strings.NewReader("code=canary"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Basic canary")
	resp, err := c.Do(ctx, req)
	if err != nil {
		require.Nil(t, resp)
		var fe *fetch.Error
		require.ErrorAs(t, err, &fe, "every error is an *Error")
		require.NotContains(t, fmt.Sprintf("%v %+v %s", err, err, err), "canary", "no URL, header or body")
		require.Contains(t, err.Error(), req.URL.Host)
		inTheAnswer := errors.Is(err, fetch.ErrTooLarge) || errors.Is(err, fetch.ErrEncoding)
		require.Equal(t, inTheAnswer, errors.Is(err, wire.ErrInvalidResponse), "the network's failures match nothing")
	}
	return resp, err
}

func sent(t *testing.T, err error) bool {
	t.Helper()
	var fe *fetch.Error
	require.ErrorAs(t, err, &fe)
	return fe.Sent
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// S40, S47: a redirect is an answer, and the other host sees nothing of it.
func TestS40S47RedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	c := client(t, nil)
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		for _, to := range []string{other, "/elsewhere", "//" + strings.TrimPrefix(other, "http://"), "file:///etc/passwd", "::"} {
			var asked atomic.Int32
			resp, err := post(t, c, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			}))
			if err == nil { // net/http refuses a Location that cannot be parsed
				require.Equal(t, status, resp.Status)
			}
			require.EqualValues(t, 1, asked.Load())
		}
	}
	require.Zero(t, reached.Load())
}

// S40, S47: only a public document is redirected, only within its origin, and only
// once.
func TestS40S47GetStaysInTheOrigin(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for to, want := range map[string][]string{
		"/a/":      {"/a", "/a/"},
		"a/":       {"/a", "/a/"},
		"/a":       {"/a", "/a"}, // a loop ends
		other:      {"/a"},
		"//x@HOST": {"/a"}, "file:///a/": {"/a"}, "": {"/a", "/a"},
	} {
		var asked []string
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			if r.URL.Path == "/a/" {
				_, _ = io.WriteString(w, "{}")
				return
			}
			w.Header().Set("Location", strings.ReplaceAll(to, "HOST", r.Host))
			w.WriteHeader(http.StatusMovedPermanently)
		})
		req, err := fetch.NewRequest(http.MethodGet, base+"/a", nil)
		require.NoError(t, err)
		resp, err := client(t, nil).Get(t.Context(), req)
		if to != "" { // net/http itself refuses an empty Location
			require.NoError(t, err, to)
			require.Equal(t, want, asked, to)
			require.Equal(t, want[len(want)-1] == "/a/", resp.Status == 200, to)
		}
	}
	require.Zero(t, reached.Load())
}

// S40: a public document may be compressed. A bomb ends at the limit, and what is
// not gzip is refused.
func TestS40GetUnpacksBounded(t *testing.T) {
	t.Parallel()
	pack := func(data []byte) []byte {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		_, err := zw.Write(data)
		require.NoError(t, err)
		require.NoError(t, zw.Close())
		return b.Bytes()
	}
	good := pack([]byte(`{"a":1}`))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-6] ^= 1
	for name, tc := range map[string]struct {
		encoding string
		body     []byte
		want     error
	}{
		"good": {"gzip", good, nil}, "exactly the limit": {"gzip", pack(make([]byte, fetch.MaxBody)), nil},
		"bomb":    {"gzip", bytes.Repeat(pack(make([]byte, 1<<20)), 64), fetch.ErrTooLarge},
		"too big": {"gzip", pack(make([]byte, fetch.MaxBody+1)), fetch.ErrTooLarge},
		"plain":   {"gzip", []byte(`{"a":1}`), fetch.ErrEncoding}, "damaged": {"gzip", damaged, fetch.ErrEncoding},
		"brotli": {"br", good, fetch.ErrEncoding}, "twice": {"gzip, gzip", pack(good), fetch.ErrEncoding},
	} {
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", tc.encoding)
			_, _ = w.Write(tc.body)
		})
		req, err := fetch.NewRequest(http.MethodGet, base, nil)
		require.NoError(t, err)
		_, err = client(t, nil).Get(t.Context(), req)
		if tc.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, tc.want, name)
		}
	}
}

// S40: a gzip bomb ends at the limit. One that a transport has unpacked is refused.
func TestS40CompressedAnswerIsBounded(t *testing.T) {
	t.Parallel()
	var member bytes.Buffer
	zw := gzip.NewWriter(&member)
	_, err := zw.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	bomb := bytes.Repeat(member.Bytes(), 64) // gzip members join: 64 MiB
	require.Less(t, len(bomb), 100<<10)
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bomb)
	})
	plain := &http.Transport{} // one that unpacks by itself when it has asked for gzip
	t.Cleanup(plain.CloseIdleConnections)
	for name, c := range map[string]*fetch.Client{"ours": client(t, nil), "plain": {Transport: plain}} {
		_, err := post(t, c, base)
		require.ErrorIs(t, err, fetch.ErrTooLarge, name)
		require.True(t, sent(t, err))
	}
	_, err = post(t, &fetch.Client{Transport: unpacking{plain}}, base)
	require.ErrorIs(t, err, fetch.ErrEncoding)
}

// A CDN that compresses token responses unasked costs no session: the rotated refresh
// token is read.
func TestCompressedTokenResponseIsRead(t *testing.T) {
	t.Parallel()
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zw := gzip.NewWriter(w)
		_, _ = zw.Write([]byte(`{"refresh_token":"rotated"}`))
		_ = zw.Close()
	})
	resp, err := post(t, client(t, nil), base)
	require.NoError(t, err)
	require.JSONEq(t, `{"refresh_token":"rotated"}`, string(resp.Body))
}

// Nobody asks for compression. Requests say nothing about it, because some firewalls
// refuse identity with 406, unless the transport would ask for gzip by itself.
func TestNobodyAsksForCompression(t *testing.T) {
	t.Parallel()
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding"))
	})
	plain, ours := &http.Transport{}, fetch.NewTransport()
	guard := fetch.NewGuard(plain, "127.0.0.1")
	for _, idle := range []interface{ CloseIdleConnections() }{plain, ours, guard} {
		t.Cleanup(idle.CloseIdleConnections)
	}
	type opaque struct{ http.RoundTripper }
	for name, tc := range map[string]struct {
		transport http.RoundTripper
		asked     string
	}{
		"ours":                       {ours, ""},
		"a guard over the program's": {guard, ""},
		"the program's own":          {plain, "identity"},
		"an opaque one":              {opaque{plain}, "identity"},
		"a guard over an opaque one": {fetch.NewGuard(opaque{plain}, "127.0.0.1"), "identity"},
	} {
		resp, err := post(t, &fetch.Client{Transport: tc.transport}, base)
		require.NoError(t, err, name)
		require.Equal(t, tc.asked, string(resp.Body), name)
	}
	require.False(t, plain.DisableCompression, "the program's transport is not changed")
}

// unpacking is a caller's transport that unpacks the body and says so, as
// net/http does.
type unpacking struct{ http.RoundTripper }

func (u unpacking) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Content-Encoding")
		resp.Uncompressed = true
	}
	return resp, err
}

// S40, S58: at most 1 MiB, by whatever framing.
func TestS40S58SizeIsBounded(t *testing.T) {
	t.Parallel()
	c := client(t, nil)
	for name, tc := range map[string]struct {
		size    int
		chunked bool
		ok      bool
	}{"1 MiB": {1 << 20, false, true}, "1 MiB, chunked": {1 << 20, true, true}, "a byte more": {1<<20 + 1, false, false}, "2 MiB": {2 << 20, false, false}, "5 MiB, chunked": {5 << 20, true, false}} {
		resp, err := post(t, c, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if !tc.chunked {
				w.Header().Set("Content-Length", strconv.Itoa(tc.size))
			}
			_, _ = w.Write(make([]byte, tc.size))
		}))
		if tc.ok {
			require.NoError(t, err, name)
			require.Len(t, resp.Body, tc.size)
			continue
		}
		require.ErrorIs(t, err, fetch.ErrTooLarge, name)
		require.True(t, sent(t, err))
	}
	// Headers without end, and early hints without end.
	for name, head := range map[string]string{"header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "103s": strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1000)} {
		_, err := post(t, c, raw(t, func(conn net.Conn) { _, _ = io.WriteString(conn, head) }))
		require.Error(t, err, name)
		require.True(t, sent(t, err), name)
	}
}

// S40, S58: an answer that never comes, and one that never ends.
func TestS40S58TimeIsBounded(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"hang": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drip": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{}, 10)
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				arrived <- struct{}{}
				answer(w, r)
			})
			c := client(t, nil)
			c.Timeout = 2 * time.Second
			_, err := post(t, c, base)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.True(t, sent(t, err))
			require.ErrorContains(t, err, "in time")
			<-arrived

			c.Timeout = 0 // the default is far longer: the caller's own ctx ends it
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = postCtx(ctx, t, c, base)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			<-arrived
			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-arrived
				cancel()
			}()
			_, err = postCtx(ctx, t, c, base)
			require.ErrorIs(t, err, context.Canceled)
			require.True(t, sent(t, err))
			_, err = postCtx(ctx, t, c, base)
			require.ErrorIs(t, err, context.Canceled)
			require.False(t, sent(t, err), "cancelled before it began")
		})
	}
}

// raw serves connections by hand: f gets each after the request's head and body
// have arrived.
func raw(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	return accept(t, func(conn net.Conn) {
		buf := make([]byte, 4096)
		var got []byte
		for !bytes.HasSuffix(got, []byte("code=canary")) {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			got = append(got, buf[:n]...)
		}
		f(conn)
	})
}

func accept(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			f(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Close sends RST
	}
}

// Sent decides whether a refresh token may be spent. It is false only if
// nothing can have arrived.
func TestSentIsFalseOnlyIfNothingArrived(t *testing.T) {
	t.Parallel()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", realparts.FreePort(t))
	httpsOf := func(u string) string { return strings.Replace(u, "http:", "https:", 1) }

	noDNS := fetch.NewTransport()
	noDNS.DialContext = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no resolver")
	}}}).DialContext
	noTrace := func(err error) *fetch.Client { return &fetch.Client{Transport: failing{err}} }
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}

	for name, tc := range map[string]struct {
		client *fetch.Client
		to     string
		sent   bool
		text   string
	}{
		"refused":                  {nil, nobody, false, "no connection"},
		"no such name":             {&fetch.Client{Transport: noDNS}, "https://op.invalid", false, "cannot be resolved"},
		"closed in the handshake":  {nil, httpsOf(accept(t, func(net.Conn) {})), false, "try again"},
		"reset in the handshake":   {nil, httpsOf(accept(t, reset)), false, "try again"},
		"no TLS":                   {nil, httpsOf(accept(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })), false, "TLS"},
		"closed after the request": {nil, raw(t, func(net.Conn) {}), true, "try again"},
		"reset after the request":  {nil, raw(t, reset), true, "try again"},
		"half a head":              {nil, raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 O") }), true, "closed"},
		"half a body":              {nil, raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") }), true, "closed"},
		"half a chunk": {nil, raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{")
		}), true, "closed"},
		"no HTTP":               {nil, raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-canary\r\n") }), true, "failed"},
		"untraced, unknown":     {noTrace(errors.New("canary")), "https://op.example", true, "failed"},
		"untraced, dial":        {noTrace(dial), "https://op.example", false, "no connection"},
		"untraced, DNS":         {noTrace(&net.DNSError{Err: "canary", Name: "canary"}), "https://op.example", false, "resolved"},
		"untraced, proxy":       {noTrace(&net.OpError{Op: "proxyconnect", Err: dial}), "https://op.example", false, "proxy"},
		"untraced, certificate": {noTrace(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "https://op.example", false, "certificate"},
	} {
		c := tc.client
		if c == nil {
			c = client(t, nil)
		}
		_, err := post(t, c, tc.to)
		require.Error(t, err, name)
		require.Equal(t, tc.sent, sent(t, err), "%s: %v", name, err)
		require.ErrorContains(t, err, tc.text, name)
	}
	_, err := post(t, client(t, nil), nobody)
	var errno syscall.Errno // its text is the system's
	require.ErrorAs(t, err, &errno)
	require.EqualError(t, err, fmt.Sprintf("%s: no connection (%s); check the network, a proxy, or the provider's status, then try again",
		strings.TrimPrefix(nobody, "http://"), errno))
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// The same over HTTP/2, with traces of other code.
func TestSentHTTP2(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s", r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler) // RST_STREAM
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))}}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := post(t, client(t, ca.pool), s.URL)
	require.Error(t, err)
	require.True(t, sent(t, err))
}

// A request goes out once, also on a kept connection that has died. net/http
// sends again only what the server cannot have read.
func TestS48RequestGoesOutOnce(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	base := raw(t, func(c net.Conn) {
		requests.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		// accept closes it, which the client may not have noticed
	})
	c := client(t, nil)
	ok := 0
	for range 20 {
		if _, err := post(t, c, base); err == nil {
			ok++
		}
	}
	require.EqualValues(t, ok, requests.Load(), "none was answered twice")
	require.NotZero(t, ok)
}

// authority is a certificate authority for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, key, pool}
}

func (a authority) issue(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: until.Add(-2 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serveTLS(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = cfg
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// S56: TLS 1.2 or later, and a certificate that is trusted, current, and for
// this name. Nothing is sent otherwise.
func TestS56TLS(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := ca.issue(t, "127.0.0.1", soon)
	for name, tc := range map[string]struct {
		cfg  *tls.Config
		text string // "": it works
	}{
		"TLS 1.3":        {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13}, ""},
		"TLS 1.2":        {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ""},
		"TLS 1.1":        {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "no TLS connection"},
		"self-signed":    {&tls.Config{Certificates: []tls.Certificate{stranger.issue(t, "127.0.0.1", soon)}}, "not trusted"},
		"another name":   {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "op.example", soon)}}, "another name"},
		"another number": {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.2", soon)}}, "another name"},
		"expired":        {&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", time.Now().Add(-time.Minute))}}, "clock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := post(t, client(t, ca.pool), serveTLS(t, tc.cfg))
			if tc.text == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.text)
			require.False(t, sent(t, err))
		})
	}
	c := client(t, ca.pool)
	require.False(t, c.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify)
	require.EqualValues(t, tls.VersionTLS12, c.Transport.(*http.Transport).TLSClientConfig.MinVersion)
}

func TestNewRequestRefusesUnsafeURLs(t *testing.T) {
	for _, bad := range []string{"", "http://op.example/", "https://u:canary@op.example", "https://op.example/\x7fcanary", "file:///canary", "https://op.example/#canary", "https://canary:x"} {
		_, err := fetch.NewRequest("GET", bad, nil)
		require.ErrorIs(t, err, wire.ErrUnsafeURL, bad)
		require.NotContains(t, err.Error(), "canary")
	}
	_, err := fetch.NewRequest("BAD METHOD", "https://op.example/canary", nil)
	require.ErrorIs(t, err, wire.ErrUnsafeURL)
	for _, good := range []string{"https://op.example/a%2Fb?x=%20", "http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost/"} {
		req, err := fetch.NewRequest("GET", good, nil)
		require.NoError(t, err)
		require.Equal(t, good, req.URL.String())
	}
}

// S66: a response does not print its body.
func TestS66ResponseIsRedacted(t *testing.T) {
	r := &fetch.Response{Status: 200, Header: http.Header{"Set-Cookie": {"canary"}}, Body: []byte("canary")}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb+verb, r, *r, []any{r})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", r, "v", *r)
	require.NotContains(t, out.String(), "canary")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "canary"))
	require.Equal(t, "HTTP 200, 6 bytes", fmt.Sprint(r))
}

func TestMediaType(t *testing.T) {
	for value, want := range map[string]struct {
		mediaType string
		json      bool
	}{
		"application/json": {"application/json", true}, "Application/JSON; charset=utf-8": {"application/json", true}, "application/jwk-set+json": {"application/jwk-set+json", true},
		"text/json": {"text/json", false}, "image/svg+json": {"image/svg+json", false}, "": {"", false}, "x y": {"", false}, "application/json; a=1; a=2": {"", false}, "application/jsonp": {"application/jsonp", false},
	} {
		r := &fetch.Response{Header: http.Header{"Content-Type": {value}}}
		require.Equal(t, want.mediaType, r.MediaType(), value)
		require.Equal(t, want.json, r.IsJSON(), value)
	}
}

// proxied is a forward proxy that logs every request. It connects one name to
// one address.
func proxied(t *testing.T, name, addr string, status int) (proxy *httptest.Server, log func() []string) {
	t.Helper()
	lines := make(chan string, 100)
	proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines <- r.Method + " " + r.Host
		if r.Method != http.MethodConnect || r.Host != name || status != 200 {
			w.WriteHeader(status)
			return
		}
		up, err := net.Dial("tcp", addr)
		if err != nil {
			w.WriteHeader(502)
			return
		}
		defer up.Close()
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(up, buf)
			_ = up.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(conn, up)
	}))
	t.Cleanup(proxy.Close)
	return proxy, func() (all []string) {
		for {
			select {
			case l := <-lines:
				all = append(all, l)
			default:
				return all
			}
		}
	}
}

// S57: through a proxy, https is a tunnel: the proxy sees the name and nothing
// of the request.
func TestS57ProxySeesOnlyTheName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	provider := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "op.example", time.Now().Add(time.Hour))}})
	through := func(proxy string) *fetch.Client {
		c := client(t, ca.pool)
		u, err := url.Parse(proxy)
		require.NoError(t, err)
		c.Transport.(*http.Transport).Proxy = http.ProxyURL(u)
		return c
	}
	proxy, log := proxied(t, "op.example:443", strings.TrimPrefix(provider, "https://"), 200)
	for range 3 {
		resp, err := post(t, through(proxy.URL), "https://op.example")
		require.NoError(t, err)
		require.Equal(t, "{}", string(resp.Body))
	}
	require.Equal(t, []string{"CONNECT op.example:443", "CONNECT op.example:443", "CONNECT op.example:443"}, log())

	for _, status := range []int{403, 407, 502} {
		proxy, _ := proxied(t, "op.example:443", "", status)
		_, err := post(t, through(proxy.URL), "https://op.example")
		require.Error(t, err)
		require.False(t, sent(t, err), "the proxy refused: nothing reached the provider")
	}
	proxy.Close()
	_, err := post(t, through(proxy.URL), "https://op.example")
	require.ErrorContains(t, err, "no connection to the proxy")
	require.False(t, sent(t, err))
}
