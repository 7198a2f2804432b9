package pkce_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/pkce"
)

// The vector of RFC 7636, appendix B.
const (
	vectorVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	vectorChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// S24, S25: the published vector, and S256 as the only method there is.
func TestS24S25TheChallengeMatchesTheRFC(t *testing.T) {
	v, err := pkce.Parse(vectorVerifier)
	require.NoError(t, err)
	require.Equal(t, vectorChallenge, v.Challenge())
	require.Equal(t, vectorVerifier, v.Reveal())
	require.Equal(t, "S256", pkce.Method)
}

// S24: 32 random bytes in 43 characters, fresh each time.
func TestS24NewIsRandom(t *testing.T) {
	seen := map[string]bool{}
	var ones [256]int
	for range 2000 {
		v := pkce.New()
		require.Len(t, v.Reveal(), 43)
		require.Len(t, v.Challenge(), 43)
		require.NotEqual(t, v.Reveal(), v.Challenge())
		again, err := pkce.Parse(v.Reveal())
		require.NoError(t, err)
		require.Equal(t, v.Challenge(), again.Challenge())
		require.False(t, seen[v.Reveal()])
		seen[v.Reveal()] = true
		ones[v.Reveal()[7]]++
	}
	letters := 0
	for _, n := range ones {
		if n > 0 {
			letters++
		}
	}
	// The chance that a letter is missing is 64·(63/64)^2000.
	require.Equal(t, 64, letters, "every letter of the alphabet occurs")
}

// S24: what RFC 7636 §4.1 does not allow is refused, and the error does not
// repeat it.
func TestS24ParseRefusesWhatTheRFCForbids(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, s := range []string{strings.Repeat("a", 43), long, strings.Repeat("-._~", 11)} {
		_, err := pkce.Parse(s)
		require.NoError(t, err, s)
	}
	for name, s := range map[string]string{
		"empty":   "",
		"42":      strings.Repeat("a", 42),
		"129":     long + "a",
		"padding": strings.Repeat("a", 43) + "=",
		"plus":    strings.Repeat("a", 43) + "+",
		"slash":   strings.Repeat("a", 43) + "/",
		"space":   strings.Repeat("a", 43) + " ",
		"newline": strings.Repeat("a", 43) + "\n",
		"nul":     strings.Repeat("a", 43) + "\x00",
		"letter":  strings.Repeat("é", 43),
	} {
		v, err := pkce.Parse(s)
		require.Error(t, err, name)
		require.Zero(t, v)
		if len(s) > 0 {
			require.NotContains(t, err.Error(), s, name)
		}
	}
}

// S25: the zero value cannot be taken for a verifier.
func TestS25TheZeroVerifierIsEmpty(t *testing.T) {
	var v pkce.Verifier
	require.Empty(t, v.Challenge())
	require.Empty(t, v.Reveal())
	require.Empty(t, fmt.Sprint(v))
}

// S66: no verb prints the verifier, not even from an unexported field of another
// type.
func TestS66PrintingShowsNoVerifier(t *testing.T) {
	v, err := pkce.Parse(vectorVerifier)
	require.NoError(t, err)
	type transaction struct {
		Name string
		v    pkce.Verifier
	}
	for _, x := range []any{
		v, &v, transaction{
			"n", v,
		}, &transaction{"n", v}, []pkce.Verifier{v}, map[string]any{"v": v},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.NotContains(t, fmt.Sprintf(verb, x), vectorVerifier, verb)
			require.NotContains(t, fmt.Sprintf(verb, x), fmt.Sprintf("%x", vectorVerifier), verb)
		}
		b, err := json.Marshal(x)
		require.NoError(t, err)
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", x)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", x)
		require.NotContains(t, string(b)+out.String(), vectorVerifier)
	}
	require.Equal(t, "[redacted]", fmt.Sprintf("%#v", v))
}

func FuzzParse(f *testing.F) {
	f.Add(vectorVerifier)
	f.Add(strings.Repeat("a", 129))
	f.Fuzz(func(t *testing.T, s string) {
		v, err := pkce.Parse(s)
		if err != nil {
			require.Zero(t, v)
			return
		}
		require.Equal(t, s, v.Reveal())
		require.Len(t, v.Challenge(), 43)
		require.Regexp(t, `^[A-Za-z0-9._~-]{43,128}$`, s)
	})
}
