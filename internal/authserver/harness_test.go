package authserver_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	callback  = "http://127.0.0.1:49152/callback"
	allScopes = "openid profile email offline_access"
)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fixture is a server with hand-written requests to it.
type fixture struct {
	t     *testing.T
	as    *authserver.Server
	http  *httptest.Server
	clock *clock
}

var secretOfApp = wire.NewSecret("s3cr3t with spaces & +")

func start(t *testing.T, change ...func(*authserver.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: &clock{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	f.http = httptest.NewUnstartedServer(nil)
	cfg := authserver.Config{
		Issuer: "http://" + f.http.Listener.Addr().String(),
		Clients: []authserver.Client{
			{
				ID: "app", Name: "The App",
				RedirectURIs:           []string{"http://127.0.0.1/callback", "http://[::1]/callback", "https://app.example/cb", "com.example.app:/cb"},
				PostLogoutRedirectURIs: []string{"http://127.0.0.1/bye"},
			},
			{ID: "codeonly", Grants: []string{"authorization_code"}},
			{ID: "other", RedirectURIs: []string{"http://127.0.0.1/callback"}},
			{ID: "basic", Auth: authserver.AuthBasic, Secret: secretOfApp, RedirectURIs: []string{"http://127.0.0.1/callback"}},
			{ID: "post", Auth: authserver.AuthPost, Secret: secretOfApp, RedirectURIs: []string{"http://127.0.0.1/callback"}},
		},
		Users: map[string]map[string]any{
			"alice": {"sub": "u1", "name": "Alice", "email": "alice@example.com", "team": "blue"},
			"bob":   {"sub": "u2"},
		},
		AutoUser: "alice",
		Now:      f.clock.Now,
	}
	for _, c := range change {
		c(&cfg)
	}
	as, err := authserver.New(cfg)
	require.NoError(t, err)
	f.as = as
	f.http.Config.Handler = as
	f.http.Start()
	t.Cleanup(f.http.Close)
	return f
}

// answer is a response read whole.
type answer struct {
	*http.Response
	Body string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &v), a.Body)
	return v
}

// refused requires an error of a program's endpoint.
func (a answer) refused(t *testing.T, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.StatusCode, a.Body)
	require.Equal(t, code, a.json(t)["error"], a.Body)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
}

// params are the parameters with which the browser is sent back.
func (a answer) params(t *testing.T) url.Values {
	t.Helper()
	require.Contains(t, []int{302, 303}, a.StatusCode, a.Body)
	u, err := a.Location()
	require.NoError(t, err)
	return u.Query()
}

func (f *fixture) do(req *http.Request) answer {
	f.t.Helper()
	client := http.Client{
		Transport:     f.http.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return answer{resp, string(body)}
}

// request makes a request; headers come in pairs.
func (f *fixture) request(method, path, body string, headers ...string) *http.Request {
	f.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = f.http.URL + path
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, target, strings.NewReader(body))
	require.NoError(f.t, err)
	if method == "POST" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

func (f *fixture) get(path string, headers ...string) answer {
	f.t.Helper()
	return f.do(f.request("GET", path, "", headers...))
}

func (f *fixture) post(path string, form url.Values, headers ...string) answer {
	f.t.Helper()
	return f.do(f.request("POST", path, form.Encode(), headers...))
}

// with returns a copy of form with the pairs set; an empty value deletes.
func with(form url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for k, v := range form {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		if out.Del(pairs[i]); pairs[i+1] != "" {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out
}

func authForm(pairs ...string) url.Values {
	return with(url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "scope": {allScopes}, "state": {"st&te"}, "nonce": {"n0"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}, pairs...)
}

func (f *fixture) authorize(pairs ...string) answer {
	f.t.Helper()
	return f.get("/authorize?" + authForm(pairs...).Encode())
}

func (f *fixture) code(pairs ...string) string {
	f.t.Helper()
	p := f.authorize(pairs...).params(f.t)
	require.NotEmpty(f.t, p.Get("code"), p)
	return p.Get("code")
}

func codeForm(code string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"app"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}, pairs...)
}

func refreshForm(token string, pairs ...string) url.Values {
	return with(url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {token}}, pairs...)
}

// tokens are a token response that must be one.
type tokens struct {
	Access, Refresh, ID, Type, Scope string
}

func (a answer) tokens(t *testing.T) tokens {
	t.Helper()
	require.Equal(t, 200, a.StatusCode, a.Body)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	v := a.json(t)
	text := func(name string) string { s, _ := v[name].(string); return s }
	return tokens{text("access_token"), text("refresh_token"), text("id_token"), text("token_type"), text("scope")}
}

func (f *fixture) login(pairs ...string) tokens {
	f.t.Helper()
	return f.post("/token", codeForm(f.code(pairs...))).tokens(f.t)
}

// claims verifies a JWT with the published keys.
func (f *fixture) claims(raw string) map[string]any {
	f.t.Helper()
	var set jose.JSONWebKeySet
	require.NoError(f.t, json.Unmarshal([]byte(f.get("/jwks").Body), &set))
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA})
	require.NoError(f.t, err)
	keys := set.Key(jws.Signatures[0].Protected.KeyID)
	require.Len(f.t, keys, 1)
	require.Equal(f.t, keys[0].Algorithm, jws.Signatures[0].Protected.Algorithm)
	payload, err := jws.Verify(keys[0])
	require.NoError(f.t, err)
	var v map[string]any
	require.NoError(f.t, json.Unmarshal(payload, &v))
	return v
}

// prover makes DPoP proofs, good ones and others.
type prover struct {
	f   *fixture
	key *ecdsa.PrivateKey
}

func (f *fixture) prover() prover {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f.t, err)
	return prover{f, key}
}

func (p prover) jkt() string {
	sum, err := (&jose.JSONWebKey{Key: p.key.Public()}).Thumbprint(crypto.SHA256)
	require.NoError(p.f.t, err)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// proof signs a proof; the pairs change its claims, nil deletes. A claim "typ"
// changes the header.
func (p prover) proof(method, target string, pairs ...any) string {
	p.f.t.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": p.f.clock.Now().Unix()}
	typ := "dpop+jwt"
	embed := true
	for i := 0; i < len(pairs); i += 2 {
		switch name := pairs[i].(string); {
		case name == "typ":
			typ = pairs[i+1].(string)
		case name == "jwk":
			embed = false
		case pairs[i+1] == nil:
			delete(claims, name)
		default:
			claims[name] = pairs[i+1]
		}
	}
	return sign(p.f.t, p.key, typ, embed, claims)
}

func sign(t *testing.T, key *ecdsa.PrivateKey, typ string, embed bool, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(typ)))
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	jws, err := signer.Sign(payload)
	require.NoError(t, err)
	raw, err := jws.CompactSerialize()
	require.NoError(t, err)
	return raw
}

func ath(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
