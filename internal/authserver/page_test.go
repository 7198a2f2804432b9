package authserver_test

import (
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// browser keeps cookies.
type browser struct {
	f   *fixture
	jar http.CookieJar
}

func (f *fixture) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(f.t, err)
	return &browser{f, jar}
}

func (b *browser) do(req *http.Request) answer {
	b.f.t.Helper()
	for _, c := range b.jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	a := b.f.do(req)
	b.jar.SetCookies(req.URL, a.Cookies())
	return a
}

func (b *browser) get(path string) answer { b.f.t.Helper(); return b.do(b.f.request("GET", path, "")) }

func (b *browser) authorize(pairs ...string) answer {
	b.f.t.Helper()
	return b.get("/authorize?" + authForm(pairs...).Encode())
}

var interactionField = regexp.MustCompile(`name="interaction" value="([^"]+)"`)

func interaction(t *testing.T, page answer) string {
	t.Helper()
	m := interactionField.FindStringSubmatch(page.Body)
	require.NotNil(t, m, page.Body)
	return html.UnescapeString(m[1])
}

// decide presses a button of a page.
func (b *browser) decide(page answer, pairs ...string) answer {
	b.f.t.Helper()
	form := with(url.Values{"interaction": {interaction(b.f.t, page)}}, pairs...)
	return b.do(b.f.request("POST", "/decide", form.Encode(), "Sec-Fetch-Site", "same-origin"))
}

func TestSignInPage(t *testing.T) {
	f := start(t, byPage)
	b := f.browser()
	page := b.authorize("login_hint", `al"ice<b>`, "scope", "openid email offline_access custom:thing")
	require.Equal(t, 200, page.StatusCode)
	require.Contains(t, page.Body, "Sign in to The App")
	require.Contains(t, page.Body, "al&#34;ice&lt;b&gt;")
	require.Contains(t, page.Body, "See your email address")
	require.Contains(t, page.Body, "custom:thing")
	h := page.Header
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.NotContains(t, h.Get("Content-Security-Policy"), "script-src")
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	for _, c := range page.Cookies() {
		require.True(t, c.HttpOnly)
		require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	}

	page = b.decide(page, "action", "allow", "username", "mallory")
	require.Equal(t, 422, page.StatusCode)
	require.Contains(t, page.Body, "Nobody here")
	require.Contains(t, page.Body, `value="mallory"`)
	back := b.decide(page, "action", "allow", "username", " alice ")
	require.Equal(t, 303, back.StatusCode, "never 307 (S23)")
	got := f.post("/token", codeForm(back.params(t).Get("code"))).tokens(t)
	require.Equal(t, "u1", f.claims(got.ID)["sub"])
	require.Equal(t, 1, f.as.Sessions())

	// The second time nobody is prompted, unless the client wants more.
	require.NotEmpty(t, b.authorize("scope", "openid email").params(t).Get("code"))
	page = b.authorize("scope", "openid phone")
	require.Contains(t, page.Body, "Signed in as <strong>alice</strong>")
	require.Contains(t, page.Body, "Allow The App?")
	require.Equal(t, "access_denied", b.decide(page, "action", "deny").params(t).Get("error"))

	// "Not you?"
	page = b.decide(b.authorize("scope", "openid phone"), "action", "switch")
	require.NotContains(t, page.Body, "Signed in as")
	back = b.decide(page, "action", "allow", "username", "bob")
	got = f.post("/token", codeForm(back.params(t).Get("code"))).tokens(t)
	require.Equal(t, "u2", f.claims(got.ID)["sub"])
	require.Equal(t, 1, f.as.Sessions())
}

// Only the browser that got the page can answer, and only once.
func TestDecideRefusals(t *testing.T) {
	f := start(t, byPage)
	b := f.browser()
	form := func(page answer) string {
		return with(url.Values{"interaction": {interaction(t, page)}}, "action", "allow", "username", "alice").Encode()
	}
	require.Equal(t, 403, b.do(f.request("POST", "/decide", form(b.authorize()), "Sec-Fetch-Site", "cross-site")).StatusCode)
	require.Equal(t, 403, b.do(f.request("POST", "/decide", form(b.authorize()), "Origin", "https://evil.example")).StatusCode)
	require.Equal(t, 405, b.get("/decide").StatusCode)
	require.Equal(t, 400, f.browser().do(f.request("POST", "/decide", form(b.authorize()))).StatusCode, "no cookie")
	thief := f.browser()
	thief.authorize()
	require.Equal(t, 400, thief.do(f.request("POST", "/decide", form(b.authorize()))).StatusCode, "another browser's cookie")
	require.Equal(t, 400, b.do(f.request("POST", "/decide", "interaction=x&action=allow&username=alice")).StatusCode)

	page := b.authorize()
	require.Equal(t, 303, b.decide(page, "action", "allow", "username", "alice").StatusCode)
	require.Equal(t, 400, b.decide(page, "action", "allow", "username", "alice").StatusCode, "a second click")
	page = b.authorize("prompt", "login")
	f.clock.Advance(10 * time.Minute)
	require.Equal(t, 400, b.decide(page, "action", "allow", "username", "alice").StatusCode, "too old")
	require.Equal(t, "access_denied", b.decide(b.authorize("prompt", "login"), "username", "alice").params(t).Get("error"), "no clear yes is a no")

	page = b.authorize("prompt", "consent")
	require.Contains(t, page.Body, "Signed in as")
	f.as.EndSessions()
	page = b.decide(page, "action", "allow")
	require.Contains(t, page.Body, `name="username"`, "signed out meanwhile")
}

func TestPromptAndMaxAge(t *testing.T) {
	for name, auto := range map[string]bool{"page": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			b := f.browser()
			require.Equal(t, "login_required", b.authorize("prompt", "none").params(t).Get("error"))
			first := f.post("/token", codeForm(b.authorize().params(t).Get("code"))).tokens(t)
			if !auto {
				f.as.SetAutoUser("")
			}
			at := f.claims(first.ID)["auth_time"]
			asked := func(a answer) bool { // whether the user had to sign in
				t.Helper()
				if !auto {
					return a.StatusCode == 200
				}
				got := f.post("/token", codeForm(a.params(t).Get("code"))).tokens(t)
				again := f.claims(got.ID)["auth_time"] != at
				at = f.claims(got.ID)["auth_time"]
				return again
			}
			f.clock.Advance(100 * time.Second)
			require.NotEmpty(t, b.authorize("prompt", "none").params(t).Get("code"))
			require.Equal(t, "login_required", b.authorize("prompt", "none", "max_age", "99").params(t).Get("error"))
			require.Equal(t, "login_required", b.authorize("prompt", "none", "acr_values", "mfa").params(t).Get("error"))
			require.Equal(t, "login_required", b.authorize("prompt", "none", "claims", `{"id_token":{"acr":{"essential":true,"values":["mfa"]}}}`).params(t).Get("error"))
			require.NotEmpty(t, b.authorize("prompt", "none", "acr_values", "unknown pwd").params(t).Get("code"))
			require.NotEmpty(t, b.authorize("prompt", "none", "max_age", "100").params(t).Get("code"))
			require.NotEmpty(t, b.authorize("prompt", "none", "id_token_hint", first.ID).params(t).Get("code"))
			if !auto {
				require.Equal(t, "consent_required", b.authorize("prompt", "none", "scope", "openid phone").params(t).Get("error"))
			}
			require.False(t, asked(b.authorize()))
			require.True(t, asked(b.authorize("max_age", "99")))
			f.clock.Advance(time.Second)
			require.True(t, asked(b.authorize("max_age", "0")))
			f.clock.Advance(time.Second)
			require.True(t, asked(b.authorize("prompt", "login")))
			f.clock.Advance(time.Second)
			require.True(t, asked(b.authorize("acr_values", "mfa")))
			f.clock.Advance(13 * time.Hour)
			require.True(t, asked(b.authorize()), "the browser's session has ended")
		})
	}
}

func TestHintOfAnotherUser(t *testing.T) {
	f := start(t)
	alice := f.login()
	f.as.SetAutoUser("bob")
	b := f.browser()
	b.authorize()
	require.NotEmpty(t, b.authorize("prompt", "none").params(t).Get("code"))
	require.Equal(t, "login_required", b.authorize("prompt", "none", "id_token_hint", alice.ID).params(t).Get("error"))
}

func TestEndSession(t *testing.T) {
	f := start(t)
	b := f.browser()
	code := b.authorize().params(t).Get("code")
	got := f.post("/token", codeForm(code)).tokens(t)
	f.as.SetAutoUser("")
	end := func(pairs ...string) answer {
		t.Helper()
		return b.get("/end_session?" + with(nil, pairs...).Encode())
	}
	const bye = "http://127.0.0.1:5000/bye"
	for name, pairs := range map[string][]string{
		"S22 unregistered":  {"client_id", "app", "post_logout_redirect_uri", "https://evil.example/"},
		"S22 no client":     {"post_logout_redirect_uri", bye},
		"S22 other client":  {"client_id", "other", "post_logout_redirect_uri", bye},
		"unknown client":    {"client_id", "nobody"},
		"a forged hint":     {"id_token_hint", "a.b.c"},
		"hint of other one": {"id_token_hint", got.ID, "client_id", "other"},
		"a redirect_uri":    {"client_id", "app", "post_logout_redirect_uri", callback},
	} {
		require.Equal(t, 400, end(pairs...).StatusCode, name)
	}
	require.Equal(t, 1, f.as.Sessions())

	// Without a hint the user is prompted, because any page could have sent
	// them here.
	page := end("client_id", "app", "post_logout_redirect_uri", bye, "state", "x y")
	require.Equal(t, 200, page.StatusCode)
	require.Equal(t, 200, b.decide(page, "action", "deny").StatusCode)
	require.Equal(t, 1, f.as.Sessions())
	back := b.decide(end("client_id", "app", "post_logout_redirect_uri", bye, "state", "x y"), "action", "allow")
	require.Equal(t, bye+"?state=x+y", back.Header.Get("Location"))
	require.Zero(t, f.as.Sessions())
	require.True(t, f.as.Active(got.Refresh), "offline access goes on")

	f.as.SetAutoUser("alice")
	b.authorize()
	f.as.SetAutoUser("")
	f.clock.Advance(time.Hour) // an expired ID token will do
	require.Equal(t, bye, end("id_token_hint", got.ID, "post_logout_redirect_uri", bye).Header.Get("Location"))
	require.Zero(t, f.as.Sessions())
	require.Contains(t, end().Body, "Signed out")
}

func TestPAR(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.RequirePAR = true })
	require.Equal(t, "invalid_request", f.authorize().params(t).Get("error"), "S35")
	push := func(pairs ...string) string {
		t.Helper()
		a := f.post("/par", authForm(pairs...))
		require.Equal(t, 201, a.StatusCode, a.Body)
		require.EqualValues(t, 60, a.json(t)["expires_in"])
		return a.json(t)["request_uri"].(string)
	}
	open := func(uri string, pairs ...string) answer {
		return f.get("/authorize?" + with(url.Values{"client_id": {"app"}, "request_uri": {uri}}, pairs...).Encode())
	}
	uri := push()
	require.Equal(t, 400, open(uri, "client_id", "other").StatusCode)
	p := open(uri, "redirect_uri", "https://evil.example/", "scope", "admin").params(t)
	require.Equal(t, "st&te", p.Get("state"))
	require.Equal(t, allScopes, f.post("/token", codeForm(p.Get("code"))).tokens(t).Scope, "only what was pushed counts")
	require.Equal(t, 400, open(uri).StatusCode, "once")
	late := push()
	f.clock.Advance(time.Minute)
	require.Equal(t, 400, open(late).StatusCode)
	require.Equal(t, "login_required", open(push("prompt", "none")).params(t).Get("error"))

	f.post("/par", authForm("redirect_uri", "https://evil.example/")).refused(t, 400, "invalid_request")
	f.post("/par", authForm("request_uri", uri)).refused(t, 400, "invalid_request")
	f.post("/par", authForm("code_challenge_method", "plain")).refused(t, 400, "invalid_request")
	f.post("/par", authForm("client_id", "nobody")).refused(t, 401, "invalid_client")
	f.post("/par", authForm("client_id", "post")).refused(t, 401, "invalid_client")
	require.Equal(t, 405, f.get("/par").StatusCode)

	// A proof with the push binds the code (RFC 9449 §10.1).
	key := f.prover()
	a := f.post("/par", authForm(), "DPoP", key.proof("POST", f.as.URL("/par")))
	require.Equal(t, 201, a.StatusCode)
	code := open(a.json(t)["request_uri"].(string)).params(t).Get("code")
	f.post("/token", codeForm(code)).refused(t, 400, "invalid_grant")
	f.post("/par", authForm("dpop_jkt", challenge), "DPoP", key.proof("POST", f.as.URL("/par"))).refused(t, 400, "invalid_request")
}

func TestPARSurvivesAReload(t *testing.T) {
	f := start(t, byPage)
	b := f.browser()
	uri := f.post("/par", authForm()).json(t)["request_uri"].(string)
	at := "/authorize?" + url.Values{"client_id": {"app"}, "request_uri": {uri}}.Encode()
	first, second := b.get(at), b.get(at)
	require.Equal(t, 200, second.StatusCode)
	require.NotEmpty(t, b.decide(second, "action", "allow", "username", "alice").params(t).Get("code"))
	require.Equal(t, 400, b.decide(first, "action", "allow", "username", "alice").StatusCode, "but is answered once")
}
