package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
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
)

func TestMetadata(t *testing.T) {
	for _, path := range []string{"", "/tenant", "/a/b/"} {
		f := start(t, func(c *authserver.Config) { c.Issuer += path })
		trimmed := strings.TrimSuffix(path, "/")
		var docs []string
		for _, at := range []string{
			trimmed + "/.well-known/openid-configuration", "/.well-known/openid-configuration" + trimmed, "/.well-known/oauth-authorization-server" + trimmed,
		} {
			a := f.get(at)
			require.Equal(t, 200, a.StatusCode, at)
			require.Equal(t, "application/json", a.Header.Get("Content-Type"))
			docs = append(docs, a.Body)
		}
		require.Equal(t, docs[0], docs[1])
		require.Equal(t, docs[0], docs[2])
		var doc map[string]any
		require.NoError(t, json.Unmarshal([]byte(docs[0]), &doc))
		require.Equal(t, f.http.URL+path, doc["issuer"])
		require.Equal(t, []any{"S256"}, doc["code_challenge_methods_supported"])
		require.Equal(t, true, doc["authorization_response_iss_parameter_supported"])
		require.NotContains(t, doc, "registration_endpoint")
		require.Equal(t, 3, f.as.Requests(authserver.Metadata))
		for name, v := range doc { // every endpoint is one
			if s, ok := v.(string); ok && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri") {
				require.True(t, strings.HasPrefix(s, f.http.URL+trimmed+"/"), name)
				require.NotEqual(t, 404, f.get(s).StatusCode, name)
			}
		}
		if trimmed != "" {
			require.Equal(t, 404, f.get("/token").StatusCode)
			require.Equal(t, 404, f.get("/.well-known/oauth-authorization-server").StatusCode)
		}
		// The whole flow, below the path.
		back := f.get(trimmed + "/authorize?" + authForm().Encode()).params(t)
		require.Equal(t, f.http.URL+path, back.Get("iss"))
		require.Equal(t, 200, f.post(trimmed+"/token", codeForm(back.Get("code"))).StatusCode)
	}
}

func TestNewRefuses(t *testing.T) {
	ok := authserver.Config{Issuer: "https://as.example"}
	_, err := authserver.New(ok)
	require.NoError(t, err)
	for name, change := range map[string]func(*authserver.Config){
		"no issuer":     func(c *authserver.Config) { c.Issuer = "" },
		"http":          func(c *authserver.Config) { c.Issuer = "http://as.example" },
		"query":         func(c *authserver.Config) { c.Issuer += "?a" },
		"fragment":      func(c *authserver.Config) { c.Issuer += "#a" },
		"alg":           func(c *authserver.Config) { c.SigningAlg = "none" },
		"auto user":     func(c *authserver.Config) { c.AutoUser, c.Users = "x", map[string]map[string]any{} },
		"client id":     func(c *authserver.Config) { c.Clients = []authserver.Client{{}} },
		"client secret": func(c *authserver.Config) { c.Clients = []authserver.Client{{ID: "a", Auth: authserver.AuthBasic}} },
		"client keys": func(c *authserver.Config) {
			c.Clients = []authserver.Client{{ID: "a", Auth: authserver.AuthPrivateKeyJWT}}
		},
		"client auth": func(c *authserver.Config) { c.Clients = []authserver.Client{{ID: "a", Auth: "magic"}} },
		"http redirect": func(c *authserver.Config) {
			c.Clients = []authserver.Client{{ID: "a", RedirectURIs: []string{"http://a.example/"}}}
		},
		"js redirect": func(c *authserver.Config) {
			c.Clients = []authserver.Client{{ID: "a", RedirectURIs: []string{"javascript:alert(1)"}}}
		},
		"fragment in it": func(c *authserver.Config) {
			c.Clients = []authserver.Client{{ID: "a", RedirectURIs: []string{callback + "#x"}}}
		},
	} {
		cfg := ok
		change(&cfg)
		_, err := authserver.New(cfg)
		require.Error(t, err, name)
	}
}

func TestSigningAlgorithmsAndRotation(t *testing.T) {
	for alg, atHash := range map[string]int{"ES256": 22, "PS256": 22, "RS256": 22, "EdDSA": 43} {
		f := start(t, func(c *authserver.Config) { c.SigningAlg = alg })
		got := f.login()
		require.Len(t, f.claims(got.ID)["at_hash"], atHash)
		_, kid, signs := f.as.SigningKey()
		require.Equal(t, alg, signs)
		require.NotContains(t, f.get("/jwks").Body, `"d":`, "no private key")

		require.NoError(t, f.as.RotateKey("ES256"))
		next := f.login()
		_, newKid, _ := f.as.SigningKey()
		require.NotEqual(t, kid, newKid)
		f.claims(got.ID) // still verifies
		f.claims(next.ID)
		for range 3 {
			require.NoError(t, f.as.RotateKey(""))
		}
		require.NotContains(t, f.get("/jwks").Body, kid, "a key is published for a while only")
		require.Error(t, f.as.RotateKey("HS256"))
	}
}

func TestUserinfo(t *testing.T) {
	f := start(t)
	got := f.login("scope", "openid email")
	want := map[string]any{"sub": "u1", "email": "alice@example.com", "team": "blue"}
	require.Equal(t, want, f.get("/userinfo", "Authorization", "Bearer "+got.Access).json(t))
	require.Equal(t, want, f.post("/userinfo", nil, "Authorization", "Bearer "+got.Access).json(t))
	require.Equal(t, 401, f.post("/userinfo", url.Values{"access_token": {got.Access}}).StatusCode, "S55: the header only")
	require.Equal(t, 401, f.get("/userinfo").StatusCode)
	require.Equal(t, 403, f.get("/userinfo", "Authorization", "Bearer "+f.login("scope", "email").Access).StatusCode)

	byName := f.login("scope", "openid", "claims", `{"userinfo":{"name":null},"id_token":{"email":{"essential":true}}}`)
	require.Equal(t, map[string]any{"sub": "u1", "name": "Alice", "team": "blue"}, f.get("/userinfo", "Authorization", "Bearer "+byName.Access).json(t))
	require.Equal(t, "alice@example.com", f.claims(byName.ID)["email"])
}

func TestPrivateKeyJWT(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f := start(t, func(c *authserver.Config) {
		c.Clients = append(c.Clients, authserver.Client{
			ID: "jwt", Auth: authserver.AuthPrivateKeyJWT, RedirectURIs: []string{callback},
			Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), Algorithm: "ES256"}}},
		})
	})
	now := f.clock.Now().Unix()
	claims := func(pairs ...any) map[string]any {
		c := map[string]any{"iss": "jwt", "sub": "jwt", "aud": f.as.Issuer(), "exp": now + 60, "iat": now, "jti": rand.Text()}
		for i := 0; i < len(pairs); i += 2 {
			if c[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
				delete(c, pairs[i].(string))
			}
		}
		return c
	}
	send := func(assertion string, pairs ...string) answer {
		t.Helper()
		form := codeForm(f.code("client_id", "jwt"), "client_id", "", "client_assertion", assertion,
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		return f.post("/token", with(form, pairs...))
	}
	good := sign(t, key, "JWT", false, claims())
	send(good).tokens(t)
	send(good).refused(t, 401, "invalid_client") // jti
	send(sign(t, key, "JWT", false, claims()), "client_id", "jwt").tokens(t)
	send(sign(t, key, "JWT", false, claims()), "client_id", "app").refused(t, 401, "invalid_client")
	send(sign(t, key, "JWT", false, claims()), "client_assertion_type", "x").refused(t, 400, "invalid_request")
	send("", "client_id", "jwt").refused(t, 401, "invalid_client")
	for name, assertion := range map[string]string{
		"another key":    sign(t, stranger, "JWT", true, claims()), // though it is embedded
		"iss":            sign(t, key, "JWT", false, claims("iss", "app")),
		"sub":            sign(t, key, "JWT", false, claims("sub", "app")),
		"aud":            sign(t, key, "JWT", false, claims("aud", f.as.URL("/token"))),
		"aud list":       sign(t, key, "JWT", false, claims("aud", []string{f.as.Issuer(), "https://evil.example"})),
		"no aud":         sign(t, key, "JWT", false, claims("aud", nil)),
		"expired":        sign(t, key, "JWT", false, claims("exp", now-1)),
		"no exp":         sign(t, key, "JWT", false, claims("exp", nil)),
		"exp far away":   sign(t, key, "JWT", false, claims("exp", now+3600)),
		"nbf":            sign(t, key, "JWT", false, claims("nbf", now+120)),
		"no jti":         sign(t, key, "JWT", false, claims("jti", nil)),
		"not a JWT":      "a.b.c",
		"not a JWT more": "x",
		"an HMAC":        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
	} {
		t.Run(name, func(t *testing.T) { send(assertion, "client_id", "jwt").refused(t, 401, "invalid_client") })
	}
}

// S73, on this side.
func TestWeakAndPrivateKeysAreRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for _, key := range []any{weak.Public(), private, []byte("symmetric")} {
		_, err := authserver.New(authserver.Config{Issuer: "https://as.example", Clients: []authserver.Client{{
			ID: "a", Auth: authserver.AuthPrivateKeyJWT, Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key}}},
		}}})
		require.ErrorContains(t, err, "one of its Keys")
	}
}

func TestRegistration(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.OpenRegistration = true })
	register := func(body string, headers ...string) answer {
		req := f.request("POST", "/register", body, headers...)
		req.Header.Set("Content-Type", "application/json")
		return f.do(req)
	}
	a := register(`{"redirect_uris":["http://127.0.0.1/callback"],"application_type":"native","token_endpoint_auth_method":"none",
		"grant_types":["authorization_code","refresh_token"],"client_name":"New","logo_uri":"https://x.example/l.png"}`)
	require.Equal(t, 201, a.StatusCode, a.Body)
	v := a.json(t)
	id := v["client_id"].(string)
	require.NotContains(t, v, "client_secret")
	require.Equal(t, "none", v["token_endpoint_auth_method"])
	require.Equal(t, []any{"code"}, v["response_types"])
	got := f.post("/token", codeForm(f.code("client_id", id), "client_id", id)).tokens(t)
	require.NotEmpty(t, got.Refresh)
	f.as.RemoveClient(id)
	f.post("/token", refreshForm(got.Refresh, "client_id", id)).refused(t, 401, "invalid_client")

	v = register(`{"redirect_uris":["https://app.example/cb"]}`).json(t)
	require.Equal(t, authserver.AuthBasic, v["token_endpoint_auth_method"], "RFC 7591 §2: the default")
	require.NotEmpty(t, v["client_secret"])
	require.EqualValues(t, 0, v["client_secret_expires_at"])
	require.Equal(t, []any{"authorization_code"}, v["grant_types"])

	for body, want := range map[string]string{
		`{}`: "invalid_redirect_uri",
		`[]`: "invalid_client_metadata",
		`{"`: "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"redirect_uris":[]}`:                                                  "invalid_client_metadata",
		`{"redirect_uris":["http://127.0.0.1/cb"]}`:                                                                    "invalid_redirect_uri", // S45: web
		`{"redirect_uris":["http://a.example/cb"],"application_type":"native"}`:                                        "invalid_redirect_uri",
		`{"redirect_uris":["javascript:alert(1)"],"application_type":"native"}`:                                        "invalid_redirect_uri",
		`{"redirect_uris":["https://a.example/"],"application_type":"magic"}`:                                          "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"private_key_jwt"}`:                      "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{}]}}`: "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"jwks_uri":"https://a.example/jwks"}`:                                 "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"grant_types":["password"]}`:                                          "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"response_types":["token"]}`:                                          "invalid_client_metadata",
		`{"redirect_uris":["https://a.example/"],"client_name":"` + strings.Repeat("x", 101) + `"}`:                    "invalid_client_metadata",
	} {
		register(body).refused(t, 400, want)
	}
	f.post("/register", nil).refused(t, 400, "invalid_client_metadata")

	closed := start(t)
	require.Equal(t, 404, closed.post("/register", nil).StatusCode)
	f = start(t, func(c *authserver.Config) { c.InitialAccessToken = "iat" })
	register(`{}`).refused(t, 401, "invalid_token")
	register(`{}`, "Authorization", "Bearer wrong").refused(t, 401, "invalid_token")
	register(`{}`, "Authorization", "Bearer iat").refused(t, 400, "invalid_redirect_uri")
}

func TestRegistrationIsBounded(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.OpenRegistration = true })
	var first string
	for i := range 1001 {
		req := f.request("POST", "/register", `{"redirect_uris":["https://app.example/cb"]}`)
		req.Header.Set("Content-Type", "application/json")
		v := f.do(req).json(t)
		if i == 0 {
			first = v["client_id"].(string)
		}
	}
	require.Equal(t, 400, f.authorize("client_id", first, "redirect_uri", "https://app.example/cb").StatusCode)
	f.login() // those of the configuration stay
}

func TestHooks(t *testing.T) {
	var seen sync.Map
	f := start(t, func(c *authserver.Config) {
		c.Misbehave = func(endpoint string, next http.Handler) http.Handler {
			seen.Store(endpoint, true)
			if endpoint != authserver.JWKS {
				return next
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(418) })
		}
		c.EditIDToken = func(claims map[string]any) { claims["sub"] = "someone else"; delete(claims, "exp") }
	})
	require.Equal(t, 418, f.get("/jwks").StatusCode)
	require.Equal(t, 1, f.as.Requests(authserver.JWKS))
	require.Zero(t, f.as.Requests("nonsense"))
	for _, name := range []string{authserver.Metadata, authserver.Authorize, authserver.Decide, authserver.Token, authserver.PAR, authserver.Device,
		authserver.Verification, authserver.Revocation, authserver.Introspection, authserver.Userinfo, authserver.EndSession} {
		_, ok := seen.Load(name)
		require.True(t, ok, name)
	}
	jws, err := jose.ParseSignedCompact(f.login().ID, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	require.Contains(t, string(jws.UnsafePayloadWithoutVerification()), "someone else")

	release := f.as.Hold(authserver.Metadata)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.get("/.well-known/openid-configuration")
	}()
	require.Eventually(t, func() bool { return f.as.Requests(authserver.Metadata) == 1 }, 10*time.Second, time.Millisecond)
	select {
	case <-done:
		t.Fatal("it was not held")
	case <-time.After(20 * time.Millisecond):
	}
	release()
	release()
	<-done
	f.get("/.well-known/openid-configuration")
	f.as.Hold("nonsense")()

	f.as.Delay(authserver.Metadata, 30*time.Millisecond)
	began := time.Now()
	f.get("/.well-known/openid-configuration")
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	f.as.Delay(authserver.Metadata, 0)
}

func TestAnybodyMaySignInWithoutUsers(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.Users, c.AutoUser = nil, "zoë" })
	require.Equal(t, "zoë", f.claims(f.login().ID)["preferred_username"])
	f.as.SetAutoUser("")
	page := f.browser()
	require.Equal(t, 422, page.decide(page.authorize(), "action", "allow", "username", strings.Repeat("x", 101)).StatusCode)
}

func TestOverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	as, err := authserver.New(authserver.Config{
		Issuer:   "https://" + srv.Listener.Addr().String(),
		Clients:  []authserver.Client{{ID: "app", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		AutoUser: "alice", RequireDPoP: true,
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", as)
	mux.Handle("/api", as.Protect(authserver.Resource{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	srv.Config.Handler = mux
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f := &fixture{t: t, as: as, http: srv, clock: &clock{t: time.Now()}}
	back := f.authorize()
	for _, c := range back.Cookies() {
		require.True(t, c.Secure)
	}
	p := f.prover()
	got := f.post("/token", codeForm(back.params(t).Get("code")), "DPoP", p.proof("POST", as.URL("/token"))).tokens(t)
	require.Equal(t, 200, f.get("/api", "Authorization", "DPoP "+got.Access, "DPoP", p.proof("GET", srv.URL+"/api", "ath", ath(got.Access))).StatusCode)
	require.Equal(t, 401, f.get("/api", "Authorization", "DPoP "+got.Access,
		"DPoP", p.proof("GET", strings.Replace(srv.URL, "https", "http", 1)+"/api", "ath", ath(got.Access))).StatusCode)
}

func TestUserGoesWhereABrowserWould(t *testing.T) {
	f := start(t)
	user := authserver.NewUser(f.as.Issuer(), "")
	user.Client.Transport = f.http.Client().Transport
	var got *http.Request
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ticket":
			form := authForm("redirect_uri", "http://"+r.Host+"/callback", "response_mode", r.URL.RawQuery)
			http.Redirect(w, r, f.http.URL+"/authorize?"+form.Encode(), http.StatusFound)
		case "/callback":
			require.NoError(t, r.ParseForm())
			got = r
			http.Redirect(w, r, "/done", http.StatusSeeOther)
		}
	}))
	t.Cleanup(listener.Close)
	for _, mode := range []string{"query", "form_post"} {
		answer, err := user.Visit(t.Context(), listener.URL+"/ticket?"+mode)
		require.NoError(t, err)
		require.Nil(t, got, "the callback waits for Deliver")
		require.NoError(t, answer.Deliver(t.Context()))
		require.Equal(t, "st&te", got.Form.Get("state"))
		require.NotEmpty(t, got.Form.Get("code"))
		require.Equal(t, "navigate", got.Header.Get("Sec-Fetch-Mode"))
		require.Equal(t, mode == "form_post", got.Method == "POST")
		got = nil
	}
	require.Equal(t, 1, f.as.Stats().Logins, "the second time it has a cookie")

	answer, err := user.Visit(t.Context(), f.http.URL+"/end_session")
	require.NoError(t, err)
	require.Nil(t, answer)
	require.Zero(t, f.as.Sessions())

	f.as.SetAutoUser("")
	_, err = user.Visit(t.Context(), listener.URL+"/ticket?query")
	require.ErrorContains(t, err, "stayed on a page")
	_, err = user.Visit(t.Context(), f.http.URL+"/authorize?client_id=x")
	require.ErrorContains(t, err, "No program is known")

	// With a name, the user signs in on the page, and decides there.
	alice := authserver.NewUser(f.as.Issuer(), "alice")
	for _, deny := range []bool{false, true} {
		alice.Deny = deny
		for _, mode := range []string{"query", "form_post"} {
			f.as.EndSessions()
			require.NoError(t, alice.SignIn(t.Context(), listener.URL+"/ticket?"+mode))
			require.Equal(t, deny, got.Form.Get("error") == "access_denied")
			require.Equal(t, deny, !got.Form.Has("code"))
		}
	}
	require.Equal(t, 0, f.as.Sessions(), "who denied is not signed in")
	alice.Deny = false
	for range 2 { // signed out, then signed in: another page
		require.NoError(t, alice.SignIn(t.Context(), listener.URL+"/ticket?query"))
		require.True(t, got.Form.Has("code"))
	}
	mallory := authserver.NewUser(f.as.Issuer(), "mallory")
	require.ErrorContains(t, mallory.SignIn(t.Context(), listener.URL+"/ticket?query"), "422")
}
