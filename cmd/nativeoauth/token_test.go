package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

func TestTokenFormats(t *testing.T) {
	t.Parallel()
	tok := &oauth2.Token{AccessToken: "a-._~+/9=", TokenType: "Bearer"}
	for format, want := range map[string]string{
		"token": "a-._~+/9=", "header": "Authorization: Bearer a-._~+/9=",
		"env":        "export NATIVEOAUTH_ACCESS_TOKEN='a-._~+/9='",
		"fish":       "set -gx NATIVEOAUTH_ACCESS_TOKEN 'a-._~+/9='",
		"powershell": "$env:NATIVEOAUTH_ACCESS_TOKEN = 'a-._~+/9='",
		"dotenv":     "NATIVEOAUTH_ACCESS_TOKEN=a-._~+/9=",
		"curl":       `header = "Authorization: Bearer a-._~+/9="`,
	} {
		got, err := formatToken(tok, format, "")
		require.NoError(t, err)
		require.Equal(t, want+"\n", got)
	}
	for format, want := range map[string]string{
		"xoauth2":     "user=a,b=c@example.com\x01auth=Bearer a-._~+/9=\x01\x01",
		"oauthbearer": "n,a=a=2Cb=3Dc@example.com,\x01auth=Bearer a-._~+/9=\x01\x01",
	} {
		got, err := formatToken(tok, format, "a,b=c@example.com")
		require.NoError(t, err)
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(got, "\n"))
		require.NoError(t, err)
		require.Equal(t, want, string(plain))
		for _, user := range []string{"", "me\x01auth=Bearer other", "me\r\n"} {
			_, err := formatToken(tok, format, user)
			require.ErrorContains(t, err, "--user")
		}
		_, err = formatToken(&oauth2.Token{AccessToken: "x", TokenType: "DPoP"}, format, "me")
		require.ErrorContains(t, err, "--dpop")
	}
}

// A provider's token cannot get out of the quotes of any format.
func TestATokenThatNeedsQuotesIsRefused(t *testing.T) {
	t.Parallel()
	for _, format := range tokenFormats[4:] {
		for _, bad := range []string{"'", "\u2019", `"`, `\`, "\n", "$", "#", " ", "\x01", "é"} {
			_, err := formatToken(&oauth2.Token{AccessToken: "t" + bad, TokenType: "Bearer"}, format, "me")
			require.ErrorContains(t, err, "cannot carry", "%s %q", format, bad)
		}
	}
}
