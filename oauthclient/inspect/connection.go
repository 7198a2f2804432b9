package inspect

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oidc"
)

// connection reports on TLS and on the clock, as the first response showed them.
func (r *report) connection(w *witness, issuer string) {
	switch {
	case strings.HasPrefix(issuer, "http://"): // Discover accepts that on a loopback address only
		r.add("TLS", Note, "none: the issuer is on this machine")
	case w.tls == "":
		// No answer came; the metadata finding says so.
	default:
		r.add("TLS", OK, "%s", w.tls)
		r.certificates(w)
	}
	if w.date.IsZero() {
		return
	}
	// Date is in whole seconds, and the response took time: a difference of a few
	// seconds means nothing. A login judges ID tokens by the provider's clock.
	switch skew := w.at.Sub(w.date).Round(time.Second); {
	case skew.Abs() > oidc.MaxClockOffset:
		r.add("clock", Problem, "this machine's clock and the provider's differ by %s: "+
			"fresh ID tokens are refused; set the clock", skew.Abs())
	case skew.Abs() > time.Minute:
		r.add("clock", Warning, "this machine's clock and the provider's differ by %s: a login reckons "+
			"with that, but DPoP and a client key may be refused; set the clock", skew.Abs())
	case skew.Abs() > 10*time.Second:
		r.add("clock", Warning, "this machine's clock and the provider's differ by %s", skew.Abs())
	default:
		r.add("clock", OK, "this machine's clock and the provider's agree")
	}
}

// renewedBefore is how many days before its end a certificate should have been
// renewed. Automatic renewal comes about 30 days before; at 14 it has failed.
const renewedBefore = 14

// certificates reports when the chain ends that the server sent. It was verified
// before. It ends with the first of its certificates, which need not be the
// server's own.
func (r *report) certificates(w *witness) {
	if len(w.chain) == 0 {
		return
	}
	const area = "certificate"
	earlier := func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }
	ends := slices.MinFunc(w.chain, earlier).NotAfter
	on, days := ends.UTC().Format(time.DateOnly), int(ends.Sub(w.at).Hours()/24)
	subject, issuer := name(w.chain[0].Subject), name(w.chain[0].Issuer)
	of := fmt.Sprintf("of %s by %s, in a chain of %d", subject, issuer, len(w.chain))
	switch {
	case days < renewedBefore:
		r.add(area, Warning, "%s, ends in %d days, on %s", of, days, on)
	default:
		r.add(area, OK, "%s, until %s (%d days)", of, on, days)
	}
}

// name returns a short name for the subject or issuer of a certificate.
func name(n pkix.Name) string {
	// Recent certificates name hosts only in an extension.
	return cmp.Or(n.CommonName, n.String(), "no name")
}

// witness is a transport that keeps what the report needs and [oauth.Discover] does
// not return: the time and TLS state of the first response, and the document as
// it was sent, also if it is rejected. It is not safe for concurrent use.
type witness struct {
	base  http.RoundTripper
	now   func() time.Time
	apart string // Options.MetadataURL

	document []byte              // the last metadata document; nil: none was sent
	place    string              // the path that it was found at
	at, date time.Time           // of the first response: this machine's time, and its Date
	tls      string              // version and cipher suite; "": no TLS
	chain    []*x509.Certificate // as it was sent, the server's own first
}

// RoundTrip implements [http.RoundTripper].
func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if w.at.IsZero() {
		w.at = w.now()
		w.date, _ = http.ParseTime(resp.Header.Get("Date"))
		if s := resp.TLS; s != nil {
			w.tls = tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
			w.chain = s.PeerCertificates
		}
	}
	known := strings.Contains(req.URL.Path, "/.well-known/")
	if resp.StatusCode == http.StatusOK && (known || req.URL.String() == w.apart) {
		// One byte more than is allowed, so that Discover notices a larger document.
		body, err := io.ReadAll(io.LimitReader(resp.Body, fetch.MaxBody+1))
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		w.document, w.place = body, req.URL.EscapedPath()
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return resp, nil
}
