package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func TestCodeFlow(t *testing.T) {
	f := start(t)
	back := f.authorize()
	require.Equal(t, "no-store", back.Header.Get("Cache-Control"))
	p := back.params(t)
	require.Equal(t, "st&te", p.Get("state"))
	require.Equal(t, f.as.Issuer(), p.Get("iss"), "RFC 9207")
	require.Len(t, p, 3)

	got := f.post("/token", codeForm(p.Get("code"))).tokens(t)
	require.Equal(t, "Bearer", got.Type)
	require.Equal(t, allScopes, got.Scope)
	require.NotEmpty(t, got.Refresh)
	now := float64(f.clock.Now().Unix())
	claims := f.claims(got.ID)
	require.Equal(t, ath(got.Access)[:8], claims["at_hash"].(string)[:8])
	require.Len(t, claims["at_hash"], 22)
	delete(claims, "at_hash")
	require.Equal(t, map[string]any{
		"iss": f.as.Issuer(), "aud": "app", "azp": "app", "sub": "u1", "nonce": "n0", "acr": "pwd", "name": "Alice", "email": "alice@example.com", "team": "blue",
		"iat": now, "exp": now + 300, "auth_time": now,
	}, claims)
	require.True(t, f.as.Active(got.Access))
	require.True(t, f.as.Active(got.Refresh))
	require.Equal(t, 1, f.as.Alive())
	require.Equal(t, 1, f.as.Requests(authserver.Token))
	require.Equal(t, authserver.Stats{Logins: 1, CodesExchanged: 1}, f.as.Stats())
}

// Until the redirect URI is known to be good, an error is shown to the user and
// sent nowhere.
func TestAuthorizeShowsAndDoesNotRedirect(t *testing.T) {
	f := start(t)
	for name, pairs := range map[string][]string{
		"unknown client":         {"client_id", "nobody"},
		"no client":              {"client_id", ""},
		"no redirect_uri":        {"redirect_uri", ""},
		"another path":           {"redirect_uri", "http://127.0.0.1:49152/callback/"},
		"another case":           {"redirect_uri", "http://127.0.0.1:49152/Callback"},
		"a query":                {"redirect_uri", callback + "?a=b"},
		"a fragment":             {"redirect_uri", callback + "#a"},
		"https on loopback":      {"redirect_uri", "https://127.0.0.1:49152/callback"},
		"userinfo":               {"redirect_uri", "http://a@127.0.0.1:49152/callback"},
		"another loopback":       {"redirect_uri", "http://127.0.0.2:49152/callback"},
		"localhost unregistered": {"redirect_uri", "http://localhost:49152/callback"},
		"a name like it":         {"redirect_uri", "http://127.0.0.1.evil.example:49152/callback"},
		"userinfo as port":       {"redirect_uri", "http://127.0.0.1:1@evil.example/callback"},
		"no such port":           {"redirect_uri", "http://127.0.0.1:99999/callback"},
		"port 0":                 {"redirect_uri", "http://127.0.0.1:0/callback"},
		"long spelling":          {"redirect_uri", "http://[0:0:0:0:0:0:0:1]:49152/callback"},
		"no brackets":            {"redirect_uri", "http://::1/callback"},
		"a port on https":        {"redirect_uri", "https://app.example:8443/cb"},
		"unknown request_uri":    {"request_uri", "urn:ietf:params:oauth:request_uri:x"},
		"foreign request_uri":    {"request_uri", "https://evil.example/r"},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.authorize(pairs...)
			require.Equal(t, 400, got.StatusCode)
			require.Empty(t, got.Header.Get("Location"))
			require.NotContains(t, got.Body, "evil.example", "nothing foreign is reflected")
			require.NotContains(t, got.Body, "<form")
		})
	}
	require.Zero(t, f.as.Stats().Logins)
	got := f.get("/authorize?" + authForm().Encode() + "&state=again")
	require.Equal(t, 400, got.StatusCode, "a repeated parameter")
	got = f.get("/authorize?" + authForm().Encode() + "&a=%zz")
	require.Equal(t, 400, got.StatusCode)
}

func TestAnyLoopbackPort(t *testing.T) {
	f := start(t, func(c *authserver.Config) {
		c.Clients[0].RedirectURIs = append(c.Clients[0].RedirectURIs, "http://localhost/callback", "http://127.0.0.1:8080/fixed?x=1")
	})
	for _, uri := range []string{
		"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:5000/callback", "http://[::1]/callback",
		"http://localhost:5000/callback", "http://127.0.0.1:9/fixed?x=1", "https://app.example/cb", "com.example.app:/cb",
	} {
		got := f.authorize("redirect_uri", uri)
		p := got.params(t)
		require.NotEmpty(t, p.Get("code"), uri)
		require.Contains(t, got.Header.Get("Location"), uri)
		f.post("/token", codeForm(p.Get("code"), "redirect_uri", uri)).tokens(t)
	}
}

func TestAuthorizeRefusals(t *testing.T) {
	f := start(t, func(c *authserver.Config) {
		c.Scopes = []string{"openid", "profile"}
		c.Resources = []string{"https://api.example"}
		c.Clients = append(c.Clients, authserver.Client{ID: "devices", RedirectURIs: []string{callback}, Grants: []string{"urn:ietf:params:oauth:grant-type:device_code"}})
	})
	for name, c := range map[string]struct {
		want  string
		pairs []string
	}{
		"S25 plain":              {"invalid_request", []string{"code_challenge_method", "plain", "code_challenge", verifier}},
		"S25 no method is plain": {"invalid_request", []string{"code_challenge_method", ""}},
		"S25 s256":               {"invalid_request", []string{"code_challenge_method", "s256"}},
		"no challenge":           {"invalid_request", []string{"code_challenge", ""}},
		"short challenge":        {"invalid_request", []string{"code_challenge", challenge[1:]}},
		"padded challenge":       {"invalid_request", []string{"code_challenge", challenge[1:] + "="}},
		"no response_type":       {"invalid_request", []string{"response_type", ""}},
		"S31 token":              {"unsupported_response_type", []string{"response_type", "token"}},
		"S31 hybrid":             {"unsupported_response_type", []string{"response_type", "code id_token"}},
		"fragment":               {"invalid_request", []string{"response_mode", "fragment"}},
		"request object":         {"request_not_supported", []string{"request", "e30.e30."}},
		"registration":           {"registration_not_supported", []string{"registration", "{}"}},
		"prompt none and login":  {"invalid_request", []string{"prompt", "none login"}},
		"prompt unknown":         {"invalid_request", []string{"prompt", "magic"}},
		"max_age":                {"invalid_request", []string{"max_age", "-1"}},
		"claims":                 {"invalid_request", []string{"claims", `{"id_token":[]}`}},
		"claims twice":           {"invalid_request", []string{"claims", `{"id_token":{},"id_token":{}}`}},
		"id_token_hint":          {"invalid_request", []string{"id_token_hint", "a.b.c"}},
		"dpop_jkt":               {"invalid_request", []string{"dpop_jkt", "x"}},
		"scope characters":       {"invalid_scope", []string{"scope", `open"id`}},
		"no scope available":     {"invalid_scope", []string{"scope", "admin"}},
		"S34 resource":           {"invalid_target", []string{"resource", "https://evil.example"}},
		"S34 relative":           {"invalid_target", []string{"resource", "api"}},
		"client's grants":        {"unauthorized_client", []string{"client_id", "devices"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := f.authorize(c.pairs...).params(t)
			require.Equal(t, c.want, p.Get("error"), p)
			require.Equal(t, "st&te", p.Get("state"))
			require.Equal(t, f.as.Issuer(), p.Get("iss"), "errors have it too")
			require.Empty(t, p.Get("code"))
		})
	}
	require.Equal(t, 405, f.do(f.request("DELETE", "/authorize", "")).StatusCode)
	require.Equal(t, 405, f.do(f.request("HEAD", "/authorize?"+authForm().Encode(), "")).StatusCode)
	require.NotEmpty(t, f.post("/authorize", authForm()).params(t).Get("code"), "OpenID Connect Core §3.1.2.1: POST too")
}

func TestFormPost(t *testing.T) {
	f := start(t)
	got := f.authorize("response_mode", "form_post", "state", `"><script>alert(1)</script>`)
	require.Equal(t, 200, got.StatusCode)
	require.Contains(t, got.Body, `action="`+callback+`"`)
	require.Contains(t, got.Body, `name="code"`)
	require.Contains(t, got.Body, `name="iss"`)
	require.NotContains(t, got.Body, "<script>alert")
	require.Contains(t, got.Header.Get("Content-Security-Policy"), "script-src 'sha256-")
	require.Contains(t, f.authorize("response_mode", "form_post", "prompt", "none").Body, `value="login_required"`)
}

// Each attempt but another client's uses the code up.
func TestCodeRefusals(t *testing.T) {
	f := start(t)
	for name, c := range map[string]struct {
		want  string
		used  bool // afterwards
		pairs []string
	}{
		"S27 wrong verifier":    {"invalid_grant", true, []string{"code_verifier", "x" + verifier[1:]}},
		"S27 no verifier":       {"invalid_request", false, []string{"code_verifier", ""}},
		"S27 challenge as such": {"invalid_grant", true, []string{"code_verifier", challenge}},
		"S24 short verifier":    {"invalid_request", false, []string{"code_verifier", verifier[1:]}},
		"S24 padded verifier":   {"invalid_request", false, []string{"code_verifier", verifier[1:] + "="}},
		"S28 another port":      {"invalid_grant", true, []string{"redirect_uri", "http://127.0.0.1:49153/callback"}},
		"S28 no redirect_uri":   {"invalid_request", false, []string{"redirect_uri", ""}},
		"another client":        {"invalid_grant", false, []string{"client_id", "other"}},
		"no such code":          {"invalid_grant", false, []string{"code", "ac_x"}},
		"no code":               {"invalid_request", false, []string{"code", ""}},
		"no grant_type":         {"invalid_request", false, []string{"grant_type", ""}},
		"S31 password":          {"unsupported_grant_type", false, []string{"grant_type", "password", "username", "alice"}},
		"S34 resource":          {"invalid_target", true, []string{"resource", "https://api.example"}},
		"two authentications":   {"invalid_request", false, []string{"client_secret", "a", "client_assertion", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			code := f.code()
			f.post("/token", codeForm(code, c.pairs...)).refused(t, 400, c.want)
			if c.used {
				f.post("/token", codeForm(code)).refused(t, 400, "invalid_grant")
			} else {
				f.post("/token", codeForm(code)).tokens(t)
			}
		})
	}
}

func TestCodeReuseRevokesTheFamily(t *testing.T) {
	f := start(t)
	code := f.code()
	got := f.post("/token", codeForm(code)).tokens(t)
	next := f.post("/token", refreshForm(got.Refresh)).tokens(t)
	f.post("/token", codeForm(code, "client_id", "other")).refused(t, 400, "invalid_grant")
	require.True(t, f.as.Active(next.Access), "another client's attempt ends nothing")

	f.clock.Advance(2 * time.Minute) // beyond the code's own life
	f.post("/token", codeForm(code)).refused(t, 400, "invalid_grant")
	require.False(t, f.as.Active(next.Access))
	f.post("/token", refreshForm(next.Refresh)).refused(t, 400, "invalid_grant")
	require.Equal(t, 1, f.as.Stats().CodesReused)
	require.Equal(t, 1, f.as.Stats().FamiliesRevoked)
	require.Zero(t, f.as.Alive())
}

func TestCodeExpires(t *testing.T) {
	f := start(t)
	code, late := f.code(), f.code()
	f.clock.Advance(59 * time.Second)
	f.post("/token", codeForm(code)).tokens(t)
	f.clock.Advance(time.Second)
	f.post("/token", codeForm(late)).refused(t, 400, "invalid_grant")
}

// How the request is sent, which parsers read differently.
func TestTokenRequestForm(t *testing.T) {
	f := start(t)
	send := func(body, contentType string, target string) answer {
		req := f.request("POST", target, body)
		req.Header.Set("Content-Type", contentType)
		return f.do(req)
	}
	const form = "application/x-www-form-urlencoded"
	good := codeForm("ac_x").Encode()
	send(good, form+";charset=UTF-8", "/token").refused(t, 400, "invalid_grant")
	send(good, "application/json", "/token").refused(t, 400, "invalid_request")
	send(good, "", "/token").refused(t, 400, "invalid_request")
	send(good+"&code=ac_y", form, "/token").refused(t, 400, "invalid_request")
	send(good+"&a=%zz", form, "/token").refused(t, 400, "invalid_request")
	send("", form, "/token?"+good).refused(t, 400, "invalid_request") // S55
	send(good+"&a="+string(make([]byte, 70<<10)), form, "/token").refused(t, 400, "invalid_request")
	require.Equal(t, 405, f.get("/token").StatusCode)
	require.Equal(t, "POST", f.get("/token").Header.Get("Allow"))
	require.Equal(t, 404, f.get("/token/").StatusCode)
}

// A page on a name that was rebound to this address is refused.
func TestHostIsTheIssuers(t *testing.T) {
	f := start(t)
	for _, host := range []string{"evil.example", "127.0.0.1", "localhost:" + f.http.URL[len("http://127.0.0.1:"):]} {
		req := f.request("GET", "/authorize?"+authForm().Encode(), "")
		req.Host = host
		require.Equal(t, 421, f.do(req).StatusCode, host)
	}
}

func TestLongRequestsAreRefused(t *testing.T) {
	f := start(t)
	require.Equal(t, 400, f.authorize("nonce", strings.Repeat("x", 8<<10+1)).StatusCode)
	require.Equal(t, 400, f.get("/authorize?"+authForm().Encode()+strings.Repeat("&x"+strings.Repeat("y", 1000)+"=1", 17)).StatusCode)
	require.NotEmpty(t, f.code("nonce", strings.Repeat("x", 8<<10)))
}

func TestDenyIsOnce(t *testing.T) {
	f := start(t)
	f.as.Deny()
	require.Equal(t, "login_required", f.authorize("prompt", "none").params(t).Get("error"), "nobody was asked")
	require.Equal(t, "access_denied", f.authorize().params(t).Get("error"))
	f.code()
}

func TestScopesAreNarrowed(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.Scopes = []string{"openid", "email"} })
	got := f.login()
	require.Equal(t, "openid email", got.Scope, "S33")
	require.Empty(t, got.Refresh, "offline_access was not granted")
	require.NotContains(t, f.claims(got.ID), "name")
	require.Empty(t, start(t).login("scope", "profile").ID, "no openid, no ID token")
}

func TestClientAuthentication(t *testing.T) {
	f := start(t)
	basic := func(user, pass string) string {
		req, _ := http.NewRequest("GET", "http://x", nil)
		req.SetBasicAuth(user, pass)
		return req.Header.Get("Authorization")
	}
	raw := secretOfApp.Reveal()
	encoded := url.QueryEscape(raw)
	for name, c := range map[string]struct {
		ok      bool
		pairs   []string
		headers []string
	}{
		"basic":                       {true, []string{"client_id", ""}, []string{"Authorization", basic("basic", encoded)}},
		"basic and client_id":         {true, []string{"client_id", "basic"}, []string{"Authorization", basic("basic", encoded)}},
		"basic not encoded":           {false, []string{"client_id", ""}, []string{"Authorization", basic("basic", raw)}},
		"basic wrong":                 {false, []string{"client_id", ""}, []string{"Authorization", basic("basic", "x")}},
		"basic empty":                 {false, []string{"client_id", ""}, []string{"Authorization", basic("basic", "")}},
		"basic for another":           {false, []string{"client_id", "post"}, []string{"Authorization", basic("basic", encoded)}},
		"S48 basic of a public one":   {false, []string{"client_id", ""}, []string{"Authorization", basic("app", "")}},
		"basic registered, post used": {false, []string{"client_id", "basic", "client_secret", raw}, nil},
		"basic registered, none used": {false, []string{"client_id", "basic"}, nil},
		"two headers":                 {false, []string{"client_id", ""}, []string{"Authorization", basic("basic", encoded), "Authorization", basic("basic", encoded)}},
		"bearer":                      {false, []string{"client_id", ""}, []string{"Authorization", "Bearer x"}},
		"post":                        {true, []string{"client_id", "post", "client_secret", raw}, nil},
		"post wrong":                  {false, []string{"client_id", "post", "client_secret", "x"}, nil},
		"secret of a public one":      {false, []string{"client_id", "app", "client_secret", "x"}, nil},
		"unknown":                     {false, []string{"client_id", "nobody"}, nil},
		"nobody":                      {false, []string{"client_id", ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			id := "post"
			if c.headers != nil {
				id = "basic"
			}
			got := f.post("/token", codeForm(f.code("client_id", id), c.pairs...), c.headers...)
			if c.ok {
				got.tokens(t)
				return
			}
			got.refused(t, 401, "invalid_client")
			require.Equal(t, c.headers != nil, got.Header.Get("WWW-Authenticate") != "", "RFC 6749 §5.2")
		})
	}
}
