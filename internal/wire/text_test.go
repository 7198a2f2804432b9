package wire_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// S5: a server's words cannot control a terminal.
func TestS5TextIsSafeToShow(t *testing.T) {
	for in, want := range map[string]string{
		"The person said no.":       "The person said no.",
		"\x1b]0;owned\x07":          "�]0;owned�",
		"\x1b[2J\u009b31m":          "�[2J�31m",
		"a\r\nb\tc":                 "a  b c",
		"safe\u202egnp.exe":         "safe�gnp.exe",
		"\u2066x\u2069\u200b\ufeff": "�x���",
		"\xff\xfe":                  "��",
		"日本語 é":                     "日本語 é",
		"  padded  ":                "padded",
		"\U000e0041tag":             "�tag",
		"nbsp\u00a0here\u2028line":  "nbsp here�line",
	} {
		require.Equal(t, want, wire.SafeText(in, 0), "%q", in)
	}
	require.Equal(t, strings.Repeat("x", 10)+"…", wire.SafeText(strings.Repeat("x", 1000), 10))
	require.Equal(t, strings.Repeat("x", 200)+"…", wire.SafeText(strings.Repeat("x", 1000), 0))
	require.Equal(t, strings.Repeat("x", 10), wire.SafeText(strings.Repeat("x", 10), 10))
}

func FuzzText(f *testing.F) {
	f.Add("\x1b]8;;http://x\x07", 10)
	f.Fuzz(func(t *testing.T, s string, max int) {
		out := wire.SafeText(s, max%1000)
		require.True(t, utf8.ValidString(out))
		for _, r := range out {
			require.True(t, unicode.IsGraphic(r), "%q", r)
		}
	})
}
