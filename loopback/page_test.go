package loopback_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nativeoauth/nativeoauth/loopback"
)

func TestThePreferredLanguageIsChosen(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"":                                  "en",
		"de":                                "de",
		"de-CH, fr;q=0.9":                   "de",
		"DE-ch":                             "de",
		"nl, fr;q=0.8, de;q=0.9":            "de",
		"nl":                                "en",
		"*":                                 "en",
		"es-419,es;q=0.9":                   "es",
		"ja,en-US;q=0.9,en;q=0.8":           "ja",
		"en;q=0, fr;q=0.1":                  "fr",
		"zh":                                "zh-Hans",
		"zh-CN,zh;q=0.9,en;q=0.8":           "zh-Hans",
		"zh-Hans-TW":                        "zh-Hans",
		"zh-TW,ja;q=0.5":                    "zh-Hant",
		"zh-Hant-HK":                        "zh-Hant",
		"zh-hk":                             "zh-Hant",
		"ar-EG":                             "ar",
		"he-IL,en;q=0.9":                    "he",
		"iw":                                "he",
		"ko-KR":                             "ko",
		"pt-BR,pt;q=0.9":                    "pt",
		"fr;q=x, de;q=0.1":                  "de",
		"fr;q=NaN, de;q=0.1":                "de",
		"fr;q=1e9, de;q=0.1":                "de",
		"fr;q=-1":                           "en",
		";;;,,,=":                           "en",
		strings.Repeat("xx,", 1<<15) + "de": "en",
		"de-" + strings.Repeat("x", 100):    "de",
		"de;q=0.5;x=y, fr;q=0.4":            "fr",
	} {
		require.Equal(t, want, loopback.LanguageFor(accept), "%.60q", accept)
	}
}

// Every language has every text, with the names in it, for programs with and
// without a name.
func TestEveryLanguageHasEveryText(t *testing.T) {
	t.Parallel()
	for _, lang := range loopback.Languages() {
		for _, app := range []string{"", "Acme <CLI>"} {
			for kind, body := range loopback.Pages(t, loopback.Page{AppName: app}, lang,
				"alice & bob") {
				dir := map[bool]string{false: "ltr", true: "rtl"}[lang == "ar" || lang == "he"]
				require.Contains(t, body, `<html lang="`+lang+`" dir="`+dir+`">`)
				require.NotContains(t, body, "{", "%s %s: a slot is left", lang, kind)
				require.NotContains(t, body, "<CLI>")
				require.NotRegexp(t, `<(p|h1|title|footer)( [^>]*)?>\s*</`, body,
					"%s %s: an empty text", lang, kind)
				require.Equal(t, app != "", strings.Contains(body, "Acme &lt;CLI&gt;"), "%s %s",
					lang, kind)
				require.Equal(t, kind == "done",
					strings.Contains(body, "alice\u00a0&amp;\u00a0bob"), "%s %s", lang, kind)
			}
		}
	}
}

// S19: the policy allows the style by its hash, whatever the accent, images
// only with a logo, and nothing else.
func TestS19ThePolicyAllowsOnlyItsStyle(t *testing.T) {
	t.Parallel()
	logo := []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">` +
		`<script>alert(2)</script></svg>`)
	for _, p := range []loopback.Page{{}, {Accent: "#c0ffee"}, {Accent: "#C0F", Logo: logo}} {
		body, policy := page(t, loopback.Config{Page: p}, "alice", nil)
		style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(body)
		require.Len(t, style, 2)
		sum := sha256.Sum256([]byte(style[1]))
		require.Contains(t, policy,
			"style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		require.Contains(t, style[1],
			"--accent: "+map[bool]string{true: "#2f6fed", false: p.Accent}[p.Accent == ""]+";")
		require.Equal(t, p.Logo != nil, strings.HasSuffix(policy, "; img-src data:"), policy)
		require.NotContains(t, body, "alert", "an SVG is in there as base64 only")
		require.NotRegexp(t, `(?i)<script|\son\w+=|javascript:|style="`, body)
		require.NotRegexp(t, `(src|href)="[^d#]`, body, "nothing is loaded")
	}
}

// A program may speak for itself in some languages and leave the others as they are.
func TestPageTextsByLanguage(t *testing.T) {
	t.Parallel()
	p := loopback.Page{SignedIn: "any", Texts: map[string]loopback.Texts{
		"de": {SignedIn: "deutsch"}, "fr": {Failed: "raté"},
	}}
	for lang, want := range map[string]string{"en": "any", "de-AT": "deutsch", "fr": "any"} {
		require.Contains(t, loopback.Pages(t, p, lang, "")["done"], want)
	}
	require.Contains(t, loopback.Pages(t, p, "fr", "")["failed"], "raté")
	require.NotContains(t, loopback.Pages(t, p, "de", "")["failed"], "raté")
	p.Texts["tlh"] = loopback.Texts{}
	_, err := loopback.Listen(t.Context(), loopback.Config{Page: p})
	require.ErrorContains(t, err, `"tlh"`)
}

// The page of another user says so, and is not the page of a failure.
func TestAnotherUserHasAPage(t *testing.T) {
	t.Parallel()
	body, _ := page(t, loopback.Config{}, "", fmt.Errorf("as the program says: %w", loopback.ErrOtherUser))
	require.Contains(t, body, "Another user signed in")
	require.NotContains(t, body, "as the program says")
}

// A short name is not broken over two lines. A long one has to be, on a telephone.
func TestAShortNameStaysOnOneLine(t *testing.T) {
	t.Parallel()
	cfg := loopback.Config{Page: loopback.Page{AppName: "Acme CLI"}}
	body, _ := page(t, cfg, "A user with a rather long name", nil)
	require.Contains(t, body, "<b><bdi>Acme\u00a0CLI</bdi></b>")
	require.Contains(t, body, "<b><bdi>A user with a rather long name</bdi></b>")
}

func TestPageTextsAreEscaped(t *testing.T) {
	t.Parallel()
	p := loopback.Page{
		AppName: "Acme", SignedIn: "Go back to {app}, {user} <b>", Failed: "Call 555 <i>",
	}
	body, _ := page(t, loopback.Config{Page: p}, "{app}<x>", nil)
	require.Contains(t, body,
		"Go back to <b><bdi>Acme</bdi></b>, <b><bdi>{app}&lt;x&gt;</bdi></b> &lt;b&gt;")
	body, _ = page(t, loopback.Config{Page: p}, "", errors.New("test"))
	require.Contains(t, html.UnescapeString(body), "Call 555 <i>")
	require.NotContains(t, body, "<i>")
}
