package authserver_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/authserver"
)

// company is an identity provider, and a chat server that trusts it.
func company(t *testing.T, changeIdP func(*authserver.Config)) (idp, chat *fixture) {
	t.Helper()
	idp = start(t, func(c *authserver.Config) {
		if changeIdP != nil {
			changeIdP(c)
		}
	})
	chat = start(t, func(c *authserver.Config) {
		c.Trusted = []authserver.Trusted{{Issuer: idp.as.Issuer(), Keys: idp.as.PublicKeys, Users: true}}
		c.Now = idp.clock.Now
	})
	return idp, chat
}

func (f *fixture) exchangeForm(idToken, audience string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"app"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"}, "audience": {audience},
		"subject_token": {idToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	}, pairs...)
}

func assertionForm(assertion string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "client_id": {"app"}, "assertion": {assertion},
	}, pairs...)
}

func TestIdentityAssertion(t *testing.T) {
	idp, chat := company(t, nil)
	signedIn := idp.login()
	api := "https://api.example/"
	got := idp.post("/token", idp.exchangeForm(signedIn.ID, chat.as.Issuer(), "resource", api, "scope", "read write"))
	require.Equal(t, 200, got.StatusCode, got.Body)
	m := got.json(t)
	require.Equal(t, "urn:ietf:params:oauth:token-type:id-jag", m["issued_token_type"])
	require.Equal(t, "N_A", m["token_type"])
	assertion := m["access_token"].(string)
	claims := idp.claims(assertion)
	require.Equal(t, []any{idp.as.Issuer(), "u1", chat.as.Issuer(), "app", api, "read write", "alice@example.com"},
		[]any{claims["iss"], claims["sub"], claims["aud"], claims["client_id"], claims["resource"], claims["scope"], claims["email"]})
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[0])
	require.NoError(t, err)
	require.Contains(t, string(header), `"typ":"oauth-id-jag+jwt"`)

	tokens := chat.post("/token", assertionForm(assertion, "scope", "read")).tokens(t)
	require.Equal(t, "read", tokens.Scope)
	require.Empty(t, tokens.Refresh+tokens.ID)
	active := chat.post("/introspect", url.Values{"client_id": {"app"}, "token": {tokens.Access}}).json(t)
	require.Equal(t, "u1", active["sub"])
	require.Equal(t, []any{api}, active["aud"])
	chat.post("/token", assertionForm(assertion)).refused(t, 400, "invalid_grant") // once

	chat.as.Revoke()
	require.False(t, chat.as.Active(tokens.Access))
	idp.post("/token", assertionForm(assertion)).refused(t, 400, "unsupported_grant_type")
}

func TestRefusedExchanges(t *testing.T) {
	idp, chat := company(t, nil)
	id := idp.login().ID
	other := chat.as.Issuer()
	for _, bad := range []struct{ name, value, code string }{
		{"audience", "", "invalid_target"}, {"audience", idp.as.Issuer(), "invalid_target"},
		{"subject_token", "a.b.c", "invalid_grant"}, {"subject_token", chat.login().ID, "invalid_grant"},
		{"subject_token", "", "invalid_request"}, {"subject_token_type", "", "invalid_request"},
		{"subject_token_type", "urn:ietf:params:oauth:token-type:saml2", "invalid_request"},
		{"client_id", "other", "invalid_grant"}, {"client_id", "codeonly", "unauthorized_client"},
	} {
		idp.post("/token", with(idp.exchangeForm(id, other), bad.name, bad.value)).refused(t, 400, bad.code)
	}
	assertion := idp.post("/token", idp.exchangeForm(id, other)).json(t)["access_token"].(string)
	idp.post("/token", idp.exchangeForm(assertion, other)).refused(t, 400, "invalid_grant") // no assertion for an assertion
	idp.clock.Advance(6 * time.Minute)
	idp.post("/token", idp.exchangeForm(id, other)).refused(t, 400, "invalid_grant")
	chat.post("/token", assertionForm(assertion)).refused(t, 400, "invalid_grant")
}

func TestRefusedAssertions(t *testing.T) {
	var edit func(map[string]any)
	idp, chat := company(t, func(c *authserver.Config) {
		c.EditAssertion = func(claims map[string]any) {
			if edit != nil {
				edit(claims)
			}
		}
	})
	id := idp.login().ID
	for name, value := range map[string]any{
		"aud": "https://evil.example", "iss": "https://evil.example", "client_id": "other", "sub": "u9", "jti": "",
		"exp": 1, "nbf": int64(99999999999), "": nil,
	} {
		edit = func(claims map[string]any) { claims[name] = value }
		assertion := idp.post("/token", idp.exchangeForm(id, chat.as.Issuer())).json(t)["access_token"].(string)
		if name == "" {
			chat.post("/token", assertionForm(assertion)).tokens(t)
			continue
		}
		chat.post("/token", assertionForm(assertion)).refused(t, 400, "invalid_grant")
	}
	chat.post("/token", assertionForm(id)).refused(t, 400, "invalid_grant") // the ID token itself
	chat.post("/token", assertionForm("")).refused(t, 400, "invalid_request")
	edit = func(claims map[string]any) { claims["resource"] = "https://one.example/" }
	assertion := idp.post("/token", idp.exchangeForm(id, chat.as.Issuer())).json(t)["access_token"].(string)
	chat.post("/token", assertionForm(assertion, "resource", "https://two.example/")).refused(t, 400, "invalid_target")
}

// A platform's JWT about a program may be used until it expires.
func TestPlatformAssertion(t *testing.T) {
	platform := start(t)
	key, id, alg := platform.as.SigningKey()
	f := start(t, func(c *authserver.Config) {
		c.Trusted = []authserver.Trusted{{Issuer: "https://platform.example", Keys: platform.as.PublicKeys}}
		c.Scopes = []string{"read"}
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	require.NoError(t, err)
	jwt := func(aud any) string {
		payload, err := json.Marshal(map[string]any{
			"iss": "https://platform.example", "sub": "repo:x", "aud": aud, "exp": f.clock.Now().Add(time.Minute).Unix(),
		})
		require.NoError(t, err)
		jws, err := signer.Sign(payload)
		require.NoError(t, err)
		raw, err := jws.CompactSerialize()
		require.NoError(t, err)
		return raw
	}
	for range 2 {
		got := f.post("/token", assertionForm(jwt(f.as.Issuer()), "scope", "read write")).tokens(t)
		require.Equal(t, "read", got.Scope)
		require.Empty(t, got.Refresh+got.ID)
		require.True(t, f.as.Active(got.Access))
	}
	f.post("/token", assertionForm(jwt(f.as.Issuer()), "scope", "read offline_access")).refused(t, 400, "invalid_scope")
	f.post("/token", assertionForm(jwt("https://evil.example"))).refused(t, 400, "invalid_grant")
	f.post("/token", assertionForm(jwt([]string{f.as.Issuer(), "https://evil.example"}))).refused(t, 400, "invalid_grant")
}
