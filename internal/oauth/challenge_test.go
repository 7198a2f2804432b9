package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/oauth"
)

type c = oauth.Challenge
type m = map[string]string

func header(fields ...string) http.Header { return http.Header{"Www-Authenticate": fields} }

// S42: several challenges in one field and over several, quoted strings, odd
// case, junk.
func TestS42ChallengesAreParsedWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		fields []string
		want   []c
	}{
		"none":                      {nil, nil},
		"empty":                     {[]string{"", " , ,, "}, nil},
		"scheme alone":              {[]string{"Bearer"}, []c{{Scheme: "bearer"}}},
		"schemes alone":             {[]string{"Bearer, DPoP"}, []c{{Scheme: "bearer"}, {Scheme: "dpop"}}},
		"odd case and white space":  {[]string{"bEaReR  REALM = \"x\" ,\tError=invalid_token"}, []c{{"bearer", m{"realm": "x", "error": "invalid_token"}}}},
		"a comma inside quotes":     {[]string{`Bearer scope="a,b", realm="Basic realm=\"y\", DPoP"`}, []c{{"bearer", m{"scope": "a,b", "realm": `Basic realm="y", DPoP`}}}},
		"escapes":                   {[]string{`Bearer realm="a\\b\"c\d"`}, []c{{"bearer", m{"realm": `a\b"cd`}}}},
		"two challenges":            {[]string{`Basic realm="x", Bearer error="invalid_token", scope="a b"`}, []c{{"basic", m{"realm": "x"}}, {"bearer", m{"error": "invalid_token", "scope": "a b"}}}},
		"two fields":                {[]string{`DPoP algs="ES256"`, `Bearer`}, []c{{"dpop", m{"algs": "ES256"}}, {Scheme: "bearer"}}},
		"token68":                   {[]string{`Negotiate abc/+~.-_==, Bearer realm=x`}, []c{{Scheme: "negotiate"}, {"bearer", m{"realm": "x"}}}},
		"token68 that looks like =": {[]string{`Foo abc=`, `Foo realm=, error=x`}, []c{{Scheme: "foo"}, {Scheme: "foo"}}},
		"empty list elements":       {[]string{`,,Bearer ,, realm="x",, ,DPoP`}, []c{{Scheme: "bearer"}}},
		"empty elements inside":     {[]string{`Bearer a=b,, c=d, ,DPoP`}, []c{{"bearer", m{"a": "b", "c": "d"}}, {Scheme: "dpop"}}},
		"empty quoted":              {[]string{`Bearer realm=""`}, []c{{"bearer", m{"realm": ""}}}},
		"utf8 in quotes":            {[]string{`Bearer realm="é"`}, []c{{"bearer", m{"realm": "é"}}}},
		"trailing comma":            {[]string{`Bearer a=b,`}, []c{{"bearer", m{"a": "b"}}}},

		"duplicate parameter":         {[]string{`Basic realm=x, Bearer error=a, ERROR=b, DPoP`}, []c{{"basic", m{"realm": "x"}}}},
		"unterminated":                {[]string{`Bearer realm="x`, `DPoP`}, []c{{Scheme: "dpop"}}},
		"unterminated escape":         {[]string{`Bearer realm="x\`}, nil},
		"text after the quotes":       {[]string{`Bearer realm="x"y`}, nil},
		"no value":                    {[]string{`Bearer a=b, realm=, error=x`}, nil},
		"no value in the middle":      {[]string{`Bearer a=b, realm=`}, nil},
		"no name":                     {[]string{`Bearer ="x"`, `="x"`}, nil},
		"control character in quotes": {[]string{"Bearer realm=\"\x1b[2J\"", "Bearer realm=\"\x00\""}, nil},
		"not a token":                 {[]string{`{"error":"x"}`, `<html>`, `Bär realm=x`, `Bearer;error=x`}, nil},
		"words without commas":        {[]string{`Bearer realm=x error=y`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, oauth.ParseChallenges(header(tc.fields...)))
		})
	}
	require.Len(t, oauth.ParseChallenges(header(strings.Repeat("Bearer,", 10_000), "DPoP")), 16)
}

func TestPickChallengeKeepsToTheSyntaxOfEachValue(t *testing.T) {
	demand := func(prefer string, fields ...string) oauth.Demand {
		d, ok := oauth.PickChallenge(oauth.ParseChallenges(header(fields...)), prefer)
		require.True(t, ok)
		return d
	}
	d := demand(oauth.BearerScheme, `Basic realm="x", Bearer error="insufficient_user_authentication", error_description="A \"stronger\" one`+"\u202e"+`", `+
		`acr_values="urn:gold  urn:silver", max_age="5", scope="a b", resource_metadata="https://h/.well-known/oauth-protected-resource"`)
	require.Equal(t, oauth.Demand{
		Scheme: "bearer", Error: "insufficient_user_authentication", Description: `A "stronger" one�`, Scope: []string{"a", "b"},
		ACRValues: []string{"urn:gold", "urn:silver"}, MaxAge: 5 * time.Second, HasMaxAge: true, ResourceMetadata: "https://h/.well-known/oauth-protected-resource",
	}, d)

	require.Equal(t, "dpop", demand(oauth.DPoPScheme, `Bearer error="invalid_token"`, `DPoP`).Scheme, "the scheme in use comes first")
	require.Equal(t, "bearer", demand(oauth.BearerScheme, `DPoP error="invalid_token", Bearer`).Scheme)
	require.Equal(t, "invalid_token", demand(oauth.BearerScheme, `Bearer realm=x, Bearer error="invalid_token", Bearer error=other`).Error)
	require.Equal(t, "https://m/", demand(oauth.DPoPScheme, `DPoP error=x, Bearer resource_metadata="https://m/"`).ResourceMetadata, "beside any scheme")

	for _, junk := range []string{"-1", "+1", "1.5", "1e9", "99999999999999999999", " 1", ""} {
		d := demand(oauth.BearerScheme, `Bearer max_age="`+junk+`", acr_values="`+"é"+` ok", error="`+strings.Repeat("x", 65)+`"`)
		require.False(t, d.HasMaxAge, junk)
		require.Equal(t, []string{"ok"}, d.ACRValues)
		require.Empty(t, d.Error)
	}
	zero := demand(oauth.BearerScheme, `Bearer max_age=0`)
	require.True(t, zero.HasMaxAge)

	_, ok := oauth.PickChallenge(oauth.ParseChallenges(header(`Basic realm=x, Negotiate`)), oauth.BearerScheme)
	require.False(t, ok)
	_, ok = oauth.PickChallenge(nil, "")
	require.False(t, ok)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`Bearer realm="a\"b", error=x, DPoP algs="ES256", Negotiate a==`, `a b="`, `a =`, `,,a`, `Bearer a=b, c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		all := oauth.ParseChallenges(header(field))
		// What was understood, written plainly, reads the same: no second
		// reading of one text.
		var b strings.Builder
		for _, c := range all {
			require.Equal(t, strings.ToLower(c.Scheme), c.Scheme)
			require.NotEmpty(t, c.Scheme)
			b.WriteString(c.Scheme)
			sep := " "
			for k, v := range c.Params {
				require.NotContains(t, v, "\x1b")
				b.WriteString(sep + k + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`)
				sep = ", "
			}
			b.WriteString(", ")
		}
		require.Equal(t, all, oauth.ParseChallenges(header(b.String())))
		oauth.PickChallenge(all, oauth.DPoPScheme)
	})
}
