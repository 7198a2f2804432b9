package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/internal/words"
)

// Every sentence of every language fits into a narrow terminal. Wrapping loses no
// character, and the Japanese and Chinese lines begin with none that must not.
func TestWordsFitIntoNarrowTerminals(t *testing.T) {
	t.Parallel()
	for _, lang := range words.Languages() {
		lang = strings.Replace(lang, "zh-Hant", "zh_TW", 1)
		w := reflect.ValueOf(*words.For(func(string) string { return lang }))
		for i := range w.NumField() {
			text := w.Field(i).String()
			for _, width := range []int{20, 33, 40, 80} {
				lines := wrap(text, width)
				for _, line := range lines {
					if columnsOf(line) > width {
						require.Len(t, pieces(line), 1, "%q is too long for %d columns", line, width)
					}
					require.False(t, strings.ContainsAny(line[:min(len(line), 3)], neverFirst), line)
				}
				bare := strings.NewReplacer(" ", "", "\u00a0", "")
				require.Equal(t, bare.Replace(text), bare.Replace(strings.Join(lines, "")))
			}
		}
	}
}

// Korean is broken at its spaces, Chinese anywhere.
func TestWrapByScript(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"제공업체의 응답을", "확인합니다."}, wrap("제공업체의 응답을 확인합니다.", 22))
	require.Equal(t, []string{"正在檢查提供者的回", "應。完成"}, wrap("正在檢查提供者的回應。完成", 20))
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 5, "abc"}, {"abc", 2, "ab"}, {"残り1:23", 3, "残"}, {"残り1:23", 4, "残り"}, {"残り1:23", 5, "残り1"}, {"é", 1, "é"}, {"a", 0, ""}, {"残", -1, ""},
	} {
		require.Equal(t, tc.want, clip(tc.text, tc.width), "%q %d", tc.text, tc.width)
		require.LessOrEqual(t, columnsOf(tc.want), max(tc.width, 0))
	}
}
