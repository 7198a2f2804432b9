package oauth_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/fetch/fetchtest"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

func splitJWT(token string) []string { return strings.Split(token, ".") }

func chatRequest() oauth.Request {
	return oauth.Request{Endpoint: chatServer + "/token", ClientID: "my-cli", Issuer: chatServer, Auth: oauth.ClientSecret("secret-canary")}
}

func TestAssertionAsGrantSendsWhatTheRFCSays(t *testing.T) {
	a := &oneAnswer{status: 200, body: ok(`,"expires_in":60`)}
	assertion := wire.NewSecret("a.b.c")
	tokens, err := oauth.RequestByAssertion(t.Context(), &fetch.Client{Transport: a}, chatRequest(), assertion,
		[]string{"https://one.example/", "https://two.example/"}, []string{"read", "write"})
	require.NoError(t, err)
	require.Equal(t, "at", tokens.AccessToken.Reveal())
	require.Equal(t, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"a.b.c"},
		"resource": {"https://one.example/", "https://two.example/"}, "scope": {"read write"},
	}, a.form(0))
	require.NotEmpty(t, a.header.Get("Authorization"))

	_, err = oauth.RequestByAssertion(t.Context(), &fetch.Client{Transport: a}, chatRequest(), assertion, nil, nil)
	require.NoError(t, err)
	require.NotContains(t, a.form(1), "resource")
	require.NotContains(t, a.form(1), "scope")
}

// S136: what a server repeats of the assertion is not told.
func TestRefusedAssertion(t *testing.T) {
	var refused *oauth.Error
	body := `{"error":"invalid_grant","error_description":"assertion-canary has expired"}`
	_, err := oauth.RequestByAssertion(t.Context(), fetchtest.Body(400, jsonType, body), chatRequest(),
		wire.NewSecret("assertion-canary"), nil, nil)
	require.ErrorAs(t, err, &refused)
	require.NotContains(t, err.Error(), "canary")
	silent := &oneAnswer{}
	for _, text := range []string{"", "a.b.c\n", "\x1b[2J", "<html>\n</html>"} {
		_, err := oauth.RequestByAssertion(t.Context(), &fetch.Client{Transport: silent}, chatRequest(), wire.NewSecret(text), nil, nil)
		require.ErrorContains(t, err, "the assertion")
		require.NotContains(t, err.Error(), "\x1b")
	}
	require.Empty(t, silent.bodies, "nothing was sent")
}

// FuzzByAssertion: an answer to an assertion is read as any other, and echoes
// nothing of it.
func FuzzByAssertion(f *testing.F) {
	f.Add(200, ok(""))
	f.Add(400, `{"error":"invalid_grant","error_description":"assertion-canary"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			status = 200
		}
		_, err := oauth.RequestByAssertion(t.Context(), fetchtest.Body(status, jsonType, body), chatRequest(),
			wire.NewSecret("assertion-canary"), nil, nil)
		var refused *oauth.Error
		var fe *fetch.Error
		if err != nil {
			require.NotContains(t, err.Error(), "assertion-canary")
			require.True(t, errors.As(err, &refused) || errors.Is(err, wire.ErrInvalidResponse) || errors.As(err, &fe), "%v", err)
		}
	})
}
