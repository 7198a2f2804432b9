package oauth

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMaskTokens compares the scanner with the regular expression that it
// replaces. The expression would link regexp into every program.
func FuzzMaskTokens(f *testing.F) {
	long := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"
	for _, s := range []string{"", "plain words", long, long[1:], "before " + long + " after", long + "é" + long, "\xff" + long + "\xff", long + long + "!" + long[1:]} {
		f.Add(s)
	}
	like := regexp.MustCompile(`[A-Za-z0-9._~+=%-]{64,}`)
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, like.ReplaceAllString(s, "[redacted]"), maskTokens(s))
	})
}
