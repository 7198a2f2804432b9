package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

const clientID = "bench"

// provider is a strict authorization server on this machine. terms add what the
// network and other providers would do to a client.
type provider struct {
	*authserver.Server
	Roots string // a PEM file with its certificate; "" without TLS

	shorten  atomic.Int64 // seconds; 0 means as the server says
	answered atomic.Int64 // Unix nanoseconds at which the authorization endpoint last answered
	mu       sync.Mutex
	conns    map[string]bool // connections that carried a request of the program, not of the browser
	close    []func()
}

type terms struct {
	RTT      time.Duration // added to each exchange; 0 means none, and plain HTTP
	Idle     time.Duration // the server closes a connection that is idle for longer; 0 means never
	Basic    bool          // accepts HTTP Basic without a password from a public client, as lenient providers do
	Lifetime time.Duration // the lifetime of access tokens
	Rotation authserver.Rotation
}

func startProvider(dir string, t terms) (*provider, error) {
	p := &provider{conns: map[string]bool{}}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	scheme, addr := "http", server.Addr().String()
	if t.RTT > 0 {
		scheme = "https"
		proxy, err := startDelay(addr, t.RTT)
		if err != nil {
			return nil, err
		}
		addr = proxy.Addr().String()
		p.close = append(p.close, func() { proxy.Close() })
	}
	p.Server, err = authserver.New(authserver.Config{
		Issuer: scheme + "://" + addr + "/adfs", // the only kind of authority that MSAL accepts on any host
		Clients: []authserver.Client{{ID: clientID, RedirectURIs: []string{
			"http://127.0.0.1/callback", "http://localhost/callback", "http://127.0.0.1", "http://localhost", "http://localhost/", "http://127.0.0.1/",
		}}},
		Users: map[string]map[string]any{"alice": {"name": "Alice"}}, AutoUser: "alice",
		AccessTokenLifetime: t.Lifetime, IDTokenLifetime: t.Lifetime, Rotation: t.Rotation,
		Misbehave: func(endpoint string, next http.Handler) http.Handler { return p.around(endpoint, next, t) },
	})
	if err != nil {
		return nil, err
	}
	hs := &http.Server{Handler: p.Server, IdleTimeout: t.Idle, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	p.close = append(p.close, func() { hs.Close() })
	if t.RTT == 0 {
		go func() { _ = hs.Serve(server) }()
		return p, nil
	}
	cert, roots, err := certificate()
	if err != nil {
		return nil, err
	}
	p.Roots = filepath.Join(dir, fmt.Sprintf("roots-%d.pem", server.Addr().(*net.TCPAddr).Port))
	if err := os.WriteFile(p.Roots, roots, 0o600); err != nil {
		return nil, err
	}
	hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	go func() { _ = hs.ServeTLS(server, "", "") }()
	return p, nil
}

func (p *provider) Close() {
	for _, c := range p.close {
		c()
	}
}

// around changes one endpoint as the terms say.
func (p *provider) around(endpoint string, next http.Handler, t terms) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch endpoint {
		case authserver.Authorize:
			defer func() { p.answered.Store(time.Now().UnixNano()) }()
		default:
			p.mu.Lock()
			p.conns[r.RemoteAddr] = true
			p.mu.Unlock()
		}
		if endpoint != authserver.Token {
			next.ServeHTTP(w, r)
			return
		}
		if user, password, ok := r.BasicAuth(); ok && password == "" && t.Basic {
			body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			form, _ := url.ParseQuery(string(body))
			form.Set("client_id", user)
			body = []byte(form.Encode())
			r.Header.Del("Authorization")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		seconds := p.shorten.Load()
		if seconds == 0 {
			next.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var answer map[string]any
		if rec.Code == http.StatusOK && json.Unmarshal(rec.Body.Bytes(), &answer) == nil {
			answer["expires_in"] = seconds
			rec.Body.Reset()
			_ = json.NewEncoder(rec.Body).Encode(answer)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

// connections returns the number of connections that the program has used since
// the last call.
func (p *provider) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns)
	clear(p.conns)
	return n
}

// requests returns the number of requests that the program has made so far, by
// endpoint.
func (p *provider) requests() (metadata, keys, token int) {
	return p.Requests(authserver.Metadata), p.Requests(authserver.JWKS), p.Requests(authserver.Token)
}

func certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// startDelay starts a proxy to addr that adds rtt to every exchange, half in
// each direction. A TCP handshake would cost one more. The kernel has made it
// at once, so the first bytes of the client are held for as long as the
// handshake would have taken.
func startDelay(addr string, rtt time.Duration) (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			established := time.Now().Add(rtt)
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			go delay(server, client, rtt/2, established)
			go delay(client, server, rtt/2, established)
		}
	}()
	return ln, nil
}

// delay copies from src to dst, each piece later by lag. It sends nothing
// before the connection is established.
func delay(dst, src net.Conn, lag time.Duration, established time.Time) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 32<<10)
			n, err := src.Read(buf)
			sent := time.Now()
			if sent.Before(established) {
				sent = established
			}
			pieces <- piece{buf[:n], sent.Add(lag)}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		sleep(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			break
		}
	}
	dst.Close()
	src.Close()
	for range pieces {
	}
}
