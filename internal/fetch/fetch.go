// Sends one bounded HTTP request and reads its whole answer (RFC 9110).
//
// The server is not trusted: a redirect could carry a code or token to another
// host, an endless or compressed body could fill the memory, and a silent
// server could hold the program for ever.

package fetch

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
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

// Client makes bounded calls. The zero Client is ready. It is safe for
// concurrent use.
type Client struct {
	// Transport sends the requests. nil means http.DefaultTransport;
	// [NewTransport] is stricter.
	Transport http.RoundTripper
	// Timeout bounds a whole call. Zero means [Timeout].
	Timeout time.Duration
}

// NewTransport returns the transport for a program that configures none:
// proxies from the environment, TLS 1.2 or later, and pings on HTTP/2
// connections.
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
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
		OnProxyConnectResponse: proxyAnswered,
		// A provider drops idle connections while the user is in the browser.
		// With its session, the next one is made without certificates and
		// signatures.
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8),
		},
	}
}

// Response is an answer that arrived whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Format implements [fmt.Formatter]. A body may hold tokens, so it is never
// printed (S66).
func (r Response) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.text()) }

// LogValue implements [slog.LogValuer], as Format does for fmt.
func (r Response) LogValue() slog.Value { return slog.StringValue(r.text()) }

func (r Response) text() string { return fmt.Sprintf("HTTP %d, %d bytes", r.Status, len(r.Body)) }

// MediaType returns the media type without parameters, in lower case. It is ""
// if there is none.
func (r *Response) MediaType() string {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mt
}

// IsJSON reports whether the media type is application/json or
// application/<x>+json (RFC 6839 §3.1).
func (r *Response) IsJSON() bool {
	mt := r.MediaType()
	return mt == "application/json" ||
		strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json")
}

// RetryAfter reads the Retry-After header (RFC 9110 §10.2.3), a number of
// seconds or a date after now. It returns at most an hour, and 0 if there is no
// such header.
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

// Error is a call that brought no whole answer. It holds no URL, header or
// body. It is a failure of the network, which may pass, unless it matches
// wire.ErrInvalidResponse.
type Error struct {
	// Sent reports that the server may have received the request.
	Sent bool
	// Err is the cause, for example one that matches context.DeadlineExceeded,
	// *net.DNSError or *tls.CertificateVerificationError.
	Err  error
	host string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.host, e.cause()) }

func (e *Error) Unwrap() error { return e.Err }

// Causes that lie in the answer. They match wire.ErrInvalidResponse.
var (
	ErrTooLarge error = wire.Refusal("the answer is larger than 1 MiB")
	ErrEncoding error = wire.Refusal("the answer is compressed in a way that was not asked for")
)

// NewRequest makes a request to https, or to http on a loopback address. Which
// of these a provider may name is decided by oauth.Metadata.Check. A refusal
// matches [wire.ErrUnsafeURL] and does not hold the URL, as net/http's would.
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

// Do sends req once and reads the whole answer, of at most [MaxBody] bytes. An
// answer that is compressed with gzip, as some CDNs do unasked, is unpacked within
// that limit: it may have a rotated refresh token. A redirect is an answer and is not
// followed. Every error is an [*Error].
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	return c.do(ctx, req)
}

// Get is [Client.Do] for public documents: metadata and key sets, which providers
// serve as any other file. req is a GET without secrets. A redirect to the same
// origin is followed once (django-oauth-toolkit adds a slash), never one to
// another origin.
func (c *Client) Get(ctx context.Context, req *http.Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	resp, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	to := redirectWithin(req.URL, resp)
	if to == nil {
		return resp, nil
	}
	again := req.Clone(ctx)
	again.URL = to
	return c.do(ctx, again)
}

// redirectWithin returns the place in the origin of from that resp redirects to;
// nil: it redirects elsewhere or not at all.
func redirectWithin(from *url.URL, resp *Response) *url.URL {
	switch resp.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || to.User != nil || to.Opaque != "" || wire.Origin(to) != wire.Origin(from) {
		return nil
	}
	to.Fragment, to.RawFragment = "", ""
	return to
}

func (c *Client) timeout() time.Duration {
	if c.Timeout <= 0 {
		return Timeout
	}
	return c.Timeout
}

// do sends req until ctx ends.
func (c *Client) do(ctx context.Context, req *http.Request) (*Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Err: err, host: req.URL.Host} // not yet sent, for sure
	}

	// What net/http returns does not say whether the request left, so its trace
	// is used.
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
		if _, guarded := c.Transport.(*Guard); e.Sent && !guarded && timedOut(ctx) {
			closeIdle(c.transport()) // a Guard sees to that itself
		}
		return e
	}

	req = req.Clone(ctx)
	// Nothing is said about compression, because some firewalls refuse identity with 406.
	if req.Header.Get("Accept-Encoding") == "" && asksForGzip(c.transport()) {
		req.Header.Set("Accept-Encoding", "identity")
	}
	client := http.Client{
		Transport:     c.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fail(err)
	}
	defer resp.Body.Close()
	sent.Store(true)
	body, err := readAll(resp)
	if err != nil {
		return nil, fail(err)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// asksForGzip reports whether rt may ask for compression if the request says nothing
// about it, as net/http does. It then hides that an answer was compressed.
func asksForGzip(rt http.RoundTripper) bool {
	switch t := rt.(type) {
	case *Guard:
		return t.opaque != nil
	case *http.Transport:
		return !t.DisableCompression
	}
	return true
}

// readAll reads the body of resp, unless it is larger than [MaxBody], or compressed
// in another way. A small compressed body can unpack to any size, so the limit is for
// what comes out.
func readAll(resp *http.Response) ([]byte, error) {
	enc, from := resp.Header.Get("Content-Encoding"), io.Reader(resp.Body)
	if strings.EqualFold(enc, "gzip") {
		zipped, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, ErrEncoding
		}
		enc, from = "", zipped
	}
	if enc != "" && !strings.EqualFold(enc, "identity") || resp.Uncompressed {
		return nil, ErrEncoding
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(from, MaxBody+1))
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) {
		return nil, ErrEncoding
	}
	if err != nil {
		return nil, err
	}
	if n > MaxBody {
		return nil, ErrTooLarge
	}
	return body.Bytes(), nil
}

// before reports an error that comes before anything is sent. It is for
// transports that report no trace.
func before(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var proxy *proxyError
	switch {
	case errors.Is(err, ErrAddress), errors.As(err, &dns), errors.As(err, &cert), errors.As(err, &proxy):
		return true
	}
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

func (c *Client) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}
