package oauth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

// A server's own words are shown wherever it puts them, on one line and without what
// was sent. An error that is no text is no code.
func TestServersOwnWords(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]oauth.Error{
		`{"error":"invalid_grant","error_description":"a","message":"b"}`:            {Code: "invalid_grant", Description: "a"},
		`{"message":"Bad Request","errors":[]}`:                                      {Description: "Bad Request"},
		`{"error":{"code":401,"message":"The key is\u001b[31m wrong: code-canary"}}`: {Description: "The key is\ufffd[31m wrong: [redacted]"},
		`{"error":{"message":7}}`:                                                    {},
		`{"error":"x","error_description":"","message":"b"}`:                         {Code: "x", Description: "b"},
	} {
		_, err := send(t, 401, jsonType, body)
		var got *oauth.Error
		require.ErrorAs(t, err, &got, body)
		require.Equal(t, want.Code, got.Code, body)
		require.Equal(t, want.Description, got.Description, body)
	}
}
