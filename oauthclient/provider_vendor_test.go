package oauthclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/oauthclient"
	"github.com/nativeoauth/nativeoauth/tokenstore"
)

// shape is how a provider answers, written down from its documentation and from answers of its own. The zero value of a field is what the
// RFCs say.
//
// The metadata were held, member by member, against copies of the published ones in public repositories: Entra's (both, and its keys: without
// alg, each naming its issuer), Google's, PayPal's and Slack's of October 2024 in panva/wellknown; Auth0's, Cognito's and Salesforce's in the
// tests of several other projects, and so Salesforce's token answer, whose issued_at is a string and which has no expires_in.
type shape struct {
	metadata     map[string]any                        // nil: there is none
	place        string                                // of the metadata; "": any /.well-known/openid-configuration
	iss          string                                // iss of the authorization response (RFC 9207)
	authorize    string                                // the URL of each endpoint
	token        string                                //
	device       string                                // answered by deviceAnswer
	jwks         string                                //
	api          string                                // takes the last access token, in any path under it
	redirect     func(*url.URL) bool                   // the redirect URIs that it takes; signsIn makes it from host and fixed
	host         string                                // "": 127.0.0.1
	fixed        bool                                  // the port is compared
	keys         []*josetest.Key                       //
	claims       map[string]any                        // of the ID token, besides aud, nonce, exp and iat
	signWith     *josetest.Key                         // nil: the first of keys
	answer       func(n int, form url.Values) recorded // the n-th token request, from 0
	deviceAnswer recorded
}

// recorded is one HTTP answer. In body, ID_TOKEN stands for a signed one.
type recorded struct {
	status int
	kind   string // "": application/json
	body   string
}

// vendor is a provider at its own names, over TLS, and the person's browser.
type vendor struct {
	t         *testing.T
	shape     shape
	transport *http.Transport

	mu             sync.Mutex
	nonce          string
	challenge      string
	authorizations []url.Values
	tokens         []tokenRequest
	refused        map[string]bool // access tokens that the API does not take any more
	calls          []string        // the tokens that the API was shown
	paths          []string        // every path that was asked for
}

type tokenRequest struct {
	header http.Header
	form   url.Values
}

func newVendor(t *testing.T, s shape) *vendor {
	t.Helper()
	w := &vendor{t: t, shape: s, refused: map[string]bool{}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	cert, roots := everyName(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	dialer := &net.Dialer{}
	w.transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(addr); host == "127.0.0.1" || host == "localhost" || host == "::1" {
				return dialer.DialContext(ctx, network, addr)
			}
			return dialer.DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
	}
	t.Cleanup(func() {
		w.transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return w
}

// everyName is a certificate for the providers' names, and the root that vouches for it.
func everyName(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{
			"github.com", "api.github.com", "login.microsoftonline.com", "graph.microsoft.com", "accounts.google.com", "oauth2.googleapis.com",
			"www.googleapis.com", "example.eu.auth0.com", "api.example.com", "login.salesforce.com", "example.my.salesforce.com", "www.paypal.com",
			"api-m.paypal.com", "api.paypal.com", "cognito-idp.eu-central-1.amazonaws.com", "example.auth.eu-central-1.amazoncognito.com", "slack.com",
			"contoso.b2clogin.com", tenant + ".ciamlogin.com", "example.okta.com", "keycloak.example.com", "auth.pingone.com", "adfs.example.com",
			"gitlab.com", "bitbucket.org", "api.bitbucket.org", "auth.atlassian.com", "www.linkedin.com", "api.linkedin.com", "accounts.spotify.com",
			"api.spotify.com", "discord.com", "www.dropbox.com", "api.dropboxapi.com", "zoom.us", "huggingface.co", "sts.googleapis.com", "storage.googleapis.com",
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// client is a client with a recipe's Config, at this provider. A port that a recipe fixes is another here, for tests run beside each other.
func (w *vendor) client(cfg oauthclient.Config) *oauthclient.Client {
	w.t.Helper()
	cfg.Transport, cfg.Store = w.transport, &tokenstore.Memory{}
	if cfg.Loopback.Addr == "127.0.0.1:8765" {
		cfg.Loopback.Addr = freeAddr(w.t)
	}
	var visits sync.WaitGroup
	w.t.Cleanup(visits.Wait)
	if cfg.UI.OpenURL == nil {
		cfg.UI.OpenURL = func(_ context.Context, page string) error {
			visits.Go(func() {
				browser := &http.Client{Transport: w.transport, Timeout: 30 * time.Second}
				if resp, err := browser.Get(page); err == nil {
					_ = resp.Body.Close()
				}
			})
			return nil
		}
	}
	return newClient(w.t, cfg)
}

// freeAddr is the address of a free port.
func freeAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", realparts.FreePort(t))
}

func (w *vendor) serve(rw http.ResponseWriter, r *http.Request) {
	at := "https://" + r.Host + r.URL.Path
	w.mu.Lock()
	w.paths = append(w.paths, at)
	w.mu.Unlock()
	switch {
	case w.shape.metadata != nil && (at == w.shape.place || w.shape.place == "" && strings.HasSuffix(at, "/.well-known/openid-configuration")):
		w.reply(rw, recorded{body: string(josetest.JSON(w.shape.metadata))})
	case at == w.shape.authorize:
		w.authorization(rw, r)
	case at == w.shape.token && r.Method == http.MethodPost:
		w.tokenRequest(rw, r)
	case at == w.shape.device && r.Method == http.MethodPost:
		w.reply(rw, w.shape.deviceAnswer)
	case at == w.shape.jwks:
		josetest.Handler(w.shape.keys...)(rw, r)
	case w.shape.api != "" && strings.HasPrefix(at, w.shape.api):
		w.resource(rw, r)
	default:
		http.NotFound(rw, r)
	}
}

func (w *vendor) reply(rw http.ResponseWriter, a recorded) {
	kind := a.kind
	if kind == "" {
		kind = "application/json; charset=utf-8"
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	rw.Header().Set("Content-Type", kind)
	rw.WriteHeader(a.status)
	_, _ = rw.Write([]byte(strings.ReplaceAll(a.body, "ID_TOKEN", w.idToken())))
}

func (w *vendor) authorization(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.mu.Lock()
	w.authorizations = append(w.authorizations, q)
	w.nonce, w.challenge = q.Get("nonce"), q.Get("code_challenge")
	w.mu.Unlock()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || !w.shape.redirect(back) {
		http.Error(rw, "redirect_uri_mismatch", http.StatusBadRequest)
		return
	}
	answer := back.Query()
	answer.Set("code", "the-code")
	answer.Set("state", q.Get("state"))
	if w.shape.iss != "" {
		answer.Set("iss", w.shape.iss)
	}
	back.RawQuery = answer.Encode()
	http.Redirect(rw, r, back.String(), http.StatusFound)
}

func (w *vendor) tokenRequest(rw http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.mu.Lock()
	n, challenge := len(w.tokens), w.challenge
	w.tokens = append(w.tokens, tokenRequest{r.Header.Clone(), r.PostForm})
	w.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if r.PostForm.Get("grant_type") == "authorization_code" && base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		w.reply(rw, recorded{status: http.StatusBadRequest, body: `{"error":"invalid_grant","error_description":"PKCE"}`})
		return
	}
	w.reply(rw, w.shape.answer(n, r.PostForm))
}

func (w *vendor) resource(rw http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	w.mu.Lock()
	w.calls = append(w.calls, token)
	refused := w.refused[token]
	w.mu.Unlock()
	if refused {
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = rw.Write([]byte("{}"))
}

func (w *vendor) idToken() string {
	if len(w.shape.keys) == 0 {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	claims := map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	if w.nonce != "" {
		claims["nonce"] = w.nonce
	}
	for name, v := range w.shape.claims {
		if claims[name] = v; v == nil { // as LinkedIn's nonce
			delete(claims, name)
		}
	}
	key := w.shape.signWith
	if key == nil {
		key = w.shape.keys[0]
	}
	return key.Sign(claims)
}

// authorization is the only authorization request so far.
func (w *vendor) asked() url.Values {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(w.t, w.authorizations, 1)
	return w.authorizations[0]
}

// sent are the token requests so far.
func (w *vendor) sent() []tokenRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]tokenRequest(nil), w.tokens...)
}

// once makes the costly RSA keys, which are what providers sign with.
var rsaKey = sync.OnceValue(func() *josetest.Key { return josetest.New(panics{}, "RS256", "k1") })

// panics stands in for a test where none is at hand.
type panics struct{ testing.TB }

func (panics) Helper()           {}
func (panics) Fatal(args ...any) { panic(args) }

// parsed is a recorded document.
func parsed(t *testing.T, document string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(document), &m))
	return m
}

// loopbackAny takes host with any port, as RFC 8252 §7.3 has it.
func loopbackAny(host string) func(*url.URL) bool {
	return func(u *url.URL) bool {
		return u.Scheme == "http" && u.Hostname() == host && u.Path == "/callback" && u.RawQuery == ""
	}
}

// text is a request's body, and the body again.
func text(t *testing.T, r *http.Request) (string, io.ReadCloser) {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(data), io.NopCloser(bytes.NewReader(data))
}

func twice(t *testing.T, r *http.Request) (io.ReadCloser, io.ReadCloser) {
	t.Helper()
	data, again := text(t, r)
	return io.NopCloser(strings.NewReader(data)), again
}

// member is one member of a JSON object, as it stands there.
func member(t *testing.T, object, name string) string {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(object), &m))
	return string(m[name])
}
