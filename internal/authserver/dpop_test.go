package authserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

func TestDPoP(t *testing.T) {
	f := start(t)
	p, thief := f.prover(), f.prover()
	at := f.as.URL("/token")
	code := f.code("dpop_jkt", p.jkt())
	got := f.post("/token", codeForm(code), "DPoP", p.proof("POST", at)).tokens(t)
	require.Equal(t, "DPoP", got.Type)
	require.Equal(t, p.jkt(), f.post("/introspect", with(nil, "client_id", "app", "token", got.Access)).json(t)["cnf"].(map[string]any)["jkt"])

	// S87: a public client's refresh token is of use with its key only.
	f.post("/token", refreshForm(got.Refresh)).refused(t, 400, "invalid_grant")
	f.post("/token", refreshForm(got.Refresh), "DPoP", thief.proof("POST", at)).refused(t, 400, "invalid_grant")
	next := f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at)).tokens(t)
	require.Equal(t, "DPoP", next.Type)

	// A code bound by dpop_jkt, likewise.
	f.post("/token", codeForm(f.code("dpop_jkt", p.jkt())), "DPoP", thief.proof("POST", at)).refused(t, 400, "invalid_grant")
	f.post("/token", codeForm(f.code("dpop_jkt", p.jkt()))).refused(t, 400, "invalid_grant")

	// A confidential client's is bound to its authentication.
	secret := []string{"client_id", "post", "client_secret", secretOfApp.Reveal()}
	conf := f.post("/token", codeForm(f.code("client_id", "post"), secret...), "DPoP", p.proof("POST", at)).tokens(t)
	f.post("/token", refreshForm(conf.Refresh, secret...), "DPoP", thief.proof("POST", at)).tokens(t)
}

// S85: whatever is wrong with a proof.
func TestProofRefusals(t *testing.T) {
	f := start(t)
	p := f.prover()
	at := f.as.URL("/token")
	now := f.clock.Now().Unix()
	for name, proof := range map[string]string{
		"htm":               p.proof("GET", at),
		"htu":               p.proof("POST", f.as.URL("/par")),
		"htu host":          p.proof("POST", "http://127.0.0.1:1/token"),
		"htu scheme":        p.proof("POST", strings.Replace(at, "http:", "https:", 1)),
		"htu with query":    p.proof("POST", at+"?"),
		"htu with fragment": p.proof("POST", at+"#x"),
		"no htu":            p.proof("POST", at, "htu", nil),
		"no htm":            p.proof("POST", at, "htm", nil),
		"no iat":            p.proof("POST", at, "iat", nil),
		"iat as text":       p.proof("POST", at, "iat", "now"),
		"old":               p.proof("POST", at, "iat", now-61),
		"ahead":             p.proof("POST", at, "iat", now+61),
		"no jti":            p.proof("POST", at, "jti", nil),
		"short jti":         p.proof("POST", at, "jti", "123456789012345"),
		"ath":               p.proof("POST", at, "ath", ath("x")),
		"typ":               p.proof("POST", at, "typ", "JWT"),
		"no jwk":            p.proof("POST", at, "jwk", nil),
		"not a JWT":         "x",
		"no alg":            "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6Im5vbmUifQ.e30.",
		"signature":         flipLast(p.proof("POST", at)),
		"long":              strings.Repeat("a", 9000),
	} {
		t.Run(name, func(t *testing.T) {
			code := f.code()
			f.post("/token", codeForm(code), "DPoP", proof).refused(t, 400, "invalid_dpop_proof")
			f.post("/token", codeForm(code)).tokens(t) // and nothing was used up
		})
	}
	f.post("/token", codeForm(f.code()), "DPoP", p.proof("POST", at), "DPoP", p.proof("POST", at)).refused(t, 400, "invalid_dpop_proof")

	t.Run("replayed jti", func(t *testing.T) {
		proof := p.proof("POST", at)
		f.post("/token", codeForm(f.code()), "DPoP", proof).tokens(t)
		f.post("/token", codeForm(f.code()), "DPoP", proof).refused(t, 400, "invalid_dpop_proof")
		f.clock.Advance(time.Minute) // as old as a proof may be
		f.post("/token", codeForm(f.code()), "DPoP", proof).refused(t, 400, "invalid_dpop_proof")
	})
	t.Run("normalised htu", func(t *testing.T) {
		f.post("/token", codeForm(f.code()), "DPoP", p.proof("POST", strings.Replace(at, "http:", "HTTP:", 1))).tokens(t)
	})
}

func flipLast(jws string) string {
	i := strings.LastIndex(jws, ".") + 1
	c := byte('A')
	if jws[i] == c {
		c = 'B'
	}
	return jws[:i] + string(c) + jws[i+1:]
}

func TestDPoPNonce(t *testing.T) {
	f := start(t, func(c *authserver.Config) { c.DPoPNonce, c.ResourceNonce, c.RequireDPoP = true, true, true })
	p := f.prover()
	at := f.as.URL("/token")
	code := f.code()
	f.post("/token", codeForm(code)).refused(t, 400, "invalid_dpop_proof")
	asked := f.post("/token", codeForm(code), "DPoP", p.proof("POST", at))
	asked.refused(t, 400, "use_dpop_nonce")
	nonce := asked.Header.Get("DPoP-Nonce")
	require.NotEmpty(t, nonce)
	f.post("/token", codeForm(code), "DPoP", p.proof("POST", at, "nonce", "guess")).refused(t, 400, "use_dpop_nonce")
	good := f.post("/token", codeForm(code), "DPoP", p.proof("POST", at, "nonce", nonce))
	got := good.tokens(t)
	require.NotEmpty(t, good.Header.Get("DPoP-Nonce"), "a 200 brings the next one")

	f.clock.Advance(2 * time.Minute) // still that of the span before
	got = f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at, "nonce", nonce)).tokens(t)
	f.as.RotateNonces()
	f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at, "nonce", nonce)).refused(t, 400, "use_dpop_nonce")
	nonce = f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at)).Header.Get("DPoP-Nonce")
	got = f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at, "nonce", nonce)).tokens(t)
	f.clock.Advance(4 * time.Minute)
	f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at, "nonce", nonce)).refused(t, 400, "use_dpop_nonce")

	// S86: the server's nonce is of no use at a resource server.
	info := f.as.URL("/userinfo")
	nonce = f.post("/token", refreshForm(got.Refresh), "DPoP", p.proof("POST", at)).Header.Get("DPoP-Nonce")
	wrong := f.get("/userinfo", "Authorization", "DPoP "+got.Access, "DPoP", p.proof("GET", info, "ath", ath(got.Access), "nonce", nonce))
	require.Equal(t, 401, wrong.StatusCode)
	require.Contains(t, wrong.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`)
	right := f.get("/userinfo", "Authorization", "DPoP "+got.Access,
		"DPoP", p.proof("GET", info, "ath", ath(got.Access), "nonce", wrong.Header.Get("DPoP-Nonce")))
	require.Equal(t, 200, right.StatusCode, right.Header)
}

func api(t *testing.T, f *fixture, res authserver.Resource) (url string) {
	srv := httptest.NewServer(f.as.Protect(res, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, ok := authserver.GrantFrom(r.Context())
		if !ok || g.Subject != "u1" || g.ClientID != "app" {
			http.Error(w, "no grant", 500)
		}
	})))
	t.Cleanup(srv.Close)
	return srv.URL + "/data"
}

func challenges(a answer) string { return strings.Join(a.Header.Values("WWW-Authenticate"), "\n") }

func TestProtectBearer(t *testing.T) {
	f := start(t)
	got := f.login("scope", "openid email")
	open, mail, admin := api(t, f, authserver.Resource{}), api(t, f, authserver.Resource{Scope: "email"}), api(t, f, authserver.Resource{Scope: "email admin"})
	bearer := "Bearer " + got.Access
	require.Equal(t, 200, f.get(mail, "Authorization", bearer).StatusCode)
	require.Equal(t, 200, f.get(open, "Authorization", "bEARER "+got.Access).StatusCode)

	for name, c := range map[string]struct {
		url     string
		status  int
		error   string
		headers []string
	}{
		"nothing":           {mail, 401, "", nil},
		"another scheme":    {mail, 401, "", []string{"Authorization", "Basic YTpi"}},
		"unknown":           {mail, 401, "invalid_token", []string{"Authorization", "Bearer at_x"}},
		"refresh token":     {mail, 401, "invalid_token", []string{"Authorization", "Bearer rt_x"}},
		"ID token":          {mail, 401, "invalid_token", []string{"Authorization", "Bearer " + got.ID}},
		"scope":             {admin, 403, "insufficient_scope", []string{"Authorization", bearer}},
		"two headers":       {mail, 400, "invalid_request", []string{"Authorization", bearer, "Authorization", bearer}},
		"empty":             {mail, 400, "invalid_request", []string{"Authorization", "Bearer "}},
		"S55 in the URL":    {mail + "?access_token=" + got.Access, 400, "invalid_request", nil},
		"bearer as DPoP":    {mail, 401, "invalid_token", []string{"Authorization", "DPoP " + got.Access}},
		"two tokens in one": {mail, 400, "invalid_request", []string{"Authorization", bearer + ", " + bearer}},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.get(c.url, c.headers...)
			require.Equal(t, c.status, a.StatusCode)
			require.Contains(t, challenges(a), "Bearer realm=")
			if c.error == "" {
				require.NotContains(t, challenges(a), "error=", "RFC 6750 §3.1")
			} else {
				require.Contains(t, challenges(a), `error="`+c.error+`"`)
			}
		})
	}
	f.as.Expire()
	require.Equal(t, 401, f.get(mail, "Authorization", bearer).StatusCode)
}

func TestProtectDPoP(t *testing.T) {
	f := start(t)
	p, thief := f.prover(), f.prover()
	got := f.post("/token", codeForm(f.code()), "DPoP", p.proof("POST", f.as.URL("/token"))).tokens(t)
	plain := f.login()
	url := api(t, f, authserver.Resource{})
	strict := api(t, f, authserver.Resource{RequireDPoP: true})
	good := func() string { return p.proof("GET", url, "ath", ath(got.Access)) }
	require.Equal(t, 200, f.get(url+"?q=1", "Authorization", "DPoP "+got.Access, "DPoP", good()).StatusCode)
	require.Equal(t, 200, f.get(url, "Authorization", "dpop "+got.Access, "DPoP", good()).StatusCode)

	once := good()
	require.Equal(t, 200, f.get(url, "Authorization", "DPoP "+got.Access, "DPoP", once).StatusCode)
	for name, c := range map[string]struct{ url, scheme, token, proof, error string }{
		"no proof":           {url, "DPoP", got.Access, "", "invalid_dpop_proof"},
		"replayed":           {url, "DPoP", got.Access, once, "invalid_dpop_proof"},
		"wrong ath":          {url, "DPoP", got.Access, p.proof("GET", url, "ath", ath("x")), "invalid_dpop_proof"},
		"no ath":             {url, "DPoP", got.Access, p.proof("GET", url), "invalid_dpop_proof"},
		"wrong htu":          {url, "DPoP", got.Access, p.proof("GET", url+"/x", "ath", ath(got.Access)), "invalid_dpop_proof"},
		"wrong htm":          {url, "DPoP", got.Access, p.proof("POST", url, "ath", ath(got.Access)), "invalid_dpop_proof"},
		"another key":        {url, "DPoP", got.Access, thief.proof("GET", url, "ath", ath(got.Access)), "invalid_token"},
		"bound as bearer":    {url, "Bearer", got.Access, "", "invalid_token"},
		"unbound with proof": {url, "DPoP", plain.Access, p.proof("GET", url, "ath", ath(plain.Access)), "invalid_token"},
		"unbound, required":  {strict, "Bearer", plain.Access, "", "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Authorization", c.scheme + " " + c.token}
			if c.proof != "" {
				headers = append(headers, "DPoP", c.proof)
			}
			a := f.get(c.url, headers...)
			require.Equal(t, 401, a.StatusCode)
			require.Contains(t, challenges(a), `error="`+c.error+`"`)
			require.Contains(t, challenges(a), `algs="ES256`)
		})
	}
	require.NotContains(t, challenges(f.get(strict)), "Bearer")
}

func TestProtectResourceAndStepUp(t *testing.T) {
	f := start(t)
	res := authserver.Resource{URL: "https://api.example/v1", Scope: "email"}
	url := api(t, f, res)
	right, wrong, none := f.login("resource", res.URL), f.login("resource", "https://b.example"), f.login()
	require.Equal(t, 200, f.get(url, "Authorization", "Bearer "+right.Access).StatusCode)
	for _, tok := range []tokens{wrong, none} {
		a := f.get(url, "Authorization", "Bearer "+tok.Access)
		require.Equal(t, 401, a.StatusCode)
		require.Contains(t, challenges(a), `resource_metadata="https://api.example/.well-known/oauth-protected-resource/v1"`)
	}
	path, err := authserver.ResourceMetadataPath(res.URL)
	require.NoError(t, err)
	require.Equal(t, "/.well-known/oauth-protected-resource/v1", path)
	rec := httptest.NewRecorder()
	f.as.ResourceMetadata(res).ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	require.JSONEq(t, `{"resource":"https://api.example/v1","authorization_servers":["`+f.as.Issuer()+`"],"scopes_supported":["email"],
		"bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":["ES256","EdDSA","PS256","RS256"],"dpop_bound_access_tokens_required":false}`, rec.Body.String())

	// RFC 9470, and that the challenge can be met.
	vault := api(t, f, authserver.Resource{ACR: "mfa", MaxAge: time.Minute})
	a := f.get(vault, "Authorization", "Bearer "+right.Access)
	require.Equal(t, 401, a.StatusCode)
	require.Contains(t, challenges(a), `error="insufficient_user_authentication"`)
	require.Contains(t, challenges(a), `acr_values="mfa", max_age="60"`)
	stepped := f.login("acr_values", "mfa")
	require.Equal(t, "mfa", f.claims(stepped.ID)["acr"])
	require.Equal(t, 200, f.get(vault, "Authorization", "Bearer "+stepped.Access).StatusCode)
	f.clock.Advance(61 * time.Second)
	require.Equal(t, 401, f.get(vault, "Authorization", "Bearer "+stepped.Access).StatusCode)
}
