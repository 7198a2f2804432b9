package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/fetch"
	"github.com/nativeoauth/nativeoauth/internal/oauth"
	"github.com/nativeoauth/nativeoauth/internal/wire"
)

const canary = "access-canary"

func ask(status int, ctype, body string, see func(*http.Request)) ([]byte, error) {
	c := &fetch.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if see != nil {
			see(r)
		}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", ctype)
		w.WriteHeader(status)
		_, _ = w.WriteString(body)
		return w.Result(), nil
	})}
	r := oauth.Request{Endpoint: "https://as.example/introspect", ClientID: "my-cli", Auth: oauth.ClientSecret("s"), Form: url.Values{"x": {"y"}}}
	return oauth.Introspect(context.Background(), c, r, wire.NewSecret(canary), "access_token")
}

func TestIntrospectReturnsTheAnswer(t *testing.T) {
	// S55: the token is in the body only.
	see := func(r *http.Request) {
		require.NotContains(t, r.URL.String(), canary)
		require.NotContains(t, fmt.Sprint(r.Header), canary)
		require.NoError(t, r.ParseForm())
		require.Equal(t, url.Values{"token": {canary}, "token_type_hint": {"access_token"}, "x": {"y"}}, r.PostForm)
	}
	body := `{"active":true,"sub":"alice","ext":{"a":1}}`
	got, err := ask(200, "application/json; charset=utf-8", body, see)
	require.NoError(t, err)
	require.Equal(t, body, string(got))
	got, err = ask(200, "application/json", `{"active":false}`, nil)
	require.NoError(t, err)
	require.Equal(t, `{"active":false}`, string(got))
}

func TestInvalidIntrospectionIsRefused(t *testing.T) {
	for _, body := range []string{``, `null`, `[]`, `{}`, `{"active":"true"}`, `{"active":1}`, `{"active":null}`, `{"Active":true}`, `{"active":false,"active":true}`, `{"active":true}x`} {
		_, err := ask(200, "application/json", body, nil)
		require.ErrorIs(t, err, wire.ErrInvalidResponse, body)
	}
	_, err := ask(200, "text/html", `{"active":true}`, nil)
	require.ErrorIs(t, err, wire.ErrInvalidResponse)
	_, err = ask(200, "application/token-introspection+jwt", `e30.e30.`, nil)
	require.ErrorIs(t, err, wire.ErrInvalidResponse)

	// S50: no answer's whole text gets into an error, and the token never does.
	for _, status := range []int{201, 302, 400, 401, 403, 500, 503} {
		_, err = ask(status, "application/json", `{"error":"invalid_client","error_description":"token `+canary+` unknown"}`, nil)
		var refused *oauth.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, status, refused.Status)
		require.NotContains(t, err.Error(), canary)
	}
	_, err = oauth.Introspect(context.Background(), nil, oauth.Request{}, wire.Secret{}, "")
	require.Error(t, err)
}

func FuzzIntrospect(f *testing.F) {
	f.Add(`{"active":true}`)
	f.Fuzz(func(t *testing.T, body string) {
		got, err := ask(200, "application/json", body, nil)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrInvalidResponse)
			require.NotContains(t, err.Error(), canary)
			return
		}
		require.Equal(t, body, string(got))
	})
}
