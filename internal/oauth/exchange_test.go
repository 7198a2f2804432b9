package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const (
	companyIdP = "https://idp.example"
	chatServer = "https://chat.example"
	idJAGType  = "urn:ietf:params:oauth:token-type:id-jag"
)

// exchangeRequest goes to the identity provider, with a secret.
func exchangeRequest() (oauth.Request, oauth.Exchange) {
	r := oauth.Request{
		Endpoint: companyIdP + "/token", ClientID: "my-cli", Issuer: companyIdP,
		Auth: oauth.ClientSecret("secret-canary"), AuthMethods: []string{"client_secret_post"},
		Form: url.Values{"more": {"m"}},
	}
	return r, oauth.Exchange{
		Subject: wire.NewSecret("subject-canary"), SubjectType: oauth.TypeIDToken, Audience: chatServer,
		Resources: []string{chatServer + "/api"}, Scopes: []string{"read", "write"},
	}
}

// jwtOf is an unsigned JWT of that type.
func jwtOf(typ string, claims map[string]any) string {
	part := func(v map[string]any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	header := map[string]any{"alg": "ES256"}
	if typ != "" {
		header["typ"] = typ
	}
	return part(header) + "." + part(claims) + ".AAAA"
}

func idJAG(iss, aud any) string {
	return jwtOf("oauth-id-jag+jwt", map[string]any{"iss": iss, "aud": aud, "sub": "alice-canary"})
}

// exchanged is the answer of an exchange that issued token.
func exchanged(token, issuedType string) string {
	data, _ := json.Marshal(map[string]any{
		"access_token": token, "issued_token_type": issuedType, "token_type": "N_A", "expires_in": 300,
	})
	return string(data)
}

func TestExchangeSendsWhatTheRFCSays(t *testing.T) {
	a := &oneAnswer{status: 200, body: `{"access_token":"at","token_type":"Bearer","expires_in":60,"issued_token_type":"` + oauth.TypeAccessToken + `"}`}
	r, x := exchangeRequest()
	tokens, err := oauth.ExchangeToken(t.Context(), &fetch.Client{Transport: a}, r, x)
	require.NoError(t, err)
	require.Equal(t, "at", tokens.AccessToken.Reveal())
	require.Equal(t, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {oauth.TypeAccessToken}, "audience": {chatServer}, "resource": {chatServer + "/api"},
		"subject_token": {"subject-canary"}, "subject_token_type": {oauth.TypeIDToken}, "scope": {"read write"},
		"client_id": {"my-cli"}, "client_secret": {"secret-canary"}, "more": {"m"},
	}, a.form(0))
	require.Equal(t, url.Values{"more": {"m"}}, r.Form, "the caller's form is its own")

	x = oauth.Exchange{Subject: x.Subject, SubjectType: oauth.TypeJWT}
	_, err = oauth.ExchangeToken(t.Context(), &fetch.Client{Transport: a}, r, x)
	require.NoError(t, err)
	for _, name := range []string{"audience", "resource", "scope"} {
		require.NotContains(t, a.form(1), name)
	}
}

// S130: what is issued is what was requested. A refresh token, an ID token or an
// assertion in access_token must not go to an API, and nothing but an assertion to
// another authorization server.
func TestS130IssuedTokenType(t *testing.T) {
	r, x := exchangeRequest()
	for issued, ok := range map[string]bool{
		`"` + oauth.TypeAccessToken + `"`: true, `"` + oauth.TypeJWT + `"`: true, `null`: true, `""`: true,
		`"urn:ietf:params:oauth:token-type:refresh_token"`: false, `"` + oauth.TypeIDToken + `"`: false,
		`"` + idJAGType + `"`: false, `"x"`: false, `1`: false, `["` + oauth.TypeAccessToken + `"]`: false,
	} {
		body := `{"access_token":"at-canary","token_type":"Bearer","issued_token_type":` + issued + `}`
		_, err := oauth.ExchangeToken(t.Context(), fetchtest.Body(200, jsonType, body), r, x)
		if ok {
			require.NoError(t, err, issued)
			continue
		}
		require.ErrorIs(t, err, wire.ErrInvalidResponse, issued)
		require.NotContains(t, err.Error(), "canary")
	}
	good := idJAG(companyIdP, chatServer)
	for _, issued := range []string{"", oauth.TypeAccessToken, oauth.TypeIDToken, oauth.TypeJWT, "x"} {
		_, err := oauth.RequestIDJAG(t.Context(), fetchtest.Body(200, jsonType, exchanged(good, issued)), r, x, companyIdP)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, issued)
		require.ErrorContains(t, err, "issued_token_type")
	}
	// An ID token that is called an assertion would hand the user's sign-in to
	// another server.
	for _, typ := range []string{"", "JWT", "at+jwt"} {
		body := exchanged(jwtOf(typ, map[string]any{"iss": companyIdP, "aud": chatServer}), idJAGType)
		_, err := oauth.RequestIDJAG(t.Context(), fetchtest.Body(200, jsonType, body), r, x, companyIdP)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, typ)
		require.ErrorContains(t, err, "typ")
	}
}

// S131: an assertion of another issuer, or for another server or for several, is
// not sent to anybody.
func TestS131AssertionIsForOneServer(t *testing.T) {
	r, x := exchangeRequest()
	for _, good := range []string{
		idJAG(companyIdP, chatServer), idJAG(companyIdP, []string{chatServer}), idJAG(companyIdP, chatServer+"/"),
		jwtOf("application/oauth-id-jag+jwt", map[string]any{"iss": companyIdP, "aud": chatServer}),
	} {
		a := &oneAnswer{status: 200, body: exchanged(good, idJAGType)}
		got, err := oauth.RequestIDJAG(t.Context(), &fetch.Client{Transport: a}, r, x, companyIdP)
		require.NoError(t, err)
		require.Equal(t, good, got.Reveal())
		require.Equal(t, idJAGType, a.form(0).Get("requested_token_type"))
	}
	for _, bad := range []string{
		idJAG("https://evil.example", chatServer), idJAG(companyIdP+"/", chatServer), idJAG("", chatServer), idJAG(nil, chatServer),
		idJAG([]string{companyIdP}, chatServer),
		idJAG(companyIdP, "https://evil.example"), idJAG(companyIdP, chatServer+"/x"), idJAG(companyIdP, ""), idJAG(companyIdP, nil),
		idJAG(companyIdP, []string{chatServer, "https://evil.example"}), idJAG(companyIdP, []string{}), idJAG(companyIdP, []any{1}),
		idJAG(companyIdP, companyIdP), "", "opaque-canary", "a.b.c", "a.b.c.d.e", idJAG(companyIdP, chatServer) + "\n",
	} {
		_, err := oauth.RequestIDJAG(t.Context(), fetchtest.Body(200, jsonType, exchanged(bad, idJAGType)), r, x, companyIdP)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, bad)
		require.NotContains(t, err.Error(), "canary")
	}
}

// S136: what a server repeats of the token is not told.
func TestRefusedExchange(t *testing.T) {
	r, x := exchangeRequest()
	body := `{"error":"invalid_grant","error_description":"subject-canary of secret-canary has expired"}`
	var refused *oauth.Error
	_, err := oauth.ExchangeToken(t.Context(), fetchtest.Body(400, jsonType, body), r, x)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_grant", refused.Code)
	require.NotContains(t, err.Error(), "canary")
	_, err = oauth.RequestIDJAG(t.Context(), fetchtest.Body(200, jsonType, body), r, x, companyIdP)
	require.ErrorAs(t, err, &refused)
	require.NotContains(t, err.Error(), "canary")

	silent := &oneAnswer{}
	for _, subject := range []string{"", "two\nlines-canary", "a\x00", "ä"} {
		x.Subject = wire.NewSecret(subject)
		_, err = oauth.ExchangeToken(t.Context(), &fetch.Client{Transport: silent}, r, x)
		require.ErrorContains(t, err, "the token to exchange")
		require.NotContains(t, err.Error(), "canary")
		_, err = oauth.RequestIDJAG(t.Context(), &fetch.Client{Transport: silent}, r, x, companyIdP)
		require.Error(t, err)
	}
	require.Empty(t, silent.bodies, "nothing was sent")
}

// FuzzIDJAG: whatever is accepted is of the issuer and for the one server.
func FuzzIDJAG(f *testing.F) {
	f.Add(200, exchanged(idJAG(companyIdP, chatServer), idJAGType))
	f.Add(200, exchanged(idJAG(companyIdP, []string{chatServer, "x"}), idJAGType))
	f.Add(200, `{"error":"invalid_grant"}`)
	f.Add(400, "access_token=a.b.c&issued_token_type="+idJAGType)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		r, x := exchangeRequest()
		got, err := oauth.RequestIDJAG(t.Context(), fetchtest.Body(status, jsonType, body), r, x, companyIdP)
		var refused *oauth.Error
		switch {
		case err == nil:
			parts := splitJWT(got.Reveal())
			require.Len(t, parts, 3)
			payload, err := base64.RawURLEncoding.DecodeString(parts[1])
			require.NoError(t, err)
			var claims struct{ Iss, Aud any }
			require.NoError(t, json.Unmarshal(payload, &claims))
			require.Equal(t, companyIdP, claims.Iss)
			require.Contains(t, []string{
				fmt.Sprint(chatServer), fmt.Sprint(chatServer, "/"), fmt.Sprintf("[%s]", chatServer), fmt.Sprintf("[%s/]", chatServer),
			}, fmt.Sprint(claims.Aud))
		case errors.As(err, &refused):
			require.NotContains(t, err.Error(), "canary")
		default:
			var fe *fetch.Error
			require.True(t, errors.Is(err, wire.ErrInvalidResponse) || errors.As(err, &fe), "%v", err)
		}
	})
}
