// Package fetch is the one place from which the SDK talks to a provider.
//
// Each call is bounded: no redirects (S40, S47), a deadline (S58), a cap on the decoded body, no
// transparent decompression, and TLS 1.2 or later (S56). An [Error] says whether the request can have reached the server,
// because a refresh token that may have been spent must not be treated as one that was not.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// Limits of one call.
const (
	MaxBody    = 1 << 20 // bytes
	Timeout    = 30 * time.Second
	maxHeaders = 64 << 10
)

// Client makes bounded calls. It is safe for concurrent use.
type Client struct {
	// Transport sends the requests; nil: http.DefaultTransport. [NewTransport] is stricter.
	Transport http.RoundTripper
	// Timeout bounds a whole call; 0: [Timeout].
	Timeout time.Duration
}

// NewTransport returns a transport for where a program gives none: proxies from the environment, TLS 1.2 or later.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true,
		// A provider drops idle connections while a person is in the browser: the next one is made without certificates and signatures.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8)},
	}
}

// Response is an answer that arrived whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Format implements [fmt.Formatter]: a body may hold tokens, so it is never printed (S66).
func (r Response) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.text()) }

// LogValue implements [slog.LogValuer], as Format does for fmt.
func (r Response) LogValue() slog.Value { return slog.StringValue(r.text()) }

func (r Response) text() string { return fmt.Sprintf("HTTP %d, %d bytes", r.Status, len(r.Body)) }

// MediaType returns the media type without parameters, in lower case; "" where there is none.
func (r *Response) MediaType() string {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mt
}

// IsJSON reports whether the media type is application/json or application/<x>+json.
func (r *Response) IsJSON() bool {
	mt := r.MediaType()
	return mt == "application/json" || strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json")
}

// RetryAfter reads the Retry-After header (RFC 9110 §10.2.3) against now, at most an hour; 0: there is none.
func (r *Response) RetryAfter(now time.Time) time.Duration {
	v := r.Header.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

// Error is a call that brought no whole answer. It holds no URL, header or body.
type Error struct {
	// Sent reports that the server may have received the request.
	Sent bool
	// Err is the cause: matches context.DeadlineExceeded, *net.DNSError, *tls.CertificateVerificationError, …
	Err  error
	host string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.host, e.cause()) }

func (e *Error) Unwrap() error { return e.Err }

// Causes of our own.
var (
	ErrTooLarge = errors.New("the answer is larger than 1 MiB")
	ErrEncoding = errors.New("the answer is compressed, though that was not asked for")
)

func (e *Error) cause() string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.Is(e.Err, ErrTooLarge), errors.Is(e.Err, ErrEncoding):
		return e.Err.Error()
	case errors.Is(e.Err, ErrAddress):
		return ErrAddress.Error() + "; allow private addresses if that is meant"
	case errors.Is(e.Err, context.Canceled):
		return "the call was cancelled"
	case errors.Is(e.Err, context.DeadlineExceeded):
		return "no answer in time; check the network, a proxy, or the provider's status, then try again"
	case errors.As(e.Err, &dns):
		return "the host name cannot be resolved; check the network and the spelling"
	case errors.As(e.Err, &hostname):
		return "the server's certificate is for another name"
	case errors.As(e.Err, &cert):
		return "the server's certificate is not trusted; check the clock, or whether something intercepts TLS"
	case errors.As(e.Err, &record), errors.Is(e.Err, http.ErrSchemeMismatch):
		return "the server does not speak TLS on this port"
	case errors.As(e.Err, &alert):
		return "no TLS connection (" + alert.Error() + ")"
	case errors.As(e.Err, &op) && op.Op == "proxyconnect":
		return "no connection to the proxy (" + reason(op.Err) + "); check the proxy's settings, then try again"
	case errors.As(e.Err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return "no TLS connection (" + reason(op.Err) + ")"
	case errors.As(e.Err, &op) && op.Op == "dial":
		return "no connection (" + reason(op.Err) + "); check the network, a proxy, or the provider's status, then try again"
	case errors.Is(e.Err, io.EOF), errors.Is(e.Err, io.ErrUnexpectedEOF):
		return "the connection was closed before the whole answer arrived; try again"
	case errors.As(e.Err, &op):
		return "the connection broke (" + reason(op.Err) + "); try again"
	}
	return "the call failed"
}

// reason keeps an errno's text, which names no address.
func reason(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// NewRequest makes a request to https, or to http on a loopback address; which of these an issuer may name is decided where its
// metadata is read. A refusal matches [wire.ErrUnsafeURL] and does not hold the URL, as net/http's would.
func NewRequest(method, rawURL string, body io.Reader) (*http.Request, error) {
	u, err := wire.URLPolicy{LoopbackHTTP: true}.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, u.String(), body)
	if err != nil {
		return nil, wire.ErrUnsafeURL
	}
	return req, nil
}

// Do sends req once and reads the whole answer, of at most [MaxBody] bytes. A redirect is an answer, not followed. Every
// error is an [*Error].
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	if err := ctx.Err(); err != nil {
		return nil, &Error{Err: err, host: req.URL.Host} // not yet sent, which the trace could not tell
	}

	var sent, traced atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { traced.Store(true) },
		WroteHeaders: func() { sent.Store(true) },
	})
	fail := func(err error) error {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the wrapper's text holds the URL
		}
		e := &Error{Sent: sent.Load() || !traced.Load() && !before(err), Err: err, host: req.URL.Host}
		if ctx.Err() != nil && !errors.Is(err, context.Canceled) {
			e.Err = ctx.Err()
		}
		return e
	}

	req = req.Clone(ctx)
	if req.Header.Get("Accept-Encoding") == "" {
		req.Header.Set("Accept-Encoding", "identity")
	}
	client := http.Client{Transport: c.transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fail(err)
	}
	defer resp.Body.Close()
	sent.Store(true)
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") || resp.Uncompressed {
		return nil, fail(ErrEncoding)
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, fail(err)
	}
	if n > MaxBody {
		return nil, fail(ErrTooLarge)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body.Bytes()}, nil
}

// before reports an error that comes before anything is sent, for transports that report no trace.
func before(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	return errors.Is(err, ErrAddress) || errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, &dns) || errors.As(err, &cert)
}

func (c *Client) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}
