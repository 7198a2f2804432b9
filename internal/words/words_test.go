package words

import (
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every language has every text, with the names in braces that the English one has.
func TestEveryLanguageHasEveryText(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`\{[a-z]*\}?`)
	english := reflect.ValueOf(table[0])
	for _, w := range table {
		own := reflect.ValueOf(w)
		for i := range own.NumField() {
			field := own.Type().Field(i).Name
			text := own.Field(i).String()
			require.NotEmpty(t, text, "%s %s", w.Lang, field)
			want := names.FindAllString(english.Field(i).String(), -1)
			got := names.FindAllString(text, -1)
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, want, got, "%s %s", w.Lang, field)
		}
	}
}

func TestLanguageOfTheLocale(t *testing.T) {
	t.Parallel()
	for locale, want := range map[string]string{
		"": "en", "C": "en", "POSIX": "en", "C.UTF-8": "en", "en_GB.UTF-8": "en", "tlh_XX": "en", "/": "en",
		"de": "de", "de_DE": "de", "de_AT.UTF-8": "de", "de_DE.utf8@euro": "de", "DE_de.Utf8": "de",
		"de_DE.ISO-8859-1": "en", "ja_JP.eucJP": "en", "ja_JP.UTF-8": "ja", "fr_CA.UTF-8": "fr", "es_419.UTF-8": "es",
		"zh_CN.UTF-8": "zh-Hans", "zh_SG.UTF-8": "zh-Hans", "zh": "zh-Hans",
		"zh_TW.UTF-8": "zh-Hant", "zh_HK.UTF-8": "zh-Hant", "zh_MO": "zh-Hant", "zh_CN.GB18030": "en", "zh_TW.BIG5": "en",
		"ar_EG.UTF-8": "ar", "he_IL.UTF-8": "he", "iw_IL.UTF-8": "he", "ko_KR.UTF-8": "ko", "pt_PT.UTF-8": "pt",
	} {
		require.Equal(t, want, language(map[string]string{"LANG": locale}), locale)
	}
	// The first that is set counts, even if its language is not here.
	require.Equal(t, "fr", language(map[string]string{"LC_ALL": "fr_FR.UTF-8", "LC_MESSAGES": "ja_JP.UTF-8", "LANG": "de_DE.UTF-8"}))
	require.Equal(t, "ja", language(map[string]string{"LC_MESSAGES": "ja_JP.UTF-8", "LANG": "de_DE.UTF-8"}))
	require.Equal(t, "en", language(map[string]string{"LC_ALL": "C", "LANG": "de_DE.UTF-8"}))
}

func language(env map[string]string) string {
	return For(func(name string) string { return env[name] }).Lang
}

func TestFill(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a {b} c", Fill("a {x} {y}", "x", "{b}", "y", "c"), "values are not filled again")
}
