// Puts a failed call into words for an end user.
//
// The words say what to do next. They never hold a URL, header or body: an
// authorization code may be in each of them, and net/http's own words print
// URLs.

package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const checkNetwork = "check the network, a proxy, or the provider's status, then try again"

// cause puts e.Err into words.
func (e *Error) cause() string {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	var proxy *proxyError
	isOp := errors.As(e.Err, &op)
	switch {
	case errors.Is(e.Err, wire.ErrInvalidResponse):
		return e.Err.Error()
	case errors.Is(e.Err, ErrAddress):
		return ErrAddress.Error() + "; allow private addresses if that is meant"
	case errors.Is(e.Err, context.Canceled):
		return "the call was cancelled"
	case errors.Is(e.Err, context.DeadlineExceeded):
		return "no answer in time; " + checkNetwork
	case errors.As(e.Err, &proxy):
		return proxy.Error()
	case isOp && op.Op == "proxyconnect": // before DNS and TLS: the proxy's own are meant
		return "no connection to the proxy" + dialed(op.Err) + " (" + reason(op.Err) + "); " +
			"check the proxy's settings (HTTPS_PROXY), then try again"
	case errors.As(e.Err, &dns):
		return "the host name cannot be resolved; check the network and the spelling"
	case errors.As(e.Err, &record), errors.Is(e.Err, http.ErrSchemeMismatch):
		return "the server does not speak TLS on this port"
	case errors.As(e.Err, &alert):
		return "no TLS connection (" + alert.Error() + ")"
	case isOp && (op.Op == "remote error" || op.Op == "local error"):
		return "no TLS connection (" + reason(op.Err) + ")"
	case isOp && op.Op == "dial":
		return "no connection (" + reason(op.Err) + "); " + checkNetwork
	case errors.Is(e.Err, io.EOF), errors.Is(e.Err, io.ErrUnexpectedEOF):
		return "the connection was closed before the whole answer arrived; try again"
	case isOp:
		return "the connection broke (" + reason(op.Err) + "); try again"
	}
	if text := certificate(e.Err, runtime.GOOS); text != "" {
		return text
	}
	return "the call failed; try again"
}

// certificate puts a certificate that was refused into words. It returns "" if
// err is about something else. goos decides how a user trusts an authority.
func certificate(err error, goos string) string {
	var refused *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &hostname):
		return "the server's certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet; " +
			"check this computer's clock"
	case errors.As(err, &refused):
		return "the server's certificate is not trusted; something may intercept TLS. " +
			"If the server or a proxy uses a private authority, " + trustAuthority(goos)
	}
	return ""
}

// trustAuthority says how a user makes crypto/x509 trust an authority. On
// Windows and Apple's systems Go asks the system alone; elsewhere it also reads
// two variables.
func trustAuthority(goos string) string {
	switch goos {
	case "windows":
		return "add its certificate to \"Trusted Root Certification Authorities\" " +
			"in the certificate manager (certmgr.msc)"
	case "darwin", "ios":
		return "add its certificate to the keychain and trust it there (Keychain Access)"
	}
	return "add its certificate to the system's store, or name its PEM file in SSL_CERT_FILE " +
		"or the directory that holds it in SSL_CERT_DIR"
}

// dialed returns the name or address that could not be dialled, after a space,
// or "". It is for a proxy: the provider's host is in every message.
func dialed(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return " " + dns.Name
	case errors.As(err, &op) && op.Addr != nil:
		return " " + op.Addr.String()
	}
	return ""
}

// reason returns the innermost error's text. For the network that is an
// errno's, which names no address.
func reason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "its host name cannot be resolved"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
