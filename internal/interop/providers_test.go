package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nativeoauth/nativeoauth/internal/interop/browser"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// These tests check the fixtures with plain net/http and x/oauth2. If a test of
// the SDK fails, they tell whether the SDK or the provider is wrong.

func TestOIDCProviderRotatesAndDetectsReuse(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	cfg := plainConfig(t, p.Issuer)
	token := plainLogin(t, cfg, p.steps("alice")...)
	require.NotEmpty(t, token.RefreshToken)
	require.Equal(t, http.StatusOK, userinfo(t, p.Issuer+"/me", token))

	second, err := refresh(cfg, token.RefreshToken)
	require.NoError(t, err)
	require.NotEqual(t, token.RefreshToken, second.RefreshToken, "refresh tokens rotate")

	_, err = refresh(cfg, token.RefreshToken)
	requireCode(t, err, "invalid_grant")
	_, err = refresh(cfg, second.RefreshToken)
	requireCode(t, err, "invalid_grant") // the reuse above ended the whole family
	require.Len(t, p.Requests("token", "refresh_token"), 3)
}

func TestOIDCProviderRequiresPKCE(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	resp := get(t, p.Issuer+"/auth?"+url.Values{
		"client_id": {NativeClient}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {"http://127.0.0.1:4242/callback"}, "state": {"s"},
	}.Encode())
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	answer, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:4242", answer.Host, "any port of the registered loopback address will do")
	require.Equal(t, "invalid_request", answer.Query().Get("error"))
	require.Contains(t, answer.Query().Get("error_description"), "PKCE")
	require.Equal(t, p.Issuer, answer.Query().Get("iss"), "RFC 9207")
}

func TestOIDCProviderLifetimes(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{AccessToken: 2 * time.Second})
	cfg := plainConfig(t, p.Issuer)
	token := plainLogin(t, cfg, p.steps("alice")...)
	require.LessOrEqual(t, time.Until(token.Expiry), 2*time.Second)
	p.SetAccessToken(time.Hour)
	second, err := refresh(cfg, token.RefreshToken)
	require.NoError(t, err)
	require.Greater(t, time.Until(second.Expiry), 50*time.Minute)
	require.Eventually(t, func() bool { return userinfo(t, p.Issuer+"/me", token) == http.StatusUnauthorized },
		time.Minute, 200*time.Millisecond, "the first token expires")
}

func TestOIDCProviderRevokesAndIntrospects(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	cfg := plainConfig(t, p.Issuer)
	token := plainLogin(t, cfg, p.steps("alice")...)
	var answer struct{ Active bool }
	post(t, p.Issuer+"/token/introspection", url.Values{"client_id": {NativeClient}, "token": {token.RefreshToken}}, http.StatusOK, &answer)
	require.True(t, answer.Active)
	post(t, p.Issuer+"/token/revocation", url.Values{"client_id": {NativeClient}, "token": {token.RefreshToken}}, http.StatusOK, nil)
	post(t, p.Issuer+"/token/introspection", url.Values{"client_id": {NativeClient}, "token": {token.RefreshToken}}, http.StatusOK, &answer)
	require.False(t, answer.Active)
	require.Equal(t, http.StatusUnauthorized, userinfo(t, p.Issuer+"/me", token), "the grant is gone, and its access token with it")
	require.Contains(t, p.Events(), Event{Event: "grant.revoked"})
}

func TestOIDCProviderDeviceFlow(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	cfg := plainConfig(t, p.Issuer)
	device, err := cfg.DeviceAuth(t.Context(), prompt)
	require.NoError(t, err)
	b := browser.New(t)
	b.Open(device.VerificationURIComplete)
	b.Drive(browser.Click(`button[form="op.deviceConfirmForm"][autofocus]`))
	b.Continue(p.steps("alice")...)
	b.Continue(browser.See("Sign-in Success"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	token, err := cfg.DeviceAccessToken(ctx, device)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, userinfo(t, p.Issuer+"/me", token))
}

func TestOIDCProviderRegisters(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	body := `{"application_type":"native","token_endpoint_auth_method":"none","redirect_uris":["http://127.0.0.1/cb"]}`
	resp, err := http.Post(p.Issuer+"/reg", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	var client struct {
		ID string `json:"client_id"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&client))
	require.NotEmpty(t, client.ID)
}

// The FAPI-like configuration: only pushed requests are accepted, and only
// proofs with the server's nonce.
func TestOIDCProviderRequiresPARAndDPoP(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{RequirePAR: true, RequireDPoP: true})
	cfg := plainConfig(t, p.Issuer)

	resp := get(t, cfg.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	answer, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, "invalid_request", answer.Query().Get("error"))

	answers := plainListen(t, cfg)
	verifier := oauth2.GenerateVerifier()
	authorization, err := url.Parse(cfg.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier), prompt))
	require.NoError(t, err)
	var pushed struct {
		RequestURI string `json:"request_uri"`
	}
	post(t, p.Issuer+"/request", authorization.Query(), http.StatusCreated, &pushed)

	code := plainAuthorize(t, answers, p.Issuer+"/auth?"+url.Values{"client_id": {NativeClient}, "request_uri": {pushed.RequestURI}}.Encode(),
		p.steps("alice")...)
	form := url.Values{"client_id": {NativeClient}, "grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {cfg.RedirectURL}, "code_verifier": {verifier}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)

	_, bare := dpopPost(t, p.Issuer+"/token", form, nil, "")
	require.Equal(t, "invalid_grant", bare.Error) // and the code is not consumed by it
	header, first := dpopPost(t, p.Issuer+"/token", form, key, "")
	require.Equal(t, "use_dpop_nonce", first.Error)
	_, second := dpopPost(t, p.Issuer+"/token", form, key, header.Get("DPoP-Nonce"))
	require.Empty(t, second.Error)
	require.Equal(t, "DPoP", second.TokenType)
}

func TestOIDCProviderOnIPv6(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	p := StartOIDCProvider(t, Options{Host: "::1"})
	resp := get(t, p.Issuer+"/auth?"+url.Values{"client_id": {NativeClient}, "response_type": {"code"}, "scope": {"openid"},
		"redirect_uri": {"http://[::1]:4242/callback"}}.Encode())
	answer, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, "[::1]:4242", answer.Host)
}

func TestZitadelRotates(t *testing.T) {
	t.Parallel()
	z := StartZitadel(t, 3*time.Second)
	cfg := plainConfig(t, z.Issuer)
	token := plainLogin(t, cfg, z.SignIn()...)
	require.LessOrEqual(t, time.Until(token.Expiry), 3*time.Second)
	require.Equal(t, http.StatusOK, userinfo(t, z.Issuer+"/userinfo", token))
	second, err := refresh(cfg, token.RefreshToken)
	require.NoError(t, err)
	require.NotEqual(t, token.RefreshToken, second.RefreshToken)
	_, err = refresh(cfg, token.RefreshToken)
	require.Error(t, err)
	require.Equal(t, 3, z.Requests("/oauth/token"))
}

// A second page in the same browser: the user is signed in by now, so only the
// consent page comes.
func TestBrowserIsSharedByLogins(t *testing.T) {
	t.Parallel()
	p := StartOIDCProvider(t, Options{})
	b := browser.New(t)
	for _, steps := range [][]browser.Step{p.steps("alice"), {p.Consent()}} {
		verifier := oauth2.GenerateVerifier()
		cfg := plainConfig(t, p.Issuer)
		answers := plainListen(t, cfg)
		b.Open(cfg.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), prompt))
		b.Drive(append(steps, browser.See("caught"))...)
		_, err := cfg.Exchange(t.Context(), (<-answers).Get("code"), oauth2.VerifierOption(verifier))
		require.NoError(t, err)
	}
}

// steps are the login page and the consent page.
func (p *OIDCProvider) steps(user string) []browser.Step { return append(p.SignIn(user), p.Consent()) }

// needIPv6 skips the test if there is no [::1], as in many containers.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("skipped: this machine has no IPv6 loopback")
	}
	l.Close()
}

func plainConfig(t *testing.T, issuer string) *oauth2.Config {
	t.Helper()
	resp := get(t, issuer+"/.well-known/openid-configuration")
	var metadata struct {
		Issuer        string
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Device        string `json:"device_authorization_endpoint"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&metadata))
	require.Equal(t, issuer, metadata.Issuer)
	return &oauth2.Config{
		ClientID:    NativeClient,
		RedirectURL: "http://127.0.0.1:4242/callback", // until there is a listener
		Scopes:      []string{"openid", "offline_access", "profile"},
		Endpoint: oauth2.Endpoint{AuthURL: metadata.Authorization, TokenURL: metadata.Token,
			DeviceAuthURL: metadata.Device, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// plainListen serves cfg's redirect URI and passes on the requests that come
// there.
func plainListen(t *testing.T, cfg *oauth2.Config) <-chan url.Values {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.RedirectURL = "http://" + listener.Addr().String() + "/callback"
	answers := make(chan url.Values, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("caught"))
		answers <- r.URL.Query()
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return answers
}

// plainAuthorize opens authURL in a new Chromium, does the steps there, and
// returns the code that comes to answers.
func plainAuthorize(t *testing.T, answers <-chan url.Values, authURL string, steps ...browser.Step) (code string) {
	t.Helper()
	b := browser.New(t)
	b.Open(authURL)
	b.Drive(append(steps, browser.See("caught"))...)
	answer := <-answers
	require.Equal(t, "the-state", answer.Get("state"))
	return answer.Get("code")
}

func plainLogin(t *testing.T, cfg *oauth2.Config, steps ...browser.Step) *oauth2.Token {
	t.Helper()
	answers := plainListen(t, cfg)
	verifier := oauth2.GenerateVerifier()
	code := plainAuthorize(t, answers, cfg.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier), prompt), steps...)
	token, err := cfg.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	return token
}

// prompt makes oidc-provider issue a refresh token.
var prompt = oauth2.SetAuthURLParam("prompt", "consent")

func refresh(cfg *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	return cfg.TokenSource(context.Background(), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func requireCode(t *testing.T, err error, code string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.ErrorCode)
}

func userinfo(t *testing.T, endpoint string, token *oauth2.Token) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
	require.NoError(t, err)
	token.SetAuthHeader(req)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// get does not follow redirects.
func get(t *testing.T, url string) *http.Response {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(url)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func post(t *testing.T, endpoint string, form url.Values, status int, into any) {
	t.Helper()
	resp, err := http.PostForm(endpoint, form)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, status, resp.StatusCode)
	if into != nil {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
	}
}

type tokenAnswer struct {
	TokenType string `json:"token_type"`
	Error     string
}

// dpopPost posts form with a proof by key (RFC 9449), or without one if key is
// nil.
func dpopPost(t *testing.T, endpoint string, form url.Values, key *ecdsa.PrivateKey, nonce string) (http.Header, tokenAnswer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != nil {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
			(&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		require.NoError(t, err)
		id := sha256.Sum256([]byte(nonce + time.Now().String()))
		claims := map[string]any{"jti": base64.RawURLEncoding.EncodeToString(id[:]), "htm": "POST", "htu": endpoint, "iat": time.Now().Unix()}
		if nonce != "" {
			claims["nonce"] = nonce
		}
		proof, err := jwt.Signed(signer).Claims(claims).Serialize()
		require.NoError(t, err)
		req.Header.Set("DPoP", proof)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer tokenAnswer
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return resp.Header, answer
}
