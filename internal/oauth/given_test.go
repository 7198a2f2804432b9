package oauth_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// A token for another server is not sent, and no error repeats it.
func TestS110GivenTokensAreForTheServer(t *testing.T) {
	t.Parallel()
	const server = "https://login.example"
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2VjcmV0"
	}
	for _, c := range []struct {
		token, audience  string
		assertion, other bool // whether it may go as an assertion, and as another token
	}{
		{jwt(`{"aud":"https://login.example"}`), server, true, true},
		{jwt(`{"aud":"https://login.example/"}`), server, true, true},
		{jwt(`{"aud":["https://login.example"]}`), server, true, true},
		{jwt(`{"aud":["https://vault.example","https://login.example"]}`), server, false, true},
		{jwt(`{"aud":"api://AzureADTokenExchange"}`), "api://AzureADTokenExchange", true, true},
		{jwt(`{"aud":"https://kubernetes.default.svc"}`), server, false, false},
		{jwt(`{"aud":"https://login.example.evil"}`), server, false, false},
		{jwt(`{"aud":["https://vault.example"]}`), server, false, false},
		{jwt(`{"aud":"https://login.example/other"}`), server, false, false},
		{jwt(`{"aud":"https://login.example"}`), server + "/tenant", false, false},
		{jwt(`{"sub":"job"}`), server, false, true},
		{jwt(`{"aud":null}`), server, false, true},
		{jwt(`{"aud":[]}`), server, false, false},
		{jwt(`{"aud":7}`), server, false, false},
		{jwt(`{"aud":["https://login.example",7]}`), server, false, false},
		{jwt(`[]`), server, false, true},
		{"opaque-secret", server, false, true},
		{"a.b.c", server, false, true},
		{"", server, false, false},
		{"two secrets", server, false, false},
		{"secret\n", server, false, false},
		{"se\x00cret", server, false, false},
		{strings.Repeat("x", 100<<10), server, false, false},
	} {
		for _, assertion := range []bool{true, false} {
			err := oauth.CheckGiven(c.token, c.audience, assertion)
			want := c.other
			if assertion {
				want = c.assertion
			}
			require.Equal(t, want, err == nil, "%q for %s: %v", c.token[:min(len(c.token), 80)], c.audience, err)
			if err != nil {
				require.NotContains(t, err.Error(), "secret")
				require.NotContains(t, err.Error(), "c2VjcmV0")
				require.NotContains(t, err.Error(), "vault")
			}
		}
	}
}
