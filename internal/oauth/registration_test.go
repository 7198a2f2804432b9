package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func register(a *oneAnswer, r oauth.RegistrationRequest, initial string) (*oauth.RegisteredClient, error) {
	return oauth.Register(context.Background(), &fetch.Client{Transport: a}, "https://as.example/register", r, wire.NewSecret(initial))
}

var redirects = []string{"http://127.0.0.1/callback", "http://[::1]/callback"}

// S45: a native, public client, whatever Extra says.
func TestS45RegistersANativeClient(t *testing.T) {
	a := &oneAnswer{status: 201, body: `{"client_id":"c1","redirect_uris":["http://[::1]/callback","http://127.0.0.1/callback","x"],"token_endpoint_auth_method":"none"}`}
	extra := map[string]any{
		"application_type": "web", "token_endpoint_auth_method": "client_secret_post", "redirect_uris": []string{"https://evil.example"}, "response_types": []string{"token"}, "grant_types": []string{"password"},
		"scope": "admin", "client_name": "Evil", "dpop_bound_access_tokens": true, "contacts": []string{"a@b.example"},
	}
	got, err := register(a, oauth.RegistrationRequest{RedirectURIs: redirects, SoftwareID: "my-cli", SoftwareVersion: "1", Extra: extra}, "")
	require.NoError(t, err)
	require.Equal(t, &oauth.RegisteredClient{ID: "c1", AuthMethod: "none"}, got)
	require.Equal(t, map[string]any{
		"application_type": "native", "token_endpoint_auth_method": "none", "redirect_uris": []any{redirects[0], redirects[1]}, "response_types": []any{"code"},
		"grant_types": []any{"authorization_code", "refresh_token"}, "software_id": "my-cli", "software_version": "1", "contacts": []any{"a@b.example"},
	}, a.object())
	require.Equal(t, "web", extra["application_type"], "the caller's map is not changed")
	require.Empty(t, a.header.Get("Authorization"))
	require.Equal(t, "application/json", a.header.Get("Content-Type"))

	_, err = register(a, oauth.RegistrationRequest{DPoP: true, Scope: "openid", GrantTypes: []string{"authorization_code"}, AuthMethod: "private_key_jwt", ClientName: "My CLI"}, "initial-canary")
	require.NoError(t, err)
	require.Equal(t, "Bearer initial-canary", a.header.Get("Authorization"))
	require.Equal(t, true, a.object()["dpop_bound_access_tokens"])
	require.Equal(t, "private_key_jwt", a.object()["token_endpoint_auth_method"])
	require.Equal(t, "My CLI", a.object()["client_name"])
	require.Equal(t, []any{}, a.object()["redirect_uris"], "a list, not null")

	_, err = register(a, oauth.RegistrationRequest{Extra: map[string]any{"x": func() {}}}, "")
	require.Error(t, err)
}

// The provider decides how the client authenticates.
func TestRegisteredAuthMethodIsTheProviders(t *testing.T) {
	ask := func(method, body string) (*oauth.RegisteredClient, error) {
		return register(&oneAnswer{status: 200, body: body}, oauth.RegistrationRequest{AuthMethod: method}, "")
	}
	for body, want := range map[string]oauth.RegisteredClient{
		`{"client_id":"c"}`: {ID: "c", AuthMethod: "none"},
		`{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"none"}`:                                              {ID: "c", AuthMethod: "none"},
		`{"client_id":"c","client_secret":"s","client_secret_expires_at":0}`:                                                     {ID: "c", AuthMethod: "client_secret_basic", Secret: wire.NewSecret("s")},
		`{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post","client_secret_expires_at":1e9}`: {ID: "c", AuthMethod: "client_secret_post", Secret: wire.NewSecret("s"), SecretExpiry: time.Unix(1e9, 0)},
		`{"client_id":"c","client_secret":"s","client_secret_expires_at":1e300}`:                                                 {ID: "c", AuthMethod: "client_secret_basic", Secret: wire.NewSecret("s"), SecretExpiry: time.Unix(1<<37, 0)},
	} {
		got, err := ask("", body)
		require.NoError(t, err, body)
		require.Equal(t, &want, got, body)
	}
	got, err := ask("private_key_jwt", `{"client_id":"c"}`)
	require.NoError(t, err)
	require.Equal(t, "private_key_jwt", got.AuthMethod)
	for _, method := range []string{"private_key_jwt", "client_secret_jwt", "tls_client_auth", "x\x1b"} {
		b, _ := json.Marshal(map[string]string{"client_id": "c", "token_endpoint_auth_method": method})
		_, err := ask("", string(b))
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.NotContains(t, err.Error(), "\x1b")
	}
}

// Several providers keep one redirect URI, or send a secret to a client that
// asked for none. The method in the answer decides; without one, what is
// offered.
func TestRegistrationAnswersAsTheyAre(t *testing.T) {
	got, err := register(&oneAnswer{status: 200, body: `{"client_id":"c","redirect_uris":["http://127.0.0.1/callback"],"client_secret_expires_at":"0","scope":null}`}, oauth.RegistrationRequest{RedirectURIs: redirects}, "")
	require.NoError(t, err)
	require.Equal(t, &oauth.RegisteredClient{ID: "c", AuthMethod: "none", Dropped: redirects[1:]}, got)

	for want, offered := range map[string][]string{
		"none": {"none"}, "client_secret_post": {"none", "client_secret_post"}, "client_secret_basic": {"none", "client_secret_post", "client_secret_basic"},
	} {
		got, err := register(&oneAnswer{status: 201, body: `{"client_id":"c","client_secret":"s","client_secret_expires_at":"1e9"}`}, oauth.RegistrationRequest{Offered: offered}, "")
		require.NoError(t, err)
		require.Equal(t, want, got.AuthMethod)
		require.Equal(t, want == "none", got.Secret.IsZero())
		if want != "none" {
			require.Equal(t, time.Unix(1e9, 0), got.SecretExpiry)
		}
	}
}

func TestInvalidRegistrationIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"empty": ``, "null": `null`, "list": `[]`, "no id": `{}`, "empty id": `{"client_id":""}`, "id with a line break": `{"client_id":"a\nb"}`, "huge id": `{"client_id":"` + strings.Repeat("a", 4097) + `"}`,
		"id twice": `{"client_id":"a","client_id":"b"}`, "other case": `{"Client_ID":"a"}`, "id a number": `{"client_id":7}`, "secret with a line break": `{"client_id":"c","client_secret":"a\r\nX: y"}`,
		"secret missing": `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`, "another redirect URI": `{"client_id":"c","redirect_uris":["https://evil.example"]}`,
		"no redirect URI": `{"client_id":"c","redirect_uris":[]}`, "the second of two": `{"client_id":"c","redirect_uris":["http://[::1]/callback"]}`, "expiry a word": `{"client_id":"c","client_secret_expires_at":"never"}`, "trailing": `{"client_id":"c"}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := register(&oneAnswer{status: 201, body: body}, oauth.RegistrationRequest{RedirectURIs: redirects}, "")
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
		})
	}
	_, err := register(&oneAnswer{status: 201, ctype: "text/html", body: `{"client_id":"c"}`}, oauth.RegistrationRequest{}, "")
	require.ErrorIs(t, err, wire.ErrInvalidResponse)

	// S50: a refusal is typed, and holds neither the body nor the initial
	// access token that it echoes.
	for _, status := range []int{202, 302, 400, 401, 403, 500} {
		_, err := register(&oneAnswer{status: status, body: `{"error":"invalid_redirect_uri","error_description":"token initial-canary"}`}, oauth.RegistrationRequest{}, "initial-canary")
		var refused *oauth.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "invalid_redirect_uri", refused.Code)
		require.NotContains(t, err.Error(), "initial-canary")
	}
	_, err = oauth.Register(context.Background(), nil, "http://as.example/register", oauth.RegistrationRequest{}, wire.Secret{})
	require.ErrorIs(t, err, wire.ErrUnsafeURL)
}

// S44: a kept registration is good for one issuer and one request.
func TestS44KeptForOneIssuerAndRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := oauth.RegistrationRequest{RedirectURIs: redirects, Scope: "openid", Extra: map[string]any{"b": 1, "a": 2}}
		c := oauth.RegisteredClient{ID: "c", Secret: wire.NewSecret("secret-canary"), SecretExpiry: time.Now().Add(time.Hour), AuthMethod: "client_secret_basic"}
		data, err := c.Marshal("https://as.example", r)
		require.NoError(t, err)
		back, err := oauth.LoadClient([]byte(data.Reveal()), "https://as.example", oauth.RegistrationRequest{RedirectURIs: redirects, Scope: "openid", Extra: map[string]any{"a": 2, "b": 1}})
		require.NoError(t, err)
		require.Equal(t, c.Secret.Reveal(), back.Secret.Reveal())
		require.True(t, c.SecretExpiry.Equal(back.SecretExpiry))
		require.Equal(t, []string{c.ID, c.AuthMethod}, []string{back.ID, back.AuthMethod})

		_, err = oauth.LoadClient([]byte(data.Reveal()), "https://evil.example", r)
		require.ErrorIs(t, err, oauth.ErrStaleRegistration)
		for _, changed := range []oauth.RegistrationRequest{{}, {RedirectURIs: redirects[:1], Scope: "openid", Extra: r.Extra}, {RedirectURIs: redirects, Scope: "openid email", Extra: r.Extra}, {RedirectURIs: redirects, Scope: "openid", Extra: r.Extra, DPoP: true}} {
			_, err = oauth.LoadClient([]byte(data.Reveal()), "https://as.example", changed)
			require.ErrorIs(t, err, oauth.ErrStaleRegistration)
		}
		for _, damaged := range []string{"", "{}", "null", data.Reveal()[:20], strings.Replace(data.Reveal(), `"v":1`, `"v":2`, 1)} {
			_, err = oauth.LoadClient([]byte(damaged), "https://as.example", r)
			require.ErrorIs(t, err, oauth.ErrStaleRegistration)
		}
		time.Sleep(time.Hour)
		_, err = oauth.LoadClient([]byte(data.Reveal()), "https://as.example", r)
		require.ErrorIs(t, err, oauth.ErrStaleRegistration)

		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} { // S66
			for _, v := range []any{c, &c, data} {
				require.NotContains(t, fmt.Sprintf(verb, v), "secret-canary")
			}
		}
	})
}

// S45: the table of client ID URLs.
func TestS45DocumentURLsAreChecked(t *testing.T) {
	for _, ok := range []string{"https://example.com/client.json", "https://example.com:8443/a/b", "https://example.com/a?b=c", "https://example.com/..a/.b/c..", "https://[2001:db8::1]/c"} {
		require.NoError(t, oauth.CheckDocumentURL(ok), ok)
		require.True(t, oauth.IsDocumentURL(ok))
	}
	for _, bad := range []string{
		"", "my-cli", "http://example.com/c", "http://127.0.0.1/c", "https://example.com", "https://example.com/", "https://example.com//", "https://example.com?x", "https://example.com/c#f", "https://example.com/c#",
		"https://u@example.com/c", "https://u:p@example.com/c", "https://example.com/../c", "https://example.com/a/./c", "https://example.com/a/..", "https://example.com/%2e%2E/c", "https://example.com/.%2e/c", "https://example.com/a/%2e", "https://example.com/a%2F..%2Fb",
		"HTTPS://example.com/c", "https://Example.com/c", "https://example.com:443/c", "https://example.com/ c", "https://example.com/c\n", "https://example.com:0/c", "ftp://example.com/c", "https:/example.com/c",
	} {
		require.ErrorIs(t, oauth.CheckDocumentURL(bad), oauth.ErrDocumentURL, bad)
	}
	require.True(t, oauth.IsDocumentURL("HTTPS://x"), "meant as one, and then refused")
	require.False(t, oauth.IsDocumentURL("https-client"))
	require.False(t, oauth.IsDocumentURL(""))
}

func FuzzRegister(f *testing.F) {
	f.Add(`{"client_id":"c","client_secret":"s","client_secret_expires_at":17,"redirect_uris":["http://127.0.0.1/callback"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		r := oauth.RegistrationRequest{RedirectURIs: redirects[:1]}
		c, err := register(&oneAnswer{status: 201, body: body}, r, "")
		if err != nil {
			return
		}
		require.NotEmpty(t, c.ID)
		require.Equal(t, c.Secret.IsZero(), c.AuthMethod == "none")
		_, err = c.Marshal("https://as.example", r)
		require.NoError(t, err)
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(`{"v":1,"iss":"i","req":"","client_id":"c","auth":"none"}`)
	f.Fuzz(func(t *testing.T, data string) {
		_, err := oauth.LoadClient([]byte(data), "https://as.example", oauth.RegistrationRequest{})
		if err != nil {
			require.ErrorIs(t, err, oauth.ErrStaleRegistration)
		}
	})
}

func FuzzDocumentURL(f *testing.F) {
	f.Add("https://example.com/%2e%2e/c")
	f.Fuzz(func(t *testing.T, raw string) {
		if oauth.CheckDocumentURL(raw) != nil {
			return
		}
		u, err := wire.URLPolicy{}.Parse(raw)
		require.NoError(t, err)
		require.NotContains(t, "/"+u.Path+"/", "/../")
		require.True(t, oauth.IsDocumentURL(raw))
	})
}
