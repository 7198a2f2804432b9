package oauthclient_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/nativeoauth/nativeoauth/internal/jose/josetest"
	"github.com/nativeoauth/nativeoauth/internal/realparts"
	"github.com/nativeoauth/nativeoauth/oauthclient"
)

// Each test signs in with a recipe of docs/providers.md at a provider that answers as the real one does.

func githubShape(answer func(n int, form url.Values) recorded) shape {
	return shape{
		authorize: "https://github.com/login/oauth/authorize", token: "https://github.com/login/oauth/access_token",
		device: "https://github.com/login/device/code", api: "https://api.github.com/",
		redirect: loopbackAny("127.0.0.1"), answer: answer,
	}
}

const form = "application/x-www-form-urlencoded; charset=utf-8"

// An OAuth app: answers are forms whatever is asked for (as some versions of Enterprise Server do), scopes are joined with commas,
// tokens have no end, and there is no refresh token.
func TestGitHub(t *testing.T) {
	t.Parallel()
	w := newVendor(t, githubShape(func(int, url.Values) recorded {
		return recorded{kind: form, body: "access_token=gho_16C7e42F292c6912E7710c838347Ae178B4a&scope=repo%2Cuser%3Aemail&token_type=bearer"}
	}))
	c := w.client(recipeGitHub())
	s, err := c.Login(t.Context(), &oauthclient.LoginOptions{Scopes: []string{"user:email"}})
	require.NoError(t, err)
	require.Equal(t, "S256", w.asked().Get("code_challenge_method"))
	sent := w.sent()[0]
	require.Equal(t, "application/json", sent.header.Get("Accept"))
	require.Equal(t, "example", sent.form.Get("client_secret"))
	require.Empty(t, sent.header.Get("Authorization"))

	account := s.Account()
	require.Equal(t, []string{"repo", "user:email"}, account.Scopes)
	require.False(t, account.Refreshable)
	require.Empty(t, account.Subject)
	require.Greater(t, time.Until(account.Expiry), 9*365*24*time.Hour)
	resp, err := s.HTTPClient().Get("https://api.github.com/user")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, []string{"gho_16C7e42F292c6912E7710c838347Ae178B4a"}, w.calls)
	require.ErrorIs(t, s.Claims(&struct{}{}), errors.ErrUnsupported)
	for _, path := range w.paths {
		require.NotContains(t, path, ".well-known", "nothing is fetched if the program wrote Endpoints")
	}
}

// S48 S50: a refusal comes with status 200, and the code is sent once.
func TestS50GitHubRefusesWith200(t *testing.T) {
	t.Parallel()
	for kind, body := range map[string]string{
		form:               "error=bad_verification_code&error_description=The+code+passed+is+incorrect+or+expired.&error_uri=https%3A%2F%2Fdocs.github.com",
		"application/json": `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired.","error_uri":"https://docs.github.com"}`,
	} {
		w := newVendor(t, githubShape(func(int, url.Values) recorded { return recorded{kind: kind, body: body} }))
		_, err := w.client(recipeGitHub()).Login(t.Context(), nil)
		var refused *oauthclient.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "bad_verification_code", refused.Code)
		require.Len(t, w.sent(), 1)
	}
}

// A GitHub app's user tokens expire and rotate. The end of the refresh token has a code of GitHub's own, and means what invalid_grant does.
func TestGitHubAppRotates(t *testing.T) {
	t.Parallel()
	w := newVendor(t, githubShape(func(n int, _ url.Values) recorded {
		if n == 2 {
			return recorded{body: `{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}`}
		}
		return recorded{body: fmt.Sprintf(`{"access_token":"ghu_%d","expires_in":28800,"refresh_token":"ghr_%d","refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"}`, n, n)}
	}))
	s, err := w.client(recipeGitHub()).Login(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, s.Account().Refreshable)
	require.NoError(t, s.Refresh(t.Context()))
	require.Equal(t, "ghr_0", w.sent()[1].form.Get("refresh_token"))
	err = s.Refresh(t.Context())
	require.Equal(t, "ghr_1", w.sent()[2].form.Get("refresh_token"))
	require.ErrorIs(t, err, oauthclient.ErrLoginRequired)
	var re *oauth2.RetrieveError
	require.ErrorAs(t, err, &re)
	require.Equal(t, "invalid_grant", re.ErrorCode)
}

// Without a secret: the device flow, with a "not yet" of status 200 too.
func TestS88GitHubDevice(t *testing.T) {
	t.Parallel()
	shape := githubShape(func(n int, form url.Values) recorded {
		if form.Get("client_secret") != "" || form.Get("client_id") == "" {
			return recorded{body: `{"error":"incorrect_client_credentials"}`}
		}
		if n == 0 {
			return recorded{body: `{"error":"authorization_pending","error_description":"The authorization request is still pending."}`}
		}
		return recorded{body: `{"access_token":"gho_device","token_type":"bearer","scope":"repo,user:email"}`}
	})
	shape.deviceAnswer = recorded{body: `{"device_code":"3584d83530557fdd1f46af8289938c8ef79f9dc5","user_code":"WDJB-MJHT","verification_uri":"https://github.com/login/device","expires_in":900,"interval":1}`}
	w := newVendor(t, shape)
	cfg := recipeGitHub()
	cfg.ClientAuth = oauthclient.ClientAuth{}
	told := make(chan oauthclient.Instructions, 1)
	cfg.UI.Instruct = func(_ context.Context, do oauthclient.Instructions) (string, error) { told <- do; return "", nil }
	s, err := w.client(cfg).Login(t.Context(), &oauthclient.LoginOptions{Flow: oauthclient.FlowDevice})
	require.NoError(t, err)
	shown := <-told
	require.Equal(t, "WDJB-MJHT", shown.UserCode)
	require.Equal(t, "https://github.com/login/device", shown.VerificationURI)
	require.Len(t, w.sent(), 2)
	require.Equal(t, []string{"repo", "user:email"}, s.Account().Scopes)
}

const tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"

// entraShape is Entra's v2.0 endpoint under path: no code_challenge_methods_supported, keys without alg and with an issuer, tokens with tid.
func entraShape(t *testing.T, path, issuer string) shape {
	base := "https://login.microsoftonline.com/" + path
	key := *rsaKey()
	key.Omit, key.Add = []string{"alg"}, map[string]any{"issuer": issuer, "x5t": "k1", "x5c": []string{"MIIC"}}
	return shape{
		metadata: parsed(t, `{"token_endpoint":"`+base+`/oauth2/v2.0/token","token_endpoint_auth_methods_supported":["client_secret_post","private_key_jwt","client_secret_basic"],
			"jwks_uri":"`+base+`/discovery/v2.0/keys","response_modes_supported":["query","fragment","form_post"],"subject_types_supported":["pairwise"],
			"id_token_signing_alg_values_supported":["RS256"],"response_types_supported":["code","id_token","code id_token","id_token token"],
			"scopes_supported":["openid","profile","email","offline_access"],"issuer":"`+issuer+`","request_uri_parameter_supported":false,
			"userinfo_endpoint":"https://graph.microsoft.com/oidc/userinfo","authorization_endpoint":"`+base+`/oauth2/v2.0/authorize",
			"device_authorization_endpoint":"`+base+`/oauth2/v2.0/devicecode","http_logout_supported":true,"frontchannel_logout_supported":true,
			"end_session_endpoint":"`+base+`/oauth2/v2.0/logout","tenant_region_scope":null,"cloud_instance_name":"microsoftonline.com"}`),
		authorize: base + "/oauth2/v2.0/authorize", token: base + "/oauth2/v2.0/token", jwks: base + "/discovery/v2.0/keys",
		api: "https://graph.microsoft.com/", redirect: loopbackAny("localhost"), keys: []*josetest.Key{&key},
		claims: map[string]any{
			"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "aud": "11111111-2222-4333-8444-555555555555", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
			"tid": tenant, "oid": "00000000-0000-0000-66f3-3332eca7ea81", "ver": "2.0", "preferred_username": "alice@example.com", "rh": "0.AAAA", "uti": "u",
		},
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"token_type":"Bearer","scope":"profile openid email https://graph.microsoft.com/User.Read","expires_in":4521,"ext_expires_in":4521,"access_token":"EwB4","refresh_token":"M.C5","id_token":"ID_TOKEN"}`}
		},
	}
}

func TestEntra(t *testing.T) {
	t.Parallel()
	w := newVendor(t, entraShape(t, tenant, "https://login.microsoftonline.com/"+tenant+"/v2.0"))
	s, err := w.client(recipeEntra()).Login(t.Context(), nil)
	require.NoError(t, err)
	asked := w.asked()
	require.Equal(t, "S256", asked.Get("code_challenge_method"), "S26: sent though the metadata are silent")
	require.Regexp(t, `^http://localhost:\d+/callback$`, asked.Get("redirect_uri"))
	require.Equal(t, "alice@example.com", s.Account().Username)
	require.True(t, s.Account().Refreshable)
}

// S26: without the option, 127.0.0.1 on a free port is what Entra refuses, and says so to the person alone.
func TestEntraIgnoresThePortOfLocalhostOnly(t *testing.T) {
	t.Parallel()
	w := newVendor(t, entraShape(t, tenant, "https://login.microsoftonline.com/"+tenant+"/v2.0"))
	cfg := recipeEntra()
	cfg.Loopback.Localhost = false
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := w.client(cfg).Login(ctx, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, w.sent())
}

const entraTemplate = "https://login.microsoftonline.com/{tenantid}/v2.0"

func TestEntraTenants(t *testing.T) {
	t.Parallel()
	w := newVendor(t, entraShape(t, "common", entraTemplate))
	c := w.client(recipeEntraTenants())
	s, err := c.Login(t.Context(), nil)
	require.NoError(t, err)
	var claims struct {
		Issuer string `json:"iss"`
		Tenant string `json:"tid"`
	}
	require.NoError(t, s.Claims(&claims))
	require.Equal(t, tenant, claims.Tenant)
	require.Equal(t, "https://login.microsoftonline.com/"+tenant+"/v2.0", claims.Issuer)
	require.NoError(t, s.Refresh(t.Context()), "S82: the refreshed ID token is of the same tenant")
	again, err := c.Session(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "https://login.microsoftonline.com/common/v2.0", again.Account().Issuer)
	// The issuer that its metadata are fetched for is the configured one, not the token's.
	require.Error(t, s.UserInfo(t.Context(), &struct{}{}))
	require.NotContains(t, w.paths, "https://login.microsoftonline.com/"+tenant+"/v2.0/.well-known/openid-configuration")
}

// S38 S70: what the option does not name stays refused.
func TestS38S70EntraTenants(t *testing.T) {
	t.Parallel()
	const other = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	for name, test := range map[string]struct {
		stated string // by the metadata
		change func(*oauthclient.Config, *shape)
		why    string
	}{
		"without the option":  {entraTemplate, func(c *oauthclient.Config, _ *shape) { c.TenantIssuer = "" }, "TenantIssuer"},
		"another template":    {"https://login.microsoftonline.com/{tenantid}/", nil, "template"},
		"another issuer":      {"https://sts.windows.net/{tenantid}/", nil, "template"},
		"tid of another":      {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["tid"] = other }, "iss is another issuer"},
		"no tid":              {entraTemplate, func(_ *oauthclient.Config, s *shape) { delete(s.claims, "tid") }, "tid"},
		"tid in upper case":   {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["tid"] = strings.ToUpper(tenant) }, "tid"},
		"tid with a path":     {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["tid"] = "../" + tenant[3:] }, "tid"},
		"tid is no string":    {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["tid"] = []string{tenant} }, "tid"},
		"iss is the template": {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["iss"] = entraTemplate }, "iss"},
		"iss of another host": {entraTemplate, func(_ *oauthclient.Config, s *shape) { s.claims["iss"] = "https://evil.example/" + tenant + "/v2.0" }, "iss"},
		"a key for one tenant, a token of another": {entraTemplate, func(_ *oauthclient.Config, s *shape) {
			s.keys[0].Add["issuer"] = "https://login.microsoftonline.com/" + other + "/v2.0"
		}, "no key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shape := entraShape(t, "common", test.stated)
			delete(shape.keys[0].Add, "issuer") // so that what a key may sign hides no other check
			cfg := recipeEntraTenants()
			if test.change != nil {
				test.change(&cfg, &shape)
			}
			c := newVendor(t, shape).client(cfg)
			_, err := c.Login(t.Context(), nil)
			require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
			require.ErrorContains(t, err, test.why)
			_, err = c.Session(t.Context(), "")
			require.ErrorIs(t, err, oauthclient.ErrLoginRequired, "nothing is stored")
		})
	}
	// A tenant's own key may sign for that tenant.
	shape := entraShape(t, "common", entraTemplate)
	shape.keys[0].Add["issuer"] = "https://login.microsoftonline.com/" + tenant + "/v2.0"
	_, err := newVendor(t, shape).client(recipeEntraTenants()).Login(t.Context(), nil)
	require.NoError(t, err)
}

func TestTenantIssuerIsNarrow(t *testing.T) {
	t.Parallel()
	for _, template := range []string{
		"https://login.microsoftonline.com/v2.0", "https://evil.example/{tenantid}/v2.0", "https://{tenantid}.microsoftonline.com/v2.0",
		"http://login.microsoftonline.com/{tenantid}/v2.0", "https://login.microsoftonline.com/x{tenantid}/v2.0",
		"https://login.microsoftonline.com/{tenantid}/{tenantid}", "https://login.microsoftonline.com/v2.0?t={tenantid}",
		"https://login.microsoftonline.com:444/{tenantid}/v2.0", "{tenantid}",
	} {
		cfg := recipeEntraTenants()
		cfg.TenantIssuer = template
		_, err := oauthclient.New(cfg)
		require.ErrorContains(t, err, "Config.TenantIssuer", template)
	}
}

func TestGoogle(t *testing.T) {
	t.Parallel()
	w := newVendor(t, shape{
		metadata: parsed(t, `{"issuer":"https://accounts.google.com","authorization_endpoint":"https://accounts.google.com/o/oauth2/v2/auth",
			"device_authorization_endpoint":"https://oauth2.googleapis.com/device/code","token_endpoint":"https://oauth2.googleapis.com/token",
			"userinfo_endpoint":"https://openidconnect.googleapis.com/v1/userinfo","revocation_endpoint":"https://oauth2.googleapis.com/revoke",
			"jwks_uri":"https://www.googleapis.com/oauth2/v3/certs","response_types_supported":["code","token","id_token","none"],
			"response_modes_supported":["query","fragment","form_post"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"],
			"scopes_supported":["openid","email","profile"],"token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic"],
			"claims_supported":["aud","email","sub"],"code_challenge_methods_supported":["plain","S256"],"grant_types_supported":["authorization_code","refresh_token"]}`),
		authorize: "https://accounts.google.com/o/oauth2/v2/auth", token: "https://oauth2.googleapis.com/token", jwks: "https://www.googleapis.com/oauth2/v3/certs",
		redirect: loopbackAny("127.0.0.1"), keys: []*josetest.Key{rsaKey()},
		claims: map[string]any{
			"iss": "https://accounts.google.com", "azp": "1234567890-example.apps.googleusercontent.com", "aud": "1234567890-example.apps.googleusercontent.com",
			"sub": "110169484474386276334", "email": "alice@example.com", "email_verified": true,
		},
		answer: func(_ int, form url.Values) recorded {
			if form.Get("grant_type") == "refresh_token" { // no new refresh token, and an ID token without a nonce
				return recorded{body: `{"access_token":"ya29.2","expires_in":3599,"scope":"openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/drive.readonly","token_type":"Bearer"}`}
			}
			return recorded{body: `{"access_token":"ya29.1","expires_in":3599,"refresh_token":"1//0g","scope":"openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/drive.readonly","token_type":"Bearer","id_token":"ID_TOKEN"}`}
		},
	})
	s, err := w.client(recipeGoogle()).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "offline", w.asked().Get("access_type"))
	require.Equal(t, "consent", w.asked().Get("prompt"))
	require.True(t, s.Account().Refreshable)
	require.NoError(t, s.Refresh(t.Context()))
	require.NoError(t, s.Refresh(t.Context()), "the refresh token that there was goes on")
	for _, sent := range w.sent() {
		id, secret, ok := (&http.Request{Header: sent.header}).BasicAuth()
		require.True(t, ok)
		require.Equal(t, "1234567890-example.apps.googleusercontent.com", id)
		require.Equal(t, "GOCSPX-example", secret)
	}
	require.Equal(t, "1//0g", w.sent()[2].form.Get("refresh_token"))
}

func TestAuth0(t *testing.T) {
	t.Parallel()
	w := newVendor(t, shape{
		metadata: parsed(t, `{"issuer":"https://example.eu.auth0.com/","authorization_endpoint":"https://example.eu.auth0.com/authorize",
			"token_endpoint":"https://example.eu.auth0.com/oauth/token","device_authorization_endpoint":"https://example.eu.auth0.com/oauth/device/code",
			"userinfo_endpoint":"https://example.eu.auth0.com/userinfo","jwks_uri":"https://example.eu.auth0.com/.well-known/jwks.json",
			"registration_endpoint":"https://example.eu.auth0.com/oidc/register","revocation_endpoint":"https://example.eu.auth0.com/oauth/revoke",
			"code_challenge_methods_supported":["S256","plain"],"response_modes_supported":["query","fragment","form_post"],"subject_types_supported":["public"],
			"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt","none"],
			"id_token_signing_alg_values_supported":["HS256","RS256","PS256"],"request_parameter_supported":false}`),
		authorize: "https://example.eu.auth0.com/authorize", token: "https://example.eu.auth0.com/oauth/token", jwks: "https://example.eu.auth0.com/.well-known/jwks.json",
		redirect: loopbackAny("127.0.0.1"), keys: []*josetest.Key{rsaKey()},
		claims: map[string]any{"iss": "https://example.eu.auth0.com/", "aud": "exampleClientID", "sub": "auth0|abc", "sid": "s"},
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"access_token":"eyJhbGciOi","refresh_token":"v1.M","id_token":"ID_TOKEN","scope":"openid profile offline_access read:things","expires_in":86400,"token_type":"Bearer"}`}
		},
	})
	s, err := w.client(recipeAuth0()).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "https://api.example.com/", w.asked().Get("audience"))
	require.Contains(t, w.paths, "https://example.eu.auth0.com/.well-known/openid-configuration", "one slash")
	require.Equal(t, "auth0|abc", s.Account().Subject)

	cfg := recipeAuth0()
	cfg.Issuer = "https://example.eu.auth0.com"
	_, err = w.client(cfg).Login(t.Context(), nil)
	require.ErrorIs(t, err, oauthclient.ErrInvalidResponse)
	require.ErrorContains(t, err, "https://example.eu.auth0.com/", "the message names the spelling that works")
}

// Salesforce says nothing of how long a token lives: it is good until the API says otherwise, and then replaced once.
func TestS53Salesforce(t *testing.T) {
	t.Parallel()
	w := newVendor(t, shape{
		metadata: parsed(t, `{"issuer":"https://login.salesforce.com","authorization_endpoint":"https://login.salesforce.com/services/oauth2/authorize",
			"token_endpoint":"https://login.salesforce.com/services/oauth2/token","revocation_endpoint":"https://login.salesforce.com/services/oauth2/revoke",
			"userinfo_endpoint":"https://login.salesforce.com/services/oauth2/userinfo","jwks_uri":"https://login.salesforce.com/id/keys",
			"id_token_signing_alg_values_supported":["RS256"],"token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic","private_key_jwt"]}`),
		authorize: "https://login.salesforce.com/services/oauth2/authorize", token: "https://login.salesforce.com/services/oauth2/token",
		jwks: "https://login.salesforce.com/id/keys", api: "https://example.my.salesforce.com/",
		redirect: loopbackAny("localhost"), keys: []*josetest.Key{rsaKey()},
		claims: map[string]any{"iss": "https://login.salesforce.com", "aud": []string{"3MVG9example"}, "sub": "https://login.salesforce.com/id/00D/005"},
		answer: func(n int, form url.Values) recorded {
			refresh := `,"refresh_token":"5Aep","id_token":"ID_TOKEN"`
			if n > 0 {
				refresh = ""
			}
			return recorded{body: fmt.Sprintf(`{"access_token":"00D!%d","signature":"SSSbLO","scope":"refresh_token openid api","instance_url":"https://example.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer","issued_at":"1795467890123"%s}`, n, refresh)}
		},
	})
	s, err := w.client(recipeSalesforce()).Login(t.Context(), nil)
	require.NoError(t, err)
	require.InDelta(t, 2*time.Hour, time.Until(s.Account().Expiry), float64(time.Minute))
	get := func() int {
		resp, err := s.HTTPClient().Get("https://example.my.salesforce.com/services/data/")
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	require.Equal(t, http.StatusOK, get())
	w.mu.Lock()
	w.refused["00D!0"] = true // the org's session timeout is shorter than was assumed
	w.mu.Unlock()
	require.Equal(t, http.StatusOK, get())
	require.Equal(t, []string{"00D!0", "00D!0", "00D!1"}, w.calls)
	require.Len(t, w.sent(), 2)
}

func TestS53PayPal(t *testing.T) {
	t.Parallel()
	w := newVendor(t, shape{
		authorize: "https://www.paypal.com/signin/authorize", token: "https://api-m.paypal.com/v1/oauth2/token", redirect: loopbackAny("127.0.0.1"),
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"scope":"profile email","access_token":"A23AA","token_type":"Bearer","refresh_token":"R23AA","expires_in":"28800","nonce":"2026-11-23T10:00:00Zabc"}`}
		},
	})
	s, err := w.client(recipePayPal()).Login(t.Context(), nil)
	require.NoError(t, err)
	require.InDelta(t, 8*time.Hour, time.Until(s.Account().Expiry), float64(time.Minute))
	_, secret, ok := (&http.Request{Header: w.sent()[0].header}).BasicAuth()
	require.True(t, ok)
	require.Equal(t, "example", secret)
}

// The metadata that PayPal has published, too, with signature algorithms among its PKCE methods, and another host for the tokens.
func TestPayPalByIssuer(t *testing.T) {
	t.Parallel()
	w := newVendor(t, shape{
		metadata: parsed(t, `{"issuer":"https://www.paypal.com","authorization_endpoint":"https://www.paypal.com/signin/authorize",
			"registration_endpoint":"https://api.paypal.com/v1/oauth2/applications","token_endpoint":"https://api.paypal.com/v1/oauth2/token",
			"userinfo_endpoint":"https://api.paypal.com/v1/oauth2/token/userinfo","jwks_uri":"https://api.paypal.com/v1/oauth2/certs",
			"revocation_endpoint":"https://api.paypal.com/v1/oauth2/revoke","token_endpoint_auth_methods_supported":["client_secret_basic"],
			"response_types_supported":["code","code id_token"],"response_modes_supported":["query"],"subject_types_supported":["pairwise"],
			"id_token_signing_alg_values_supported":["HS256","RS256"],"code_challenge_methods_supported":["RS256","ES256","S256"]}`),
		authorize: "https://www.paypal.com/signin/authorize", token: "https://api.paypal.com/v1/oauth2/token", redirect: loopbackAny("127.0.0.1"),
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"scope":"profile email","access_token":"A23AA","token_type":"Bearer","refresh_token":"R23AA","expires_in":"28800"}`}
		},
	})
	cfg := recipePayPal()
	cfg.Issuer, cfg.Endpoints, cfg.Origins = "https://www.paypal.com", nil, []string{"https://api.paypal.com"}
	cfg.Loopback.Addr = freeAddr(t)
	_, err := w.client(cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "S256", w.asked().Get("code_challenge_method"))
}

// exactly takes the one redirect URI that was registered, as a provider that compares ports does.
func exactly(registered *string) func(*url.URL) bool {
	return func(u *url.URL) bool { return u.String() == *registered }
}

// Cognito: its issuer and its endpoints have different hosts, and http is for localhost alone.
func TestCognito(t *testing.T) {
	t.Parallel()
	const issuer, domain = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example", "https://example.auth.eu-central-1.amazoncognito.com"
	var registered string
	w := newVendor(t, shape{
		metadata: parsed(t, `{"authorization_endpoint":"`+domain+`/oauth2/authorize","end_session_endpoint":"`+domain+`/logout","id_token_signing_alg_values_supported":["RS256"],
			"issuer":"`+issuer+`","jwks_uri":"`+issuer+`/.well-known/jwks.json","response_types_supported":["code","token"],"revocation_endpoint":"`+domain+`/oauth2/revoke",
			"scopes_supported":["openid","email","phone","profile"],"subject_types_supported":["public"],"token_endpoint":"`+domain+`/oauth2/token",
			"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],"userinfo_endpoint":"`+domain+`/oauth2/userInfo"}`),
		authorize: domain + "/oauth2/authorize", token: domain + "/oauth2/token", jwks: issuer + "/.well-known/jwks.json",
		redirect: exactly(&registered), keys: []*josetest.Key{rsaKey()},
		claims: map[string]any{"iss": issuer, "aud": "exampleClientID", "sub": "aaaaaaaa-bbbb-4ccc", "cognito:username": "alice", "token_use": "id", "email": "alice@example.com"},
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"id_token":"ID_TOKEN","access_token":"eyJraWQi","refresh_token":"eyJjdHki","expires_in":3600,"token_type":"Bearer"}`}
		},
	})
	cfg := recipeCognito()
	cfg.Loopback.Addr = freeAddr(t)
	registered = "http://localhost:" + strings.TrimPrefix(cfg.Loopback.Addr, "127.0.0.1:") + "/callback"
	s, err := w.client(cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "alice@example.com", s.Account().Username)
	require.Equal(t, "exampleClientID", w.sent()[0].form.Get("client_id"), "a public client, though the metadata list secrets only")
	require.Empty(t, w.sent()[0].header.Get("Authorization"))
}

// Slack: http for localhost alone, on the port that was registered. Its answers carry "ok".
func TestSlack(t *testing.T) {
	t.Parallel()
	var registered string
	shape := shape{
		metadata: parsed(t, `{"issuer":"https://slack.com","authorization_endpoint":"https://slack.com/openid/connect/authorize","token_endpoint":"https://slack.com/api/openid.connect.token",
			"userinfo_endpoint":"https://slack.com/api/openid.connect.userInfo","jwks_uri":"https://slack.com/openid/connect/keys","scopes_supported":["openid","profile","email"],
			"response_types_supported":["code"],"response_modes_supported":["query"],"grant_types_supported":["authorization_code"],"subject_types_supported":["public"],
			"id_token_signing_alg_values_supported":["RS256"],"claims_supported":["sub","auth_time","iss"],"claims_parameter_supported":false,
			"request_parameter_supported":false,"request_uri_parameter_supported":true,"token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic"]}`),
		authorize: "https://slack.com/openid/connect/authorize", token: "https://slack.com/api/openid.connect.token", jwks: "https://slack.com/openid/connect/keys",
		redirect: exactly(&registered), keys: []*josetest.Key{rsaKey()},
		claims: map[string]any{"iss": "https://slack.com", "aud": "1234567890.1234567890123", "sub": "U123ABC", "email": "alice@example.com", "https://slack.com/team_id": "T1"},
		answer: func(int, url.Values) recorded {
			return recorded{body: `{"ok":true,"access_token":"xoxp-1","token_type":"Bearer","id_token":"ID_TOKEN"}`}
		},
	}
	w := newVendor(t, shape)
	cfg := recipeSlack()
	cfg.Loopback.Addr = freeAddr(t)
	registered = "http://localhost:" + strings.TrimPrefix(cfg.Loopback.Addr, "127.0.0.1:") + "/callback"
	s, err := w.client(cfg).Login(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "U123ABC", s.Account().Subject)

	// Its own API refuses with status 200, too, and its users' tokens are of a type that RFC 6750 does not know: said, not guessed.
	for body, is := range map[string]error{
		`{"ok":false,"error":"bad_redirect_uri"}`:                                           &oauthclient.Error{},
		`{"ok":true,"access_token":"xoxp-1","token_type":"user","scope":"chat:write"}`:      oauthclient.ErrInvalidResponse,
		`{"ok":true,"authed_user":{"id":"U1","access_token":"xoxp-1","token_type":"user"}}`: oauthclient.ErrInvalidResponse,
	} {
		shape.answer = func(int, url.Values) recorded { return recorded{body: body} }
		cfg.Loopback.Addr = freeAddr(t)
		registered = "http://localhost:" + strings.TrimPrefix(cfg.Loopback.Addr, "127.0.0.1:") + "/callback"
		_, err := newVendor(t, shape).client(cfg).Login(t.Context(), nil)
		var refused *oauthclient.Error
		if !errors.As(is, &refused) {
			require.ErrorIs(t, err, is)
			continue
		}
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "bad_redirect_uri", refused.Code)
	}
}

// signsIn signs in with a recipe, and refreshes if the provider gave a refresh token. The ports that a recipe fixes are free ones here, and registered.
// The metadata hold what the sign-in needs, and as most providers' name no public client. answers are those of the code and of the refresh token; the last is repeated. ACCESS stands for a token that is new each time.
func signsIn(t *testing.T, cfg oauthclient.Config, sh shape, answers ...string) (*vendor, *oauthclient.Session) {
	t.Helper()
	var registered []string
	register := func() uint16 {
		port := realparts.FreePort(t)
		registered = append(registered, fmt.Sprintf("http://%s:%d/callback", cmp.Or(sh.host, "127.0.0.1"), port))
		return port
	}
	cfg.Loopback.Ports = slices.Clone(cfg.Loopback.Ports)
	for i := range cfg.Loopback.Ports {
		cfg.Loopback.Ports[i] = register()
	}
	if cfg.Loopback.Addr != "" {
		cfg.Loopback.Addr = fmt.Sprintf("127.0.0.1:%d", register())
	}
	if sh.redirect = loopbackAny(cmp.Or(sh.host, "127.0.0.1")); sh.fixed {
		sh.redirect = func(u *url.URL) bool { return slices.Contains(registered, u.String()) }
	}
	sh.answer = func(n int, _ url.Values) recorded {
		return recorded{body: strings.ReplaceAll(answers[min(n, len(answers)-1)], "ACCESS", fmt.Sprint("access", n))}
	}
	if cfg.Endpoints != nil {
		sh.authorize, sh.token, sh.jwks = cfg.Endpoints.Authorization, cfg.Endpoints.Token, cfg.Endpoints.JWKS
	} else {
		sh.metadata = map[string]any{"issuer": cfg.Issuer, "authorization_endpoint": sh.authorize, "token_endpoint": sh.token, "jwks_uri": sh.jwks,
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"}}
	}
	if sh.jwks != "" {
		sh.keys = []*josetest.Key{rsaKey()}
		claims := map[string]any{"iss": cfg.Issuer, "aud": cfg.ClientID, "sub": "alice"}
		if cfg.Endpoints != nil {
			claims["iss"] = cfg.Endpoints.Issuer
		}
		maps.Copy(claims, sh.claims)
		sh.claims = claims
	}
	if sh.iss != "" {
		sh.metadata["authorization_response_iss_parameter_supported"] = true
	}
	w := newVendor(t, sh)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := w.client(cfg).Login(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "S256", w.asked().Get("code_challenge_method"))
	if sh.jwks != "" {
		require.Equal(t, "alice", s.Account().Subject)
	}
	if s.Account().Refreshable {
		require.NoError(t, s.Refresh(t.Context()))
		require.NoError(t, s.Refresh(t.Context()))
	}
	return w, s
}

// Azure AD B2C: the metadata are at the user flow's place and nowhere else, the issuer has no flow in it, and numbers are strings.
func TestAzureB2C(t *testing.T) {
	t.Parallel()
	cfg, flow := recipeAzureB2C(), "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_sign_in"
	w, s := signsIn(t, cfg, shape{
		place: flow + "/v2.0/.well-known/openid-configuration", host: "localhost", authorize: flow + "/oauth2/v2.0/authorize", token: flow + "/oauth2/v2.0/token", jwks: flow + "/discovery/v2.0/keys",
		claims: map[string]any{"ver": "1.0", "acr": "b2c_1_sign_in"},
	}, `{"not_before":"1442340812","token_type":"Bearer","access_token":"ACCESS","scope":"11111111-2222-4333-8444-555555555555 offline_access","expires_in":"3600","refresh_token":"AAQf","id_token":"ID_TOKEN"}`)
	require.True(t, s.Account().Refreshable)
	require.InDelta(t, time.Hour, time.Until(s.Account().Expiry), float64(time.Minute))
	require.Contains(t, w.asked().Get("scope"), cfg.ClientID)
	require.NotContains(t, w.paths, cfg.Issuer+".well-known/openid-configuration")
}

// AD FS: one of the registered ports, the web API as resource, and a refresh that brings no new refresh token.
func TestADFS(t *testing.T) {
	t.Parallel()
	const base = "https://adfs.example.com/adfs"
	w, s := signsIn(t, recipeADFS(), shape{
		fixed:     true,
		authorize: base + "/oauth2/authorize/", token: base + "/oauth2/token/", jwks: base + "/discovery/keys",
		claims: map[string]any{"upn": "alice@example.com", "unique_name": `EXAMPLE\alice`},
	}, `{"access_token":"ACCESS","token_type":"bearer","expires_in":3600,"resource":"https://api.example.com/","refresh_token":"first","refresh_token_expires_in":28799,"scope":"openid","id_token":"ID_TOKEN"}`,
		`{"access_token":"ACCESS","token_type":"bearer","expires_in":3600,"id_token":"ID_TOKEN"}`)
	require.Equal(t, "https://api.example.com/", w.asked().Get("resource"))
	require.Equal(t, "first", w.sent()[2].form.Get("refresh_token"))
	require.False(t, s.Account().SessionExpiry.IsZero())
}

// LinkedIn: no token_type, an ID token without the nonce, and an authorization endpoint for native apps.
func TestLinkedIn(t *testing.T) {
	t.Parallel()
	w, s := signsIn(t, recipeLinkedIn(), shape{claims: map[string]any{"nonce": nil, "email": "alice@example.com", "email_verified": true}},
		`{"access_token":"ACCESS","expires_in":5184000,"scope":"email,openid,profile","id_token":"ID_TOKEN"}`)
	require.NotEmpty(t, w.asked().Get("nonce"))
	require.False(t, s.Account().Refreshable)
	require.Empty(t, w.sent()[0].form.Get("client_secret"))
	tok, err := s.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer", tok.Type())
}

// Atlassian and Bitbucket insist on a secret: the one in the body, the other in HTTP Basic, with "scopes" for "scope".
func TestAtlassianAndBitbucket(t *testing.T) {
	t.Parallel()
	w, _ := signsIn(t, recipeAtlassian(), shape{host: "localhost", fixed: true},
		`{"access_token":"ACCESS","expires_in":3600,"token_type":"Bearer","refresh_token":"first","scope":"read:jira-work offline_access"}`,
		`{"access_token":"ACCESS","expires_in":3600,"token_type":"Bearer","refresh_token":"second","scope":"read:jira-work offline_access"}`)
	require.Equal(t, "api.atlassian.com", w.asked().Get("audience"))
	for i, refresh := range []string{"", "first", "second"} {
		require.Equal(t, "example", w.sent()[i].form.Get("client_secret"))
		require.Equal(t, refresh, w.sent()[i].form.Get("refresh_token"))
	}

	w, s := signsIn(t, recipeBitbucket(), shape{fixed: true},
		`{"scopes":"repository account","access_token":"ACCESS","expires_in":7200,"token_type":"bearer","state":"authorization_code","refresh_token":"def"}`)
	require.NotContains(t, w.asked(), "scope")
	_, secret, _ := (&http.Request{Header: w.sent()[0].header}).BasicAuth()
	require.Equal(t, "example", secret)
	tok, err := s.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "repository account", tok.Extra("scopes"))
}

// Discord: its metadata are at the place of RFC 8414, and its answer names the issuer (RFC 9207), which is then required.
func TestDiscord(t *testing.T) {
	t.Parallel()
	const place = "https://discord.com/.well-known/oauth-authorization-server"
	answer := `{"access_token":"ACCESS","token_type":"Bearer","expires_in":604800,"refresh_token":"D43f","scope":"identify"}`
	w, s := signsIn(t, recipeDiscord(), shape{
		fixed: true, place: place, iss: "https://discord.com", authorize: "https://discord.com/api/oauth2/authorize", token: "https://discord.com/api/oauth2/token",
	}, answer)
	require.True(t, s.Account().Refreshable)
	require.Contains(t, w.paths, place)
}

// The others need what their recipes say, and no deviation.
func TestProvidersWithoutQuirks(t *testing.T) {
	t.Parallel()
	at := func(authorize, token, jwks string) shape {
		return shape{authorize: authorize, token: token, jwks: jwks}
	}
	exact := func(s shape) shape { s.fixed = true; return s }
	localhost := func(s shape) shape { s.host = "localhost"; return s }
	under := func(base, authorize, token, jwks string) shape { return at(base+authorize, base+token, base+jwks) }
	const signedIn = `{"token_type":"Bearer","expires_in":3600,"access_token":"ACCESS","refresh_token":"r","id_token":"ID_TOKEN"}`
	for name, test := range map[string]struct {
		cfg     oauthclient.Config
		shape   shape
		answers []string
		check   func(*testing.T, *vendor, *oauthclient.Session)
	}{
		"External ID": {recipeExternalID(), localhost(under("https://"+tenant+".ciamlogin.com/"+tenant, "/oauth2/v2.0/authorize", "/oauth2/v2.0/token", "/discovery/v2.0/keys")), []string{signedIn}, nil},
		"Okta":        {recipeOkta(), exact(under("https://example.okta.com/oauth2/default/v1", "/authorize", "/token", "/keys")), []string{signedIn}, nil},
		"Keycloak": {
			recipeKeycloak(), under("https://keycloak.example.com/realms/example/protocol/openid-connect", "/auth", "/token", "/certs"),
			[]string{`{"access_token":"ACCESS","expires_in":300,"refresh_expires_in":1800,"refresh_token":"r","token_type":"Bearer","id_token":"ID_TOKEN","not-before-policy":0,"session_state":"s","scope":"openid profile"}`},
			func(t *testing.T, _ *vendor, s *oauthclient.Session) {
				require.False(t, s.Account().SessionExpiry.IsZero())
			},
		},
		"Ping": {recipePing(), under("https://auth.pingone.com/"+tenant+"/as", "/authorize", "/token", "/jwks"), []string{signedIn}, nil},
		"GitLab": {
			recipeGitLab(), under("https://gitlab.com/oauth", "/authorize", "/token", "/discovery/keys"),
			[]string{`{"access_token":"ACCESS","token_type":"bearer","expires_in":7200,"refresh_token":"8257","scope":"openid read_api","created_at":1607635748,"id_token":"ID_TOKEN"}`}, nil,
		},
		"Spotify": {recipeSpotify(), shape{}, []string{`{"access_token":"ACCESS","token_type":"Bearer","expires_in":3600,"refresh_token":"AQAZ","scope":"playlist-read-private"}`}, nil},
		"Dropbox": {
			recipeDropbox(), shape{host: "localhost", fixed: true},
			[]string{
				`{"access_token":"ACCESS","token_type":"bearer","expires_in":14400,"refresh_token":"nBiM","scope":"files.metadata.read","uid":"12345","account_id":"dbid:AAH4"}`,
				`{"access_token":"ACCESS","token_type":"bearer","expires_in":14400}`,
			},
			func(t *testing.T, w *vendor, _ *oauthclient.Session) {
				require.Equal(t, "offline", w.asked().Get("token_access_type"))
				require.Equal(t, "nBiM", w.sent()[2].form.Get("refresh_token"))
			},
		},
		"Zoom":         {recipeZoom(), shape{}, []string{`{"access_token":"ACCESS","token_type":"bearer","refresh_token":"r","expires_in":3599,"scope":"user:read:user"}`}, nil},
		"Hugging Face": {recipeHuggingFace(), under("https://huggingface.co/oauth", "/authorize", "/token", "/jwks"), []string{signedIn}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := signsIn(t, test.cfg, test.shape, test.answers...)
			require.True(t, s.Account().Refreshable)
			require.Equal(t, test.cfg.ClientID, w.sent()[0].form.Get("client_id"), "a public client")
			if test.check != nil {
				test.check(t, w, s)
			}
		})
	}
}

// docs/providers.md shows these recipes and no other Go.
func TestRecipesAreTheDocs(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	source := read("provider_recipes_test.go")
	bodies := regexp.MustCompile(`(?s)func recipe\w+\(\) oauthclient\.Config \{\n(.*?)\treturn cfg\n\}`).FindAllStringSubmatch(source, -1)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../docs/providers.md"), -1)
	require.NotEmpty(t, bodies)
	require.Equal(t, len(bodies), len(blocks), "recipes, and Go blocks in docs/providers.md")
	listed := regexp.MustCompile(`\]\(#([a-z0-9-]+)\)`).FindAllStringSubmatch(read("../docs/providers.md"), -1)
	anchors := map[string]bool{}
	for _, link := range listed {
		anchors[link[1]] = true
	}
	for section := range strings.SplitSeq(read("../docs/providers.md"), "\n## ") {
		title, text, _ := strings.Cut(section, "\n")
		if strings.Contains(text, "```go\n") {
			anchor := strings.ToLower(strings.ReplaceAll(title, " ", "-"))
			require.True(t, anchors[anchor], "the section %q has a recipe and no row in the table of docs/providers.md", title)
		}
	}
	for i, b := range bodies {
		code := strings.TrimSuffix(strings.ReplaceAll("\n"+b[1], "\n\t", "\n")[1:], "\n")
		require.Equal(t, code, strings.TrimSuffix(blocks[i][1], "\n"), "docs/providers.md and provider_recipes_test.go differ")
	}
}
